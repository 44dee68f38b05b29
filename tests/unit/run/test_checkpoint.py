"""Snapshots are whole or absent; damage is noticed; what an interrupted write left is swept away."""

from pathlib import Path

import numpy as np
import pytest
import torch

from vergence.errors import DirectoryError
from vergence.files import write_whole
from vergence.run.checkpoint import load_latest, save_snapshot, sweep, whole_folder


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def half_written(target: Path, failure: type[BaseException]) -> None:
    with whole_folder(target) as temporary:
        (temporary / "weights").write_text("new")
        raise failure


class Interrupted(BaseException):
    """As Ctrl-C is: no Exception."""


def test_a_whole_folder_appears_under_its_name_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "model"
    with whole_folder(target) as temporary:
        (temporary / "part").mkdir()
        (temporary / "part" / "weights").write_text("w")
        assert not target.exists()
    assert "w" == (target / "part" / "weights").read_text()
    assert ["deep", "deep/model", "deep/model/part", "deep/model/part/weights"] == names(tmp_path)


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, Interrupted])
def test_a_whole_folder_leaves_nothing_when_its_making_fails(tmp_path: Path, failure: type[BaseException]) -> None:
    with pytest.raises(failure):
        half_written(tmp_path / "model", failure)
    assert [] == names(tmp_path)


def test_a_whole_folder_keeps_the_older_one_when_its_making_fails(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "model") as temporary:
        (temporary / "weights").write_text("old")
    with pytest.raises(ValueError):
        half_written(tmp_path / "model", ValueError)
    assert "old" == (tmp_path / "model" / "weights").read_text()


