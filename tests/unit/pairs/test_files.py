"""A file of pairs: what is written is what is read, and what is wrong is named."""

import json
import math
from pathlib import Path

import pytest
from PIL import Image

from vergence.data.images import reference
from vergence.data.preferences import read_preferences
from vergence.data.rows import open_rows
from vergence.errors import DataError
from vergence.pairs.files import PairTokens, check_tokens, pair_lines, problems_with_pairs, tokens_of, written_alike
from vergence.types import Finish, PreferencePair, Prompt

from ..builders import completion, prompt
from .making import answering


@pytest.fixture
def pairs(tmp_path: Path) -> list[PreferencePair]:
    """Two pairs of one problem, with a picture in a neighbouring folder."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "images" / "p.png")
    one: Prompt = prompt(images=(reference(tmp_path / "images" / "p.png", ""),))
    return [
        PreferencePair(one, answering("15"), answering("7", tokens=3), 1.5, "correctness"),
        PreferencePair(one, answering("15"), completion("15"), math.inf, "format"),
    ]


def written(pairs: list[PreferencePair], folder: Path, *, tokens: bool) -> Path:
    (folder / "out").mkdir()
    path = folder / "out" / "pairs.jsonl"
    path.write_text(pair_lines(pairs, path, tokens=tokens))
    return path


def read_tokens(path: Path) -> list[PairTokens]:
    rows = open_rows(path)
    return [tokens_of(rows[index], rows.where(index)) for index in range(len(rows))]


def test_what_is_written_is_what_the_reader_of_preferences_reads(pairs, tmp_path: Path) -> None:
    read = read_preferences(written(pairs, tmp_path, tokens=True))
    assert [(pair.chosen.text, pair.rejected.text, pair.source) for pair in pairs] == [
        (row.chosen, row.rejected, row.source) for row in read
    ]
    for row in read:
        assert ("p", "sum?", "15") == (row.problem.id, row.problem.question, row.problem.answer)
        assert pairs[0].prompt.problem.images == row.problem.images
    assert 1 == problems_with_pairs(pairs)


def test_how_responses_ended_comes_back_and_an_unknown_ending_is_named(tmp_path: Path) -> None:
    cut = completion("<think>so", finish=Finish.LENGTH)
    path = written([PreferencePair(prompt(images=()), answering("15"), cut, 1.0, "rule")], tmp_path, tokens=False)
    (row,) = read_preferences(path)
    assert (Finish.STOP, Finish.LENGTH) == (row.chosen_finish, row.rejected_finish)
    path.write_text(path.read_text().replace('"length"', '"cut"'))
    with pytest.raises(DataError, match='line 1: "rejected_finish" must be "stop" or "length", found \'cut\''):
        read_preferences(path)


def test_tokens_and_margins_come_back(pairs, tmp_path: Path) -> None:
    path = written(pairs, tmp_path, tokens=True)
    expected = [
        PairTokens((10, 11, 12, 13), (10, 11, 12), 1.5),
        PairTokens((10, 11, 12, 13), (10, 11), math.inf),
    ]
    assert expected == read_tokens(path)
    assert json.loads(path.read_text().splitlines()[1])["margin"] is None, "JSON has no infinity"


def test_tokens_may_be_left_out(pairs, tmp_path: Path) -> None:
    path = written(pairs, tmp_path, tokens=False)
    assert [((), ())] * 2 == [(row.chosen, row.rejected) for row in read_tokens(path)]
    assert not any("tokens" in key for line in path.read_text().splitlines() for key in json.loads(line))


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("chosen_tokens", "1 2", '"chosen_tokens" must be a list of token numbers'),
        ("rejected_tokens", [1, -2], '"rejected_tokens" must be a list of token numbers'),
        ("rejected_tokens", [1, True], '"rejected_tokens" must be a list of token numbers'),
        ("margin", "large", '"margin" must be a number or null'),
    ],
)
def test_a_wrong_value_is_named_with_its_line(pairs, tmp_path: Path, key: str, value: object, expected: str) -> None:
    path = written(pairs, tmp_path, tokens=True)
    lines = path.read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | {key: value})
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=f"line 2: {expected}"):
        check_tokens(open_rows(path))


def test_responses_that_differ_in_tokens_alone_are_written_alike() -> None:
    left, right = completion("<answer>15</answer>", logprobs=[-1.0] * 4), completion("<answer>15</answer>")
    assert written_alike(PreferencePair(prompt(), left, right, 1.0, "format"))
    assert not written_alike(PreferencePair(prompt(), left, answering("7"), 1.0, "correctness"))
