"""Nothing goes on over inputs that were changed, or over a finished model that was damaged: real commands, continued.

A tiny run is killed in the middle of its last stage. Each fault is planted into what it left, the same command is
given again, and the fault is taken back; then the run goes on to its end.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from families import picture_problems, tiny_policy
from PIL import Image

from vergence.cli import main

from .conftest import vergence

RECIPE = """
name = "watched"
device = "cpu"
threads = 1
[data]
type = "files"
train = "train.jsonl"
tuning = "tuning.jsonl"
test = "tuning.jsonl"
[[stage]]
type = "load"
path = "models/llava-0"
[[stage]]
type = "grpo"
name = "first"
steps = 1
prompts_per_step = 2
minibatch_size = 4
sampling = { num_completions = 2, max_new_tokens = 2 }
reward = { preset = "rules", functions = [{ name = "short", function = "rewards:short" }] }
evaluation = { every = 10, problems = 2, blank_problems = 0 }
monitor = { mode = "off" }
[[stage]]
type = "grpo"
name = "second"
steps = 2
checkpoint_every = 1
prompts_per_step = 2
minibatch_size = 4
sampling = { num_completions = 2, max_new_tokens = 2 }
reward = { preset = "rules" }
evaluation = { every = 10, problems = 2, blank_problems = 0 }
monitor = { mode = "off" }
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe with its data and its model; `run` was killed while its last snapshot was written."""
    folder = tmp_path_factory.mktemp("home")
    tiny_policy("llava", folder / "models")
    problems = picture_problems(folder / "pictures", 6)
    rows = [
        {
            "id": one.id,
            "question": one.question,
            "images": [f"pictures/{Path(image.path).name}" for image in one.images],
            "answer": one.answer,
        }
        for one in problems
    ]
    for name in ("train", "tuning"):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = [row | {"chosen": "yes", "rejected": "no"} for row in rows]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    (folder / "rewards.py").write_text("def short(problem, response):\n    return -len(response)\n")
    (folder / "watched.toml").write_text(RECIPE)
    done = vergence("run", folder / "watched.toml", "--out", folder / "run", check=False, kill=("torn-state", 5))
    assert done.returncode == -9, done.stderr
    return folder


def everything(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def edited(path: Path) -> None:
    path.write_text(path.read_text().replace('"answer": "1"', '"answer": "2"'))


def exchanged(path: Path) -> None:
    """Another picture of the same size and kind."""
    with Image.open(path) as picture:
        picture.rotate(180).save(path)


def two_bits(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    content[-1] ^= 128
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


@contextmanager
def harmed(path: Path, harm: Callable[[Path], None]) -> Iterator[None]:
    before = path.read_bytes()
    harm(path)
    assert before != path.read_bytes()
    yield
    path.write_bytes(before)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one line of a command that is refused."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert code == 2, captured
    line, *more = captured.err.strip().splitlines()
    assert not more, captured.err
    return line


FAULTS = {
    "answer": ("train.jsonl", edited, ["data.train: ", "restore"]),
    "test answer": ("tuning.jsonl", edited, ["data.tuning, data.test: ", "restore"]),
    "picture": ("pictures/0-1-0.png", exchanged, ['data.train "p1"', "restore"]),
    "weights": ("models/llava-0/model.safetensors", two_bits, ["stage.load.path: ", "sha256", "restore"]),
    "tokenizer": ("models/llava-0/tokenizer_config.json", lambda path: path.write_text("{}"), ["stage.load.path: "]),
    "reward": ("rewards.py", lambda path: path.write_text(path.read_text() * 2), ["functions.short: ", "restore"]),
    "finished": ("run/checkpoints/first/policy/model.safetensors", two_bits, ["delete ", "checkpoints/first"]),
    "finished, cut": ("run/checkpoints/first/policy/model.safetensors", cut, ["bytes, expected ", "checkpoints/first"]),
    "snapshot": ("run/checkpoints/second/steps/step-000001/state.pt", two_bits, ["damaged", "delete "]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_that_was_killed_does_not_go_on_over(fault: str, home: Path, capsys) -> None:
    name, harm, words = FAULTS[fault]
    with harmed(home / name, harm):
        before = everything(home / "run")
        line = refused(capsys, "run", home / "watched.toml", "--out", home / "run", "--quiet")
        assert all(word in line for word in [str(home / name), *words]), line
        if fault != "snapshot":  # noticed when the stage begins
            assert before == everything(home / "run")


def test_it_goes_on_where_nothing_changed_also_elsewhere_and_a_copy_of_its_model_is_watched(home, tmp_path, capsys):
    out = tmp_path / "moved"
    shutil.copytree(home / "run", out)
    command = ["run", home / "watched.toml", "--out", out, "--quiet"]
    assert main([str(argument) for argument in command]) == 0
    final = out / "final" / "model.safetensors"
    for harm in (two_bits, cut):
        with harmed(final, harm):
            line = refused(capsys, *command)
            assert all(word in line for word in (str(final), "expected", "delete final")), line
    shutil.rmtree(out / "final")  # the remedy
    assert main([str(argument) for argument in command]) == 0
    assert final.read_bytes() == (out / "checkpoints" / "second" / "policy" / "model.safetensors").read_bytes()


def test_before_anything_is_computed_data_may_still_be_corrected(home: Path, tmp_path: Path, capsys) -> None:
    command = ["run", home / "watched.toml", "--out", tmp_path / "run", "--stop-after", "load"]
    assert main([str(argument) for argument in command]) == 0
    capsys.readouterr()
    with harmed(home / "train.jsonl", edited):
        assert main([str(argument) for argument in command]) == 0
        assert "beginning with what is there now" in " ".join(capsys.readouterr().out.split())
        assert main([str(argument) for argument in command]) == 0
        assert "beginning with what is there now" not in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", ["pool", "reward-model"])
def test_what_other_commands_have_begun_is_watched_too(name: str, home: Path, tmp_path: Path, capsys) -> None:
    model, train, pairs = home / "models" / "llava-0", home / "train.jsonl", home / "pairs.jsonl"
    out, quiet = tmp_path / "out", ["--quiet", "--device", "cpu"]
    sampling = ["--samples", "2", "--max-new-tokens", "2", "--keep", "0:1", "--out", out]
    steps = ["--steps", "1", "--batch-size", "2", "--held-out-share", "0.4", "--out", out]
    command, data = {
        "pool": (["pool", model, "--data", train, *sampling, *quiet], train),
        "reward-model": (["reward-model", "train", model, "--pairs", pairs, *steps, *quiet], pairs),
    }[name]
    assert main([str(argument) for argument in command]) == 0, capsys.readouterr().err
    before = everything(tmp_path)
    for place, harm in (
        (data, lambda path: path.write_text(path.read_text().replace("what is 1", "what was 1"))),
        (home / "pictures" / "0-1-0.png", exchanged),
        (model / "model.safetensors", two_bits),
    ):
        with harmed(place, harm):
            line = refused(capsys, *command)
            assert all(word in line for word in (str(place), "expected", "restore")), line
    assert before == everything(tmp_path)
    assert main([str(argument) for argument in command]) == 0
