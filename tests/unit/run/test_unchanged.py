"""What a run has made is compared with what it was, before anything is changed; damage is named with a remedy."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from vergence.errors import DirectoryError
from vergence.recipe.load import load_recipe
from vergence.recipe.schema import Recipe
from vergence.run.checkpoint import save_snapshot
from vergence.run.digests import NOTHING, FileDigest, Inputs, files_below, read_digests, write_digests
from vergence.run.directory import Outcome, RunDirectory, StageRow, opened
from vergence.run.unchanged import check_unchanged

LABELS = ["load", "align", "grpo"]
ROW = StageRow(seconds=1.0)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The input of stage load."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(1000))
    return folder


@pytest.fixture
def recipe(tmp_path: Path, model: Path) -> Recipe:
    stages = "".join(f'[[stage]]\ntype = "{label}"\n' for label in LABELS).replace(
        '"load"\n', f'"load"\npath = "{model}"\n'
    )
    data = "".join(f'{key} = "d.jsonl"\n' for key in ("train", "tuning", "test", "captions"))
    text = f'name = "own"\n[data]\ntype = "files"\n{data}{stages}reward = {{ preset = "rules" }}\n'
    (tmp_path / "own.toml").write_text(text)
    return load_recipe(str(tmp_path / "own.toml"))


def session(path: Path, recipe: Recipe, model: Path, *, do: Callable[[RunDirectory], None] = lambda one: None) -> str:
    """One session of a run: checked, begun, worked on. What was said."""
    said: list[str] = []
    inputs = Inputs({"stage.load.path": files_below(model)})
    with opened(path, recipe) as directory:
        found, anew = check_unchanged(directory, LABELS, inputs, said.append)
        directory.begin(recipe, found, anew=anew)
        do(directory)
    return " ".join(said)


def finish(directory: RunDirectory, label: str, content: bytes = b"weights") -> None:
    policy = directory.stage_folder(label) / "policy"
    policy.mkdir(parents=True)
    (policy / "model.safetensors").write_bytes(content)
    (policy / "README.md").write_text("for people")
    save_snapshot(directory.stage_folder(label) / "steps", 3, {"step": 3})
    directory.finish(label, Outcome({"policy": f"checkpoints/{label}/policy"}, ROW, {}))


def load(directory: RunDirectory, model: Path) -> None:
    directory.finish("load", Outcome({"policy": str(model)}, ROW, {}), inputs=[str(model)])


@pytest.fixture
def run(tmp_path: Path, recipe: Recipe, model: Path) -> Path:
    """A finished run."""

    def work(directory: RunDirectory) -> None:
        load(directory, model)
        finish(directory, "align")
        finish(directory, "grpo", b"better weights")
        shutil.copytree(directory.stage_folder("grpo") / "policy", directory.final)

    session(tmp_path / "run", recipe, model, do=work)
    return tmp_path / "run"


def everything(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 2
    path.write_bytes(content)


def test_what_a_stage_leaves_is_in_its_record_but_for_snapshots_and_what_was_an_input(run: Path) -> None:
    made = {label: sorted(path.relative_to(run) for path in RunDirectory(run).made(label)) for label in LABELS}
    assert {"load": [], "align": [Path("checkpoints/align/policy/model.safetensors")]} == {
        label: made[label] for label in ("load", "align")
    }


def test_a_run_that_nobody_touched_goes_on_also_where_it_was_moved(run: Path, recipe: Recipe, model: Path) -> None:
    before = everything(run)
    assert "" == session(run, recipe, model)
    assert before == everything(run)
    moved = run.with_name("elsewhere")
    shutil.move(run, moved)
    assert "" == session(moved, recipe, model)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (
            lambda run: flip(run / "checkpoints/align/policy/model.safetensors"),
            [
                "checkpoints/align/policy/model.safetensors: sha256",
                "delete checkpoints/align, checkpoints/grpo and final",
            ],
        ),
        (
            lambda run: (run / "checkpoints/grpo/policy/model.safetensors").unlink(),
            ["checkpoints/grpo/policy/model.safetensors: missing", "delete checkpoints/grpo and final"],
        ),
        (
            lambda run: (run / "final/model.safetensors").write_bytes(b"better"),
            [
                "final/model.safetensors: 6 bytes, expected 14",
                "delete final to have it copied from checkpoints/grpo/policy",
            ],
        ),
        (lambda run: (run / "final/model.safetensors").unlink(), ["final/model.safetensors: missing", "delete final"]),
        (
            lambda run: flip(run.parent / "model/model.safetensors"),
            ["stage.load.path: ", "model/model.safetensors: sha"],
        ),
        (lambda run: (run.parent / "model/more.json").write_text("{}"), ["more.json: was not there before"]),
        (lambda run: (run / "digests.json").write_text("{"), ["digests.json: not a record of digests"]),
        (lambda run: (run / "checkpoints/align/done.json").write_text('{"mod'), ["align/done.json: cannot be read"]),
        (lambda run: (run / "checkpoints/align/done.json").write_text('{"files": 3}'), ["done.json: cannot be read"]),
    ],
    ids=["flipped", "gone", "final-cut", "final-gone", "input-flipped", "input-more", "record", "done", "done-odd"],
)
def test_what_was_changed_is_named_and_nothing_is_touched(run, recipe, model, harm, words) -> None:
    (run / "checkpoints" / "grpo" / ".tmp-policy-abc").mkdir()  # left by a kill: even that stays
    harm(run)
    before = everything(run)
    with pytest.raises(DirectoryError) as caught:
        session(run, recipe, model)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)
    assert before == everything(run)
    assert (run / "checkpoints" / "grpo" / ".tmp-policy-abc").is_dir()


@pytest.mark.parametrize("name", ["final/README.md", "final/notes.txt", "checkpoints/align/notes.txt", "metrics.jsonl"])
def test_what_decides_nothing_may_change(run: Path, recipe: Recipe, model: Path, name: str) -> None:
    (run / name).write_text("mine")
    assert "" == session(run, recipe, model)


def test_the_remedies_are_taken(run: Path, recipe: Recipe, model: Path) -> None:
    flip(run / "checkpoints/align/policy/model.safetensors")
    for name in ("checkpoints/align", "checkpoints/grpo", "final"):
        shutil.rmtree(run / name)
    assert "" == session(run, recipe, model, do=lambda directory: finish(directory, "align"))


def test_a_model_outside_the_directory_is_part_of_what_a_stage_left(
    tmp_path: Path, recipe: Recipe, model: Path
) -> None:
    cached = tmp_path / "cache"
    cached.mkdir()
    (cached / "model.safetensors").write_bytes(b"abc")
    outcome = Outcome({"language": str(cached)}, ROW, {})
    session(tmp_path / "run", recipe, model, do=lambda directory: directory.finish("align", outcome))
    flip(cached / "model.safetensors")
    with pytest.raises(DirectoryError, match=r"cache/model\.safetensors: sha256"):
        session(tmp_path / "run", recipe, model)


@pytest.mark.parametrize("begun", [False, True], ids=["beginning", "a step"])
def test_other_inputs_are_taken_as_they_are_while_nothing_is_computed(tmp_path, recipe, model, begun) -> None:
    """The snapshot of a stage's beginning holds the old model's weights, so it must go."""

    def work(directory: RunDirectory) -> None:
        load(directory, model)
        save_snapshot(directory.stage_folder("align") / "steps", int(begun), {"step": int(begun)})

    run = tmp_path / "run"
    session(run, recipe, model, do=work)
    flip(model / "model.safetensors")
    if begun:
        with pytest.raises(DirectoryError, match=r"model\.safetensors: sha256"):
            session(run, recipe, model)
    else:
        assert "beginning with what is there now" in session(run, recipe, model)
        assert not (run / "checkpoints").exists()
        assert "" == session(run, recipe, model)


def test_a_record_that_is_gone_is_written_again_and_told_of(run: Path, recipe: Recipe, model: Path) -> None:
    (run / "digests.json").unlink()
    assert "no digests.json there: inputs are recorded as they are now" in session(run, recipe, model)
    assert read_digests(run / "digests.json") is not None


def data_of(run: Path, text: str) -> RunDirectory:
    directory = RunDirectory(run)
    directory.data.mkdir(parents=True)
    (directory.data / "train.jsonl").write_text(text)
    return directory


def test_data_of_a_built_in_task_are_compared_and_may_be_written_again(tmp_path, recipe, model) -> None:
    run = tmp_path / "run"
    session(run, recipe, model, do=lambda _: data_of(run, "rows").record_data(written=True))
    assert "" == session(run, recipe, model, do=lambda directory: directory.record_data(written=False))
    (run / "data" / "train.jsonl").write_text("rowz")
    with pytest.raises(DirectoryError, match=r"data/train\.jsonl: sha256 .* delete data to have it written again"):
        session(run, recipe, model)
    shutil.rmtree(run / "data")
    assert "" == session(run, recipe, model, do=lambda _: data_of(run, "rows").record_data(written=True))
    shutil.rmtree(run / "data")
    with pytest.raises(DirectoryError, match="written again, and not as it was before"):
        session(run, recipe, model, do=lambda _: data_of(run, "others").record_data(written=True))


def test_data_that_were_written_right_before_a_kill_are_recorded_afterwards(tmp_path, recipe, model) -> None:
    run = tmp_path / "run"
    session(run, recipe, model, do=lambda _: None)
    data_of(run, "rows").record_data(written=False)
    recorded = read_digests(run / "digests.json") or NOTHING
    assert ["train.jsonl"] == list(recorded.files["data"])


def test_other_keys_of_a_record_outlive_a_session(run: Path, recipe: Recipe, model: Path) -> None:
    """A run of a study has the record of its shared stages."""
    before = read_digests(run / "digests.json") or NOTHING
    more = replace(before, files={**before.files, "stage.other.path": {"a": FileDigest(1, "11")}})
    write_digests(run / "digests.json", more)
    session(run, recipe, model)
    assert more == read_digests(run / "digests.json")
