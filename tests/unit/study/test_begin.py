"""A run that begins as a copy of shared stages: what is linked, what is copied, what is left behind."""

import json
from pathlib import Path

from vergence.recipe.load import load_recipe
from vergence.study.begin import begin_run

RECIPE = load_recipe("digits")


def shared(folder: Path) -> Path:
    """A finished run directory, in outline."""
    path = folder / "shared"
    for name, text in {
        "recipe.toml": "old",
        "summary.json": "old",
        "report.html": "old",
        ".lock": "",
        "final/model.safetensors": "old",
        "metrics.jsonl": '{"stage": "align", "step": 0}\n',
        "checkpoints/align/done.json": "{}",
        "checkpoints/align/policy/model.safetensors": "weights",
        "data/train.jsonl": "{}",
        "data/images/a.png": "pixels",
        "calibration.json": "{}",
        "rollouts/mpo.jsonl": json.dumps(
            {"stage": "mpo", "images": [{"path": f"{path}/data/images/a.png"}, {"path": "/elsewhere/b.png"}]}
        )
        + "\n",
    }.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


def inode(path: Path) -> int:
    return path.stat().st_ino


def test_a_run_with_nothing_to_share_begins_with_its_recipe(tmp_path: Path):
    begin_run(tmp_path / "runs" / "a" / "seed-0", RECIPE, None)
    assert [path.name for path in (tmp_path / "runs" / "a" / "seed-0").iterdir()] == ["recipe.toml"]
    assert load_recipe(str(tmp_path / "runs" / "a" / "seed-0" / "recipe.toml")) == RECIPE


def test_checkpoints_and_data_are_links_and_journals_are_copies(tmp_path: Path):
    parent, target = shared(tmp_path), tmp_path / "a"
    begin_run(target, RECIPE, parent)
    for name in ("checkpoints/align/policy/model.safetensors", "checkpoints/align/done.json", "data/images/a.png"):
        assert inode(parent / name) == inode(target / name)
    for name in ("metrics.jsonl", "rollouts/mpo.jsonl", "calibration.json"):
        assert inode(parent / name) != inode(target / name)
    with (target / "metrics.jsonl").open("a") as file:
        file.write("more\n")
    assert (parent / "metrics.jsonl").read_text() == '{"stage": "align", "step": 0}\n'


def test_what_tells_of_one_run_alone_is_left_behind(tmp_path: Path):
    begin_run(tmp_path / "a", RECIPE, shared(tmp_path))
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {"recipe.toml", "metrics.jsonl", "checkpoints", "data", "rollouts", "calibration.json"}
    assert load_recipe(str(tmp_path / "a" / "recipe.toml")) == RECIPE


def test_logged_groups_name_the_pictures_of_the_copy(tmp_path: Path):
    begin_run(tmp_path / "a", RECIPE, shared(tmp_path))
    (row,) = [json.loads(line) for line in (tmp_path / "a" / "rollouts" / "mpo.jsonl").read_text().splitlines()]
    assert [image["path"] for image in row["images"]] == [f"{tmp_path}/a/data/images/a.png", "/elsewhere/b.png"]


def test_a_copy_that_was_interrupted_is_made_again(tmp_path: Path):
    torn = tmp_path / ".tmp-a"
    torn.mkdir()
    (torn / "rubbish").write_text("")
    begin_run(tmp_path / "a", RECIPE, shared(tmp_path))
    assert not torn.exists()
    assert not (tmp_path / "a" / "rubbish").exists()