def test_a_whole_folder_replaces_the_older_one_entirely(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with whole_folder(tmp_path / "model") as temporary:
            (temporary / name).write_text(name)
    assert ["model", "model/new"] == names(tmp_path)


def test_what_a_killed_process_left_does_not_get_into_the_next_try(tmp_path: Path) -> None:
    leftover = tmp_path / ".tmp-model-a1b2"
    leftover.mkdir()
    (leftover / "half").write_text("h")
    with whole_folder(tmp_path / "model") as temporary:
        (temporary / "whole").write_text("w")
    sweep(tmp_path)
    assert ["model", "model/whole"] == names(tmp_path)


def test_two_writers_of_one_folder_do_not_mix(tmp_path: Path) -> None:
    """As two runs that put the same parents into the cache: the first to finish must leave all that it wrote."""
    first, second = whole_folder(tmp_path / "model"), whole_folder(tmp_path / "model")
    mine = first.__enter__()
    (mine / "a").write_text("a")
    (mine / "b").write_text("b")
    theirs = second.__enter__()
    (theirs / "a").write_text("a")
    first.__exit__(None, None, None)
    assert ["a", "b"] == names(tmp_path / "model")


def test_sweep_removes_temporaries_at_every_depth_and_nothing_else(tmp_path: Path) -> None:
    for name in (
        ".tmp-model/.tmp-inner/x",
        "checkpoints/grpo/steps/.tmp-step-000010/state.pt",
        "keep/step-000005/state.pt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / ".tmp-recipe.toml").write_text("x")
    sweep(tmp_path)
    left = [name for name in names(tmp_path) if (tmp_path / name).is_file()]
    assert ["keep/step-000005/state.pt"] == left
    assert not list(tmp_path.rglob(".tmp-*"))


def test_write_whole_replaces_a_small_file_and_leaves_no_temporary(tmp_path: Path) -> None:
    for text in ("a long first version\n", "short\n"):
        write_whole(tmp_path / "done.json", text)
        assert text == (tmp_path / "done.json").read_text()
    assert ["done.json"] == names(tmp_path)


STATE = {
    "step": 25,
    "seconds": 1.5,
    "parts": {
        "learner": {"weights": {"w": torch.tensor([1.5, -2.25])}, "updates": 50},
        "buffer": {"samples": [{"text": "Ω", "advantage": -0.1}], "images": [("/a.png", "aa")], "uses": []},
    },
}


def test_the_newest_snapshot_comes_back_as_it_was(tmp_path: Path) -> None:
    save_snapshot(tmp_path, 25, STATE)
    state = load_latest(tmp_path)
    assert state is not None
    assert [1.5, -2.25] == state["parts"]["learner"]["weights"]["w"].tolist()
    assert STATE["parts"]["buffer"] == state["parts"]["buffer"]
    assert (25, 1.5) == (state["step"], state["seconds"])


def test_a_snapshot_holds_the_values_of_its_moment(tmp_path: Path) -> None:
    weights = torch.tensor([1.0])
    save_snapshot(tmp_path, 1, {"weights": weights})
    weights += 1
    state = load_latest(tmp_path)
    assert state is not None
    assert [1.0] == state["weights"].tolist()


def test_no_snapshot_yet_is_none(tmp_path: Path) -> None:
    assert load_latest(tmp_path) is None
    assert load_latest(tmp_path / "not there") is None


def test_older_snapshots_are_dropped(tmp_path: Path) -> None:
    for step in (0, 9, 10, 100):
        save_snapshot(tmp_path, step, {"step": step})
        assert [f"step-{step:06d}"] == [path.name for path in tmp_path.iterdir()]
    state = load_latest(tmp_path)
    assert state is not None
    assert 100 == state["step"]


def test_the_newest_of_several_is_the_one_with_the_largest_number(tmp_path: Path) -> None:
    """Two may lie there if the process died between writing one and dropping the other."""
    save_snapshot(tmp_path / "a", 9, {"step": 9})
    save_snapshot(tmp_path / "b", 10, {"step": 10})
    (tmp_path / "a" / "step-000009").rename(tmp_path / "b" / "step-000009")
    state = load_latest(tmp_path / "b")
    assert state is not None
    assert 10 == state["step"]


def test_a_snapshot_that_fails_to_be_written_leaves_the_older_one(tmp_path: Path) -> None:
    save_snapshot(tmp_path, 1, {"step": 1})
    with pytest.raises(Exception, match=r"pickle|local object"):
        save_snapshot(tmp_path, 2, {"step": lambda: 2})
    assert ["step-000001"] == [path.name for path in tmp_path.iterdir()]
    state = load_latest(tmp_path)
    assert state is not None
    assert 1 == state["step"]


@pytest.mark.parametrize("damage", ["flip", "cut", "append"])
def test_a_damaged_snapshot_is_an_error_that_names_it_and_says_what_to_do(tmp_path: Path, damage: str) -> None:
    save_snapshot(tmp_path, 7, STATE)
    path = tmp_path / "step-000007" / "state.pt"
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content[:-1]) if damage == "cut" else bytes(content) + b"x" * (damage == "append"))
    with pytest.raises(
        DirectoryError, match=r"step-000007/state\.pt: the checkpoint is damaged .* delete .*step-000007"
    ):
        load_latest(tmp_path)


@pytest.mark.parametrize(("file", "gone"), [("manifest.json", False), ("manifest.json", True), ("state.pt", True)])
def test_a_snapshot_that_lacks_something_is_told_like_a_damaged_one(tmp_path: Path, file: str, gone: bool) -> None:
    save_snapshot(tmp_path, 7, STATE)
    path = tmp_path / "step-000007" / file
    path.write_bytes(path.read_bytes()[:7])
    if gone:
        path.unlink()
    with pytest.raises(DirectoryError, match=r"step-000007.* the checkpoint is damaged"):
        load_latest(tmp_path)


def test_a_snapshot_holds_no_arbitrary_objects(tmp_path: Path) -> None:
    """Reading one must not be able to run code: anything but tensors and plain values is refused."""
    save_snapshot(tmp_path, 1, {"array": np.zeros(2)})
    with pytest.raises(Exception, match="weights_only"):
        load_latest(tmp_path)
