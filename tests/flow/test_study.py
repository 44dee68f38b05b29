"""A small study through the command line: interrupted, shared beginnings, failures, and what is left behind."""

import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from flow.conftest import shared, vergence
from flow.test_kill import located, timeless

STUDY = """
name = "small"
base = "digits"
seeds = [0, 1]
reference = "plain"
without = ["reward_model"]
set = [
  "data.train=128", "data.captions=128", "data.tuning=24", "data.test=24",
  "stage.parents.cache=false", "stage.parents.vision_steps=12", "stage.parents.vision_scenes=256",
  "stage.parents.language_steps=100", "stage.parents.language_batch=16", "stage.parents.language_texts=1024",
  "stage.align.max_steps=4", "stage.align.batch_size=16", "stage.align.evaluation.problems=24",
  "stage.mpo.pairs.judge=rules", "stage.mpo.rounds=1", "stage.mpo.prompts_per_round=32",
  "stage.mpo.steps_per_round=4", "stage.mpo.batch_size=8", "stage.mpo.evaluation.problems=24",
  "stage.grpo.reward.preset=rules", "stage.grpo.steps=5", "stage.grpo.prompts_per_step=8",
  "stage.grpo.checkpoint_every=2", "stage.grpo.evaluation.every=2", "stage.grpo.evaluation.problems=24",
  "stage.grpo.evaluation.blank_problems=8", "stage.grpo.rollouts_every=2",
]

[[variant]]
name = "plain"

[[variant]]
name = "centred"
set = ["stage.grpo.advantage=centred"]

[[figure]]
stage = "grpo"
metric = "tuning/sampled_accuracy"

[table]
columns = ["test/greedy_accuracy", "grpo:gradient_norm", "grpo:effective/fresh", "mpo:loss:last"]
"""
RUNS = [f"runs/{variant}/seed-{seed}" for variant in ("plain", "centred") for seed in (0, 1)]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """The study's file."""
    path = tmp_path_factory.mktemp("study") / "small.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="module")
def finished(study, tmp_path_factory) -> Path:
    """The finished study."""
    command = ("--processes", "2", "--quiet")
    return shared(tmp_path_factory, "study", lambda path: vergence("study", study, "--out", path, *command))


def weights(directory: Path) -> bytes:
    return (directory / "final" / "model.safetensors").read_bytes()


def test_a_study_leaves_tables_figures_and_ordinary_runs(finished):
    assert {path.name for path in finished.iterdir()} - {".lock"} == {
        "study.toml", "table.md", "results.json", "figures", "runs", "shared", "jobs.jsonl"
    }  # fmt: skip
    assert [(finished / run / "report.html").is_file() for run in RUNS] == [True] * 4
    results = json.loads((finished / "results.json").read_text())
    assert results["left"] == 0
    for name in ("plain", "centred"):
        for seed in ("0", "1"):
            run = results["variants"][name]["runs"][seed]
            summary = json.loads((finished / run["directory"] / "summary.json").read_text())
            assert run["values"]["test/greedy_accuracy"] == summary["stages"]["grpo"]["greedy_accuracy"]
            assert len(run["values"]) == 4
            assert run["cpu_seconds"] > 0
            assert run["shared_cpu_seconds"] > 0
    gap = results["variants"]["centred"]["difference"]["mpo:loss:last"]
    assert (gap["mean"], gap["low"], gap["high"]) == (0.0, None, None)  # what is shared is the same
    curves = ElementTree.parse(finished / "figures" / "grpo-tuning-sampled_accuracy-step.svg")
    assert len(curves.findall(".//{http://www.w3.org/2000/svg}polyline")) == 2
    assert "| centred | 2 |" in (finished / "table.md").read_text()


