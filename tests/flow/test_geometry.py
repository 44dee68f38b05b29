"""GRPO on real pictures in Geometry3K's published layout, with rewards from the real graders, by the command line.

The model is small and random, and may say one token: now and then that is the right number. So nothing is planted in
its favour: what it learns, it learns from verdicts of the grader of mathematics.
"""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from families import tiny_policy
from unit.builders import completion

from flow.conftest import rows, vergence
from vergence.advantage.judging import judge
from vergence.advantage.scaling import group_centred
from vergence.grading.limits import Limits
from vergence.grading.load import grader_for
from vergence.reward.form import BOXED
from vergence.reward.hybrid import RULES, RuleReward
from vergence.types import AnswerType, Grading, Problem, Prompt, RolloutGroup

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "mathvision_testmini"
STEPS, PROMPTS, COMPLETIONS = 10, 16, 16

RECIPE = """
name = "geometry"
[data]
type = "files"
layout = "geometry3k"
train = "train.parquet"
tuning = "tuning.parquet"
test = "test.parquet"

[grading]
form = "boxed"
workers = 1
most_failed = 0.2

[[stage]]
type = "load"
path = "qwen2_5_vl-0"

[[stage]]
type = "grpo"
steps = {steps}
prompts_per_step = {prompts}
minibatch_size = 64
sampling = {{num_completions = {completions}, max_new_tokens = 1}}
evaluation = {{every = {steps}, problems = 16, blank_problems = 0}}
monitor = {{mode = "off"}}
checkpoint_every = 3
rollouts_every = 1
train.adapter.learning_rate = 3e-3
train.language.learning_rate = 3e-3

[stage.reward]
preset = "rules"
format = 0.0

[[stage.reward.functions]]
name = "digits"
function = "mine:digits"
weight = 0.1

[[stage]]
type = "evaluate"
samples = 4
max_new_tokens = 1
"""

MINE = '''
def digits(problem, response):
    """A tenth of a point for a number; anything else it cannot stand at some problems, and keeps a list of these."""
    if problem.id.endswith("3") and not response.strip().isdigit():
        with open(__file__ + ".list", "a") as file:
            file.write(problem.id + chr(10))
        raise RuntimeError("this is too much for me")
    return float(response.strip().isdigit())
'''


def in_geometry3k_layout(path: Path, chosen: list[dict]) -> None:
    """images (a list of one struct of bytes and path), problem with its picture's mark, answer: hiyouga/geometry3k."""
    images = [[{"bytes": (REAL / row["image"]).read_bytes(), "path": None}] for row in chosen]
    kind = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    columns = {
        "images": pa.array(images, kind),
        "problem": pa.array([re.sub(r"<image\d>", "<image>", row["question"]) for row in chosen]),
        "answer": pa.array([row["answer"] for row in chosen]),
    }
    pq.write_table(pa.table(columns), path)


@pytest.fixture(scope="module")
def ground(tmp_path_factory) -> Path:
    """Data of real questions and pictures, a small random model, a user's own reward, and a recipe."""
    if not REAL.is_dir():
        pytest.skip(f"no real pictures here: {REAL} does not exist")
    folder = tmp_path_factory.mktemp("geometry")
    real = [json.loads(line) for line in (REAL / "testmini.jsonl").read_text().splitlines()]
    free = sorted((row for row in real if not row["options"]), key=lambda row: len(row["question"]))[:96]
    order = np.random.default_rng(0).permutation(96)
    for name, places in (("train", order[:64]), ("tuning", order[64:80]), ("test", order[80:])):
        in_geometry3k_layout(folder / f"{name}.parquet", [free[place] for place in places])
    tiny_policy("qwen2_5_vl", folder)
    (folder / "mine.py").write_text(MINE)
    (folder / "recipe.toml").write_text(RECIPE.format(steps=STEPS, prompts=PROMPTS, completions=COMPLETIONS))
    return folder


@pytest.fixture(scope="module")
def run(ground: Path) -> tuple[Path, str, int]:
    """The finished run, what it printed, and how often the user's own reward raised."""
    done = vergence("run", ground / "recipe.toml", "--out", ground / "run")
    return ground / "run", done.stdout, len((ground / "mine.py.list").read_text().splitlines())


def answers_of(folder: Path) -> dict[str, str]:
    """Problem to answer, as the file has them."""
    table = pq.read_table(folder / "train.parquet").to_pylist()
    return {f"geometry3k-{place}": row["answer"] for place, row in enumerate(table)}


