"""Wrong input gives one line that says where, what and what to do, exit code 2, and leaves nothing behind."""

import json
import shutil
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from families import tiny_policy
from PIL import Image

from flow.conftest import vergence
from vergence.cli import main


def refused(capsys, *arguments: str | Path) -> str:
    """The one line that a refused command prints."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert code == 2, captured
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def write_set(folder: Path, **changes) -> Path:
    """A data file of two good rows, the second changed; a value of None removes the key."""
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (32, 32), "white").save(folder / "good.png")
    row = {"id": "a", "question": "sum?", "images": ["good.png"], "answer": "1"}
    second = {key: value for key, value in (row | {"id": "b"} | changes).items() if value is not None}
    path = folder / "data.jsonl"
    path.write_text(json.dumps(row) + "\n" + json.dumps(second) + "\n")
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A small model, whose prompts are made before a run begins."""
    folder = tmp_path_factory.mktemp("models")
    tiny_policy("internvl", folder)
    return folder / "internvl-0"


def recipe_over(folder: Path, data: Path, model: Path) -> Path:
    lines = [f'{key} = "{data}"' for key in ("train", "tuning", "test")]
    text = 'name = "own"\n[data]\ntype = "files"\n' + "\n".join(lines) + '\n[[stage]]\ntype = "load"\npath = "model"\n'
    path = folder / "own.toml"
    path.write_text(text)
    shutil.copytree(model, folder / "model")
    return path


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["stage.grpo.stepz=5"], ["stage.5.stepz", "unknown key", "show"]),
        (["seed=-1"], ["seed", "greater than or equal to 0", "-1"]),
        (["seed='seven'"], ["seed", "integer", "'seven'"]),
        (["stage.grpo.clip_low=2.0"], ["stage.5.clip_low", "less than or equal to 1", "2.0"]),
        (["stage.grpo.minibatch_size=60"], ["minibatch_size = 60", "256", "divisor"]),
        (["stage.nothing.steps=5"], ["nothing", "parents, assemble, align"]),
        (["nonsense"], ["nonsense", "key=value"]),
        (["data.type=clouds"], ["data.type", "clouds", "digits"]),
    ],
)
@pytest.mark.parametrize("command", ["check", "run"])
def test_a_wrong_recipe_is_refused_before_anything_is_made(capsys, tmp_path, monkeypatch, command, settings, words):
    monkeypatch.chdir(tmp_path)
    arguments = [part for setting in settings for part in ("--set", setting)]
    line = refused(capsys, command, "digits", *arguments)
    assert all(word in line for word in words), line
    assert list(tmp_path.iterdir()) == []


def test_a_missing_or_broken_recipe_file_is_named(capsys, tmp_path):
    assert "nowhere.toml" in refused(capsys, "check", tmp_path / "nowhere.toml")
    (tmp_path / "broken.toml").write_text("name = \n")
    line = refused(capsys, "check", tmp_path / "broken.toml")
    assert "broken.toml" in line
    assert "line 1" in line


def test_a_stage_without_the_model_it_needs_is_refused(capsys, tmp_path):
    (tmp_path / "r.toml").write_text('name = "r"\n[data]\ntype = "digits"\n[[stage]]\ntype = "grpo"\n')
    line = refused(capsys, "check", tmp_path / "r.toml")
    assert "needs a policy" in line
    assert '"load"' in line