def test_shared_stages_are_computed_once_for_each_seed(finished):
    assert [len(list((finished / "shared" / f"seed-{seed}").iterdir())) for seed in (0, 1)] == [1, 1]
    jobs = [json.loads(line)["job"] for line in (finished / "jobs.jsonl").read_text().splitlines()]
    assert len(jobs) == len(set(jobs)) == 6
    for seed in (0, 1):
        policies = {
            (finished / f"runs/{name}/seed-{seed}/checkpoints/mpo/policy/model.safetensors").stat().st_ino
            for name in ("plain", "centred")
        }
        assert len(policies) == 1


@pytest.mark.slow
def test_a_run_that_shares_its_beginning_ends_bit_for_bit_like_one_that_does_not(finished, tmp_path):
    ours = finished / "runs" / "centred" / "seed-1"
    vergence("run", ours / "recipe.toml", "--out", tmp_path / "direct", "--quiet")
    assert weights(ours) == weights(tmp_path / "direct")
    assert weights(ours) != weights(finished / "runs" / "plain" / "seed-1")
    assert timeless(ours) == timeless(tmp_path / "direct")
    for name in ("mpo", "grpo"):
        journals = [
            located(path, (path / f"rollouts/{name}.jsonl").read_text()) for path in (ours, tmp_path / "direct")
        ]
        assert journals[0] == journals[1]
    assert "/shared/" not in (ours / "rollouts" / "mpo.jsonl").read_text()


@pytest.mark.slow
def test_killed_in_the_middle_and_continued_a_study_gives_the_same_table(study, finished, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(finished / "shared", out / "shared")  # to save time; runs are resumed in flow.test_kill
    shutil.copy(finished / "study.toml", out)
    command = ("study", study, "--out", out, "--processes", "2")
    done = vergence(*command, check=False, kill=("line", 1))  # with one variant done and another under way
    assert done.returncode == -9
    assert not (out / "table.md").exists()
    vergence(*command)
    assert (out / "table.md").read_text() == (finished / "table.md").read_text()
    for run in RUNS:
        assert weights(out / run) == weights(finished / run)


def test_a_finished_study_is_only_read(study, finished):
    before = (finished / "jobs.jsonl").read_bytes()
    table = (finished / "table.md").read_text()
    done = vergence("study", study, "--out", finished)
    assert "Difference from plain, seed by seed" in done.stdout
    assert (finished / "jobs.jsonl").read_bytes() == before
    assert (finished / "table.md").read_text() == table


def test_another_study_in_its_directory_is_refused_and_a_table_of_nothing_too(finished, study, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(STUDY.replace("stage.grpo.steps=5", "stage.grpo.steps=6"))
    done = vergence("study", other, "--out", finished, check=False)
    assert done.returncode == 2
    assert "seed 0: stage.4.steps = 5 there, 6 here" in done.stderr
    done = vergence("study", study, "--out", tmp_path / "nothing", "--table", check=False)
    assert done.returncode == 2
    assert "no such study" in done.stderr
    assert not (tmp_path / "nothing").exists()


@pytest.mark.slow
def test_a_failed_run_is_told_in_one_line_and_the_others_stay(tmp_path):
    (tmp_path / "base.toml").write_text(
        'name = "broken"\n[data]\ntype = "digits"\ntrain = 4\ncaptions = 4\ntuning = 4\ntest = 4\n'
        '[[stage]]\ntype = "load"\npath = "absent"\n[[stage]]\ntype = "evaluate"\n'
    )
    (tmp_path / "study.toml").write_text('name = "b"\nbase = "base.toml"\nseeds = [0]\n[[variant]]\nname = "only"\n')
    done = vergence("study", tmp_path / "study.toml", "--out", tmp_path / "out", check=False)
    assert done.returncode == 1
    assert "only, seed 0: vergence: " in done.stdout
    assert "1 job failed" in done.stderr
    assert str(tmp_path / "absent") in (tmp_path / "out" / "failures" / "runs.only.seed-0.txt").read_text()
    assert "1 of 1 runs are not finished" in (tmp_path / "out" / "table.md").read_text()