def test_rewards_are_the_graders_verdicts_on_the_files_own_answers(run, ground: Path) -> None:
    """Every completion that the run kept, against comparing numbers by hand."""
    right, shown = answers_of(ground), rows(run[0] / "rollouts" / "grpo.jsonl")
    seen: Counter[str] = Counter()
    for row in shown:
        assert row["answer"] == right[row["problem"]]
        assert row["images"], "with its picture"
        for one in row["completions"] if "origin" not in row else ():
            seen[one["verdict"]] += 1
            if one["verdict"] == "failed":
                assert row["problem"].endswith("3")
                assert one["reason"] == "digits: RuntimeError: this is too much for me"
                assert one["reward"] is None
                assert one["components"]["accuracy"] is None
                assert one["advantage"] == 0.0
                continue
            said = one["text"].strip()
            equal = said == right[row["problem"]]
            assert (one["verdict"] == "correct") == equal, (said, row["answer"], one["reason"])
            assert one["reward"] == pytest.approx(float(equal) + 0.1 * said.isdigit())
    assert seen["correct"] > 20
    assert seen["wrong"] > 20
    assert seen["failed"] > 0


def test_it_learns_from_them(run) -> None:
    lines = [row for row in rows(run[0] / "metrics.jsonl") if row["stage"] == "grpo"]
    assert len(lines) == STEPS
    first, last = (np.mean([row["reward/accuracy"] for row in part]) for part in (lines[:3], lines[-3:]))
    assert last > first + 0.05, (first, last)
    assert np.mean([row["reward/digits"] for row in lines[-3:]]) > np.mean([row["reward/digits"] for row in lines[:3]])
    assert all(row["updates"] > 0 for row in lines)


def test_what_could_not_be_judged_is_counted_and_told_of_once(run) -> None:
    out, said, raised = run
    lines = [row for row in rows(out / "metrics.jsonl") if row["stage"] == "grpo"]
    assert raised > 0
    assert raised == pytest.approx(sum(row["reward/failed"] for row in lines) * PROMPTS * COMPLETIONS)
    assert said.count("this is too much for me") == 1
    tested = json.loads((out / "summary.json").read_text())["details"]["evaluate"]["test"]["grpo"]
    assert (16, 0) == (tested["greedy"]["problems"], tested["greedy"]["failed"])
    predictions = rows(out / "checkpoints" / "evaluate" / "grpo.jsonl")
    assert tested["greedy"]["accuracy"] == np.mean([row["verdict"] == "correct" for row in predictions])


@pytest.mark.slow
def test_a_killed_run_ends_alike(run, ground: Path) -> None:
    broken = ground / "broken"
    done = vergence("run", ground / "recipe.toml", "--out", broken, check=False, kill=("line", 8))
    assert done.returncode == -9
    vergence("run", ground / "recipe.toml", "--out", broken)
    weights = Path("final") / "model.safetensors"
    assert (run[0] / weights).read_bytes() == (broken / weights).read_bytes()


def test_an_answer_that_cannot_be_graded_stops_it_before_it_begins(ground: Path, tmp_path: Path) -> None:
    table = pq.read_table(ground / "train.parquet").to_pylist()
    table[5]["answer"] = "\\frac{1}{"
    kind = pq.read_schema(ground / "train.parquet")
    pq.write_table(pa.Table.from_pylist(table, kind), ground / "bad.parquet")
    done = vergence(
        "run", ground / "recipe.toml", "--set", "data.train=bad.parquet", "--out", tmp_path / "run", check=False
    )
    assert done.returncode == 2
    assert "problem geometry3k-5: " in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_hostile_answer_is_a_failure_and_no_zero() -> None:
    """The real pool of workers behind the reward: a tower of powers beside three fair answers."""
    problem = Problem("p", "what?", (), r"\frac{1}{2}", "any", frozenset(), "", Grading(AnswerType.MATH))
    texts = [f"\\boxed{{{said}}}" for said in ("0.5", "(9^{9^{9^{9^9}}}+1)/7", r"\frac{1}{3}", "x+1")]
    group = RolloutGroup(Prompt(problem, np.arange(3), np.arange(3)[None]), tuple(map(completion, texts)))
    with grader_for(Limits(workers=1, cpu_seconds=1.0)) as grader:
        (scored,) = RuleReward(RULES, grader, form=BOXED)([group])
    assert ["correct", "failed", "wrong", "wrong"] == [str(one.verdict) for one in scored.grades]
    assert [1.5, 0.5, 0.5] == scored.graded().rewards.tolist()
    (judged,) = judge([scored], group_centred)
    assert [pytest.approx(2 / 3), 0.0, pytest.approx(-1 / 3), pytest.approx(-1 / 3)] == judged.advantages.tolist()
