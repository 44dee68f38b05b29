"""A file of samples: whole chunks survive whatever happens to the rest, and other settings are refused."""

import json
from pathlib import Path

import pytest

from vergence.errors import DirectoryError
from vergence.pool.samples import CHUNK, sample_all, sample_file

from ..builders import problem

HEAD = {"vergence": "pool samples", "model": "abc", "samples": 4}
PROBLEMS = [problem(f"p{index}") for index in range(2 * CHUNK + 5)]


def rows_of(problems) -> list[dict[str, object]]:
    return [{"id": one.id, "text": "ä" * 3} for one in problems]


def sample(out: Path, *, upto: int = len(PROBLEMS), calls: list[int] | None = None) -> None:
    """As a command does it; stops with an exception when so many problems are done."""

    def chunk(problems) -> list[dict[str, object]]:
        if calls is not None:
            calls.append(len(problems))
        return rows_of(problems)

    def watch(done: int, total: int) -> None:
        assert total == len(PROBLEMS)
        if upto <= done < total:
            raise KeyboardInterrupt

    with sample_file(out, HEAD, len(PROBLEMS)) as file:
        sample_all(file, PROBLEMS, chunk, watch)


def test_all_problems_are_sampled_chunk_by_chunk_in_their_order(tmp_path: Path) -> None:
    calls: list[int] = []
    sample(tmp_path / "out", calls=calls)
    assert [CHUNK, CHUNK, 5] == calls
    with sample_file(tmp_path / "out", HEAD, len(PROBLEMS)) as file:
        assert rows_of(PROBLEMS) == list(file.rows())
        assert len(PROBLEMS) == file.done


@pytest.mark.parametrize("tail", ["", '{"id": "p64", "te', "\x00\x00"])
@pytest.mark.parametrize("more", [0, 3])
def test_an_interrupted_file_is_continued_to_the_same_bytes(tmp_path: Path, tail: str, more: int) -> None:
    """After one whole chunk: rows of the next one, and a torn line, are dropped and sampled again."""
    sample(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        sample(tmp_path / "out", upto=CHUNK)
    path = tmp_path / "out.samples"
    extra = "".join(json.dumps(row) + "\n" for row in rows_of(PROBLEMS[CHUNK : CHUNK + more]))
    with path.open("a") as file:
        file.write(extra + tail)
    calls: list[int] = []
    sample(tmp_path / "out", calls=calls)
    assert [CHUNK, 5] == calls
    assert (tmp_path / "whole.samples").read_bytes() == path.read_bytes()


def test_a_finished_file_is_not_sampled_again(tmp_path: Path) -> None:
    sample(tmp_path / "out")
    calls: list[int] = []
    sample(tmp_path / "out", calls=calls)
    assert [] == calls


def test_a_first_line_that_was_torn_is_written_again(tmp_path: Path) -> None:
    sample(tmp_path / "whole")
    (tmp_path / "out.samples").write_text((json.dumps(HEAD) + "\n")[:9])
    sample(tmp_path / "out")
    assert (tmp_path / "whole.samples").read_bytes() == (tmp_path / "out.samples").read_bytes()


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    sample(tmp_path / "out")
    before = (tmp_path / "out.samples").read_bytes()
    with (
        pytest.raises(DirectoryError, match="samples = 4 there, 8 here"),
        sample_file(tmp_path / "out", HEAD | {"samples": 8}, len(PROBLEMS)),
    ):
        pass
    assert before == (tmp_path / "out.samples").read_bytes()


def test_what_differs_far_inside_a_setting_is_named_alone(tmp_path: Path) -> None:
    """Inputs have an entry for each picture, and a message has one line."""
    inputs = {f"p{index}": ["a" * 64] for index in range(100)}
    heads = [HEAD | {"inputs": {"pictures": inputs | {"p7": [digest]}}} for digest in ("b", "c")]
    with sample_file(tmp_path / "out", heads[0], len(PROBLEMS)):
        pass
    with (
        pytest.raises(DirectoryError, match=r"\(inputs\.pictures\.p7 = \['b'\] there, \['c'\] here\)"),
        sample_file(tmp_path / "out", heads[1], len(PROBLEMS)),
    ):
        pass


@pytest.mark.parametrize("content", ["hello\n", '{"a": 1}\n', '{"vergence": "pair samples"}\n', "[1]\n"])
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / "out.samples").write_text(content)
    with pytest.raises(DirectoryError, match="not a file of pool samples"), sample_file(tmp_path / "out", HEAD, 1):
        pass
    assert content == (tmp_path / "out.samples").read_text()


def test_a_file_in_use_is_refused(tmp_path: Path) -> None:
    with (
        sample_file(tmp_path / "out", HEAD, 1),
        pytest.raises(DirectoryError, match="another process"),
        sample_file(tmp_path / "out", HEAD, 1),
    ):
        pass


def test_an_output_that_cannot_be_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for out, said in ((tmp_path, "is a directory"), (tmp_path / "no" / "out", "does not exist")):
        with pytest.raises(DirectoryError, match=said), sample_file(out, HEAD, 1):
            pass
    assert [] == list(tmp_path.iterdir())


def test_beside_a_stream_nothing_is_kept(tmp_path: Path) -> None:
    """`--out /dev/stdout` must put no samples into /dev."""
    link = tmp_path / "link"
    link.symlink_to("/dev/null")
    with sample_file(link, HEAD, 1) as file:
        sample_all(file, PROBLEMS[:1], rows_of, lambda done, of: None)
        assert rows_of(PROBLEMS[:1]) == list(file.rows())
    assert ["link"] == [path.name for path in tmp_path.iterdir()]
