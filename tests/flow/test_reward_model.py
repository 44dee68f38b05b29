"""Reward models through the command line: trained, measured, averaged, served, and used by a recipe."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flow.conftest import SMALL, overrides, rows, vergence
from vergence.digits.questions import QUESTIONS, answer, chain

RATES = ("--learning-rate", "5e-4", "--head-learning-rate", "2e-3")


def invented_pairs(run: Path, count: int) -> list[dict]:
    """Chains about a picture's own digits against chains about other digits: only the picture tells them apart.

    Every fourth rejected response is cut short as well. Whoever prefers the longer response is right a little more
    often than by chance.
    """
    rng = np.random.default_rng(0)
    made = []
    for index, row in enumerate(rows(run / "data" / "captions.jsonl")[:count]):
        digits = [int(letter) for letter in row["target"] if letter.isdigit()]
        question = QUESTIONS[index % len(QUESTIONS)]
        others = iter(lambda: rng.integers(0, 10, 4).tolist(), None)
        strange = next(other for other in others if answer(question, other) != answer(question, digits))
        good, bad = (
            f"<think>{thought}</think><answer>{said}</answer>"
            for thought, said in (chain(question, seen, rng, 0.0) for seen in (digits, strange))
        )
        made.append(
            {
                "question": f"{question}?",
                "images": [f"../data/{row['images'][0]}"],
                "chosen": good,
                "rejected": bad[: len(bad) // 2] if index % 4 == 0 else bad,
                "answer": answer(question, digits),
                "source": "cut" if index % 4 == 0 else "unseen",
            }
        )
    return made


@pytest.fixture(scope="module")
def ground(small_run, tmp_path_factory):
    """Pairs beside a finished run's data, and a reward model trained on them."""
    folder = tmp_path_factory.mktemp("reward models")
    shutil.copytree(small_run / "data", folder / "data")
    (folder / "pairs").mkdir()
    made = invented_pairs(small_run, 512)
    texts = [{"question": f"{name}?", "chosen": "<answer>9</answer>", "rejected": "9"} for name in QUESTIONS]
    for name, some in (("train", [*made[:400], *texts]), ("held_out", made[400:])):
        (folder / "pairs" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    done = vergence(*train_command(small_run, folder, "one"))
    return folder, done


def train_command(run: Path, folder: Path, out: str, *more: str) -> list[str | Path]:
    files = ["--pairs", folder / "pairs" / "train.jsonl", "--held-out", folder / "pairs" / "held_out.jsonl"]
    phases = ["--steps", "110", "--second-steps", "10", "--checkpoint-every", "40"]
    policy = run / "checkpoints" / "align" / "policy"
    return ["reward-model", "train", policy, *files, *RATES, *phases, "--out", folder / out, *more]


def test_a_trained_reward_model_beats_length_and_chance_and_looks_at_the_picture(ground) -> None:
    folder, done = ground
    report = json.loads((folder / "one" / "report.json").read_text())
    assert 112 == report["held_out_pairs"]
    assert report["intervals"]["margin_over_chance"][0] > 0.02, report
    assert report["margin_over_longer"] > 0.03, report
    assert report["held_out_pair_accuracy_by_source"]["unseen"] > 0.55, report
    assert report["image_swap"]["drop_interval"][0] > 0, report
    assert 0.4 < report["longer_is_better_accuracy"] < 0.75
    lines = rows(folder / "one" / "metrics.jsonl")
    assert list(range(120)) == [line["step"] for line in lines]
    assert lines[-1]["held_out/pair_accuracy"] == report["held_out_pair_accuracy"]
    assert lines[109]["learning_rate_factor"] > lines[118]["learning_rate_factor"], "the second phase goes slower"
    assert "margin over the longer one" in done.stdout
    assert str(folder / "one" / "reward_model") in done.stdout.splitlines()[-1].strip()


@pytest.mark.slow
def test_training_killed_in_the_middle_ends_bit_equal(ground, small_run) -> None:
    folder, _ = ground
    short = ("--steps", "9", "--second-steps", "3", "--checkpoint-every", "4")
    vergence(*train_command(small_run, folder, "whole", *short))
    command = train_command(small_run, folder, "killed", *short)
    for place, count in (("line", 6), ("torn-state", 2)):
        assert -9 == vergence(*command, check=False, kill=(place, count)).returncode
    vergence(*command)
    for name in ("reward_model/model.safetensors", "reward_model/reward_head.safetensors", "report.json"):
        assert (folder / "whole" / name).read_bytes() == (folder / "killed" / name).read_bytes(), name
    done = vergence(*command, "--seed", "1", check=False)
    assert (2, 1) == (done.returncode, len(done.stderr.strip().splitlines()))
    assert "holds another training (seed = 0 there, 1 here)" in done.stderr


def test_measured_again_it_says_the_same(ground) -> None:
    folder, _ = ground
    out = folder / "again.json"
    vergence("reward-model", "measure", folder / "one", "--pairs", folder / "pairs" / "held_out.jsonl", "--out", out)
    again, before = json.loads(out.read_text()), json.loads((folder / "one" / "report.json").read_text())
    for key in ("held_out_pair_accuracy", "longer_is_better_accuracy", "held_out_pairs_by_source"):
        assert before[key] == again[key]
    assert before["log_loss"] == pytest.approx(again["log_loss"], abs=1e-5)


def test_the_average_with_itself_scores_the_same(ground, tmp_path) -> None:
    folder, _ = ground
    responses = tmp_path / "responses.jsonl"
    some = rows(folder / "pairs" / "held_out.jsonl")[:6]
    asked = [
        {
            "question": row["question"],
            "images": [str((folder / "pairs" / row["images"][0]).resolve())],
            "responses": [row["chosen"], row["rejected"]],
        }
        for row in some
    ]
    responses.write_text("".join(json.dumps(row) + "\n" for row in asked))
    vergence("reward-model", "average", folder / "one", folder / "one", "--out", tmp_path / "mean")
    scored = [
        [json.loads(line) for line in vergence("reward-model", "score", model, "--data", responses).stdout.splitlines()]
        for model in (folder / "one", tmp_path / "mean")
    ]
    assert 12 == len(scored[0])
    assert [0, 1] * 6 == [row["response"] for row in scored[0]]
    assert scored[0] == scored[1]


@pytest.fixture
def server(ground):
    """A reward model behind HTTP, in a process of its own."""
    folder, _ = ground
    command = [sys.executable, "-m", "vergence", "reward-model", "serve", str(folder / "one"), "--port", "0"]
    process = subprocess.Popen([*command, "--name", "mine", "--wait", "0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.readline()
    assert said.startswith("serving mine at http://127.0.0.1:"), said
    yield process, said.split(" at ")[1].strip()
    process.kill()
    process.wait()
    process.stdout.close()


def recipe_with(ground: Path, folder: Path, name: str, stage: str, scores: str = "") -> Path:
    """Two steps of GRPO with a reward model from elsewhere."""
    path = folder / f"{name}.toml"
    data = "".join(f'{split} = "{ground / "data" / split}.jsonl"\n' for split in ("train", "tuning", "test"))
    policy = ground / "policy"
    path.write_text(
        f'name = "{name}"\n{scores}[data]\ntype = "files"\n{data}'
        f'[[stage]]\ntype = "load"\npath = "{policy}"\n'
        f'[[stage]]\ntype = "load_reward_model"\n{stage}prompts = 8\n'
        '[[stage]]\ntype = "grpo"\nsteps = 2\nprompts_per_step = 4\nminibatch_size = 16\nreward.gate = "none"\n'
        "evaluation.problems = 4\nevaluation.blank_problems = 0\n"
    )
    return path


def rewarded(directory: Path) -> list[float]:
    return [row["reward/preference"] for row in rows(directory / "metrics.jsonl") if row["stage"] == "grpo"]


@pytest.mark.slow
def test_a_recipe_takes_a_reward_model_from_here_from_a_child_and_over_http_alike(
    ground, small_run, server, tmp_path
) -> None:
    folder, _ = ground
    process, address = server
    if not (folder / "policy").exists():
        shutil.copytree(small_run / "checkpoints" / "align" / "policy", folder / "policy")
    local = f'path = "{folder / "one"}"\n'
    ways = {
        "here": recipe_with(folder, tmp_path, "here", local),
        "child": recipe_with(folder, tmp_path, "child", local, '[scores]\nplace = "child"\nremembered = 1000\n'),
        "http": recipe_with(folder, tmp_path, "http", f'kind = "http"\nurl = "{address}"\nretries = 0\n'),
    }
    found = {}
    for name, path in ways.items():
        vergence("run", path, "--out", tmp_path / name, "--quiet")
        found[name] = rewarded(tmp_path / name)
        source = json.loads(
            (tmp_path / name / "checkpoints" / "load_reward_model" / "reward_model" / "source.json").read_text()
        )
        assert source["calibration"]["spread"] > 0
    assert 2 == len(found["here"])
    assert found["here"] == found["child"]
    # over HTTP scores differ by rounding, and an update of AdamW makes that visible
    assert found["here"][0] == pytest.approx(found["http"][0], abs=1e-5)

    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = vergence("run", ways["http"], "--out", tmp_path / "http-gone", "--quiet", check=False)
    assert (1, 1) == (done.returncode, len(done.stderr.strip().splitlines()))
    assert "no answer after 1 attempts" in done.stderr
    assert "refused" in done.stderr


def test_the_stage_of_the_built_in_recipe_reports_every_source_and_the_wrong_picture(small_run) -> None:
    details = json.loads((small_run / "summary.json").read_text())["details"]["reward_model"]
    assert {"rule", "reasoning", "corruption", "elsewhere"} == details["held_out_pair_accuracy_by_source"].keys()
    assert details["intervals"]["margin_over_chance"][0] > 0
    assert {"low", "high", "count", "confidence", "accuracy"} == details["reliability"][0].keys()
    assert details["held_out_pairs"] == sum(one["count"] for one in details["reliability"])
    assert details["image_swap"]["responses"] > 10
    assert details["calibration"]["spread"] > 0
    last = [row for row in rows(small_run / "metrics.jsonl") if row["stage"] == "reward_model"][-1]
    assert last["held_out/image_swap_drop"] == details["image_swap"]["drop"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("measure", "nowhere", "--pairs", "P"), "no such data file"),
        (("average", "DIR", "--out", "OUT"), "one reward model is its own average"),
        (("average", "DIR", "DIR", "--out", "DIR"), "is there already"),
        (("score", "POLICY", "--data", "R"), "no reward model"),
        (("train", "POLICY", "--pairs", "R", "--out", "OUT"), '"chosen" must be a non-empty string'),
    ],
)
def test_wrong_input_is_one_line(ground, small_run, tmp_path, arguments, said: str) -> None:
    folder, _ = ground
    (tmp_path / "responses.jsonl").write_text('{"question": "sum?", "responses": ["9"]}\n')
    names = {
        "DIR": folder / "one",
        "OUT": tmp_path / "out",
        "R": tmp_path / "responses.jsonl",
        "POLICY": small_run / "checkpoints" / "align" / "policy",
    }
    done = vergence("reward-model", *(names.get(one, one) for one in arguments), check=False)
    assert (2, 1) == (done.returncode, len(done.stderr.strip().splitlines())), done
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_pairs_file_and_text_for_a_second_phase_enter_the_stage(ground, small_run, tmp_path) -> None:
    folder, _ = ground
    directory = tmp_path / "run"
    shutil.copytree(small_run, directory)
    for stage in ("reward_model", "mpo", "grpo", "evaluate"):
        shutil.rmtree(directory / "checkpoints" / stage)
    shutil.rmtree(directory / "final")
    settings = overrides(
        *SMALL,
        "stage.reward_model.steps=3",
        "stage.reward_model.second.steps=2",
        f'stage.reward_model.pairs_file="{folder / "pairs" / "train.jsonl"}"',
        f'stage.reward_model.held_out_file="{folder / "pairs" / "held_out.jsonl"}"',
    )
    (directory / "recipe.toml").write_text(vergence("show", "digits", *settings).stdout)
    vergence("demo", "--out", directory, "--stop-after", "reward_model", *settings)
    details = json.loads((directory / "summary.json").read_text())["details"]["reward_model"]
    assert {"cut", "unseen", "rule", "reasoning"} <= details["held_out_pair_accuracy_by_source"].keys()
    assert 84 == details["held_out_pairs_by_source"]["unseen"]
    steps = [row for row in rows(directory / "metrics.jsonl") if row["stage"] == "reward_model"]
    assert 5 == len(steps), "three with pictures, two with text mixed in"