def bomb(path: Path) -> None:
    """A PNG of a few bytes that says it is 60,000 x 60,000."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


def truncated(path: Path) -> None:
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:900])


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (None, ["no such file"]),
        (lambda path: path.write_text("not a picture"), ["not a readable picture"]),
        (truncated, ["cannot be decoded"]),
        (bomb, ["pixels", "scale it down"]),
    ],
    ids=["missing", "not-a-picture", "truncated", "absurdly-large"],
)
def test_a_bad_picture_is_named_with_its_row(capsys, tmp_path, model, picture, words):
    data = write_set(tmp_path / "set", images=["bad.png"])
    if picture is not None:
        picture(tmp_path / "set" / "bad.png")
    line = refused(capsys, "run", recipe_over(tmp_path, data, model), "--out", tmp_path / "run")
    assert "bad.png" in line
    assert "line 2" in line or "problem b" in line
    assert all(word in line for word in words), line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"answer": " "}, ['"answer" is empty', "line 2"]),
        ({"answer": "7</answer>"}, ["cannot be graded: problem b: ", "it is not right"]),
        ({"answer": [7]}, ['"answer" must be a string or a number', "list [7]", "line 2"]),
        ({"question": None}, ['"question" is missing', "line 2"]),
        ({"colour": "red"}, ['unknown key "colour"', "line 2"]),
        ({"id": "a"}, ['"a" occurs twice']),
        ({"mentions": "("}, ["regular expression", "line 2"]),
    ],
)
def test_a_bad_row_is_named_with_its_key(capsys, tmp_path, model, changes, words):
    data = write_set(tmp_path / "set", **changes)
    line = refused(capsys, "run", recipe_over(tmp_path, data, model), "--out", tmp_path / "run")
    assert all(word in line for word in [str(data), *words]), line
    assert not (tmp_path / "run").exists()


def test_an_empty_data_set_is_refused(capsys, tmp_path, model):
    data = write_set(tmp_path / "set")
    data.write_text("\n")
    assert "empty" in refused(capsys, "run", recipe_over(tmp_path, data, model), "--out", tmp_path / "run")
    assert "empty" in refused(capsys, "eval", tmp_path, "--data", data)


def test_a_directory_that_holds_another_run_is_left_as_it_is(capsys, tmp_path):
    settings = ["data.train=640", "data.captions=8", "data.tuning=8", "data.test=8", "stage.parents.vision_steps=1"]
    settings += ["stage.parents.language_steps=1", "stage.parents.language_texts=64", "stage.parents.vision_scenes=64"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    vergence("demo", "--out", tmp_path / "run", "--stop-after", "parents", *arguments)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    line = refused(capsys, "demo", "--out", tmp_path / "run", "--set", "seed=5", *arguments)
    assert "another run" in line
    assert "seed = 0 there, 5 here" in line
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_a_directory_that_is_no_run_is_left_as_it_is(capsys, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    assert "not a run directory" in refused(capsys, "demo", "--out", tmp_path / "letters")
    assert [path.name for path in (tmp_path / "letters").iterdir()] == ["a.txt"]
    assert "recipe.toml" in refused(capsys, "report", tmp_path / "letters")


def test_a_directory_that_is_no_model_is_named(capsys, tmp_path):
    data = write_set(tmp_path / "set")
    assert "config.json" in refused(capsys, "eval", tmp_path, "--data", data)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    line = refused(capsys, "eval", tmp_path, "--data", data)
    assert "bert" in line
    assert "internvl" in line


def test_assembling_the_wrong_parts_is_refused_and_writes_nothing(capsys, tmp_path):
    (tmp_path / "tower").mkdir()
    (tmp_path / "tower" / "config.json").write_text('{"model_type": "bert"}')
    arguments = ["--vision", tmp_path / "tower", "--language", tmp_path / "tower", "--out", tmp_path / "out"]
    assert "bert" in refused(capsys, "assemble", *arguments)
    assert not (tmp_path / "out").exists()


def test_chat_refuses_an_unreadable_picture(capsys, tmp_path):
    (tmp_path / "x.png").write_text("nothing")
    assert "not a readable picture" in refused(capsys, "chat", tmp_path, "--image", tmp_path / "x.png", "sum?")


def test_an_unknown_stage_to_stop_after_is_refused(capsys, tmp_path):
    line = refused(capsys, "demo", "--out", tmp_path / "run", "--stop-after", "dinner")
    assert "dinner" in line
    assert not (tmp_path / "run").exists()


def test_set_takes_several_keys_and_may_be_repeated(capsys):
    assert main(["show", "digits", "--set", "seed=7", "stage.grpo.steps=3", "--set", "name=other"]) == 0
    shown = capsys.readouterr().out
    assert "seed = 7" in shown
    assert "steps = 3" in shown
    assert 'name = "other"' in shown


@pytest.mark.parametrize("arguments", [("--help",), ("check", "digits"), ("show", "digits")])
def test_help_check_and_show_do_not_load_torch_and_answer_at_once(arguments):
    code = (
        "import sys; from vergence.cli import main\n"
        "try: code = main(sys.argv[1:])\n"
        "except SystemExit as stop: code = stop.code\n"
        "assert not code and not {'torch', 'transformers', 'sklearn'} & set(sys.modules), code"
    )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun < 10, "far above a second only if something heavy was loaded"


def test_a_model_that_is_not_there_is_refused_before_a_run_begins(capsys, tmp_path, model):
    recipe = recipe_over(tmp_path, write_set(tmp_path / "set"), model)
    (tmp_path / "model" / "config.json").unlink()
    assert "config.json" in refused(capsys, "run", recipe, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_too_few_problems_for_a_step_are_refused_before_a_run_begins(capsys, tmp_path, model):
    recipe = recipe_over(tmp_path, write_set(tmp_path / "set"), model)
    recipe.write_text(recipe.read_text() + '[[stage]]\ntype = "grpo"\nreward.preset = "rules"\n')
    line = refused(capsys, "run", recipe, "--out", tmp_path / "run")
    assert "prompts_per_step = 32" in line
    assert "2 problems" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("code", [0, None, "done"])
def test_loaded_code_that_exits_never_ends_a_command_as_if_it_had_succeeded(monkeypatch, capsys, code) -> None:
    monkeypatch.setattr("vergence.recipe.load.load_recipe", lambda *given: sys.exit(code))
    assert main(["check", "digits"]) == 1
    assert f"called sys.exit({code!r})" in capsys.readouterr().err
