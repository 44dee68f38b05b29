"""`vergence pool` from end to end: rates, the pool, the warm buffer, interruptions."""

import json
import shutil
from pathlib import Path

import pytest

from flow.conftest import rows, vergence
from flow.test_pairs import MAX_NEW, killed_when_begun, recipe_with, some_of
from vergence.data.problems import read_problems


@pytest.fixture(scope="module")
def aligned(small_run, tmp_path_factory) -> tuple[Path, Path]:
    """A policy that is sometimes right, and problems in three chunks and a half."""
    data = some_of(small_run / "data" / "train.jsonl", 224, tmp_path_factory.mktemp("data"))
    return small_run / "checkpoints" / "align" / "policy", data


def pooled(aligned, out: Path, *more: str | Path) -> str:
    return vergence("pool", aligned[0], "--data", aligned[1], "--out", out, "--samples", "4", *MAX_NEW, *more).stdout


@pytest.fixture(scope="module")
def pool(aligned, tmp_path_factory) -> tuple[Path, str]:
    """A pool with a warm buffer beside it."""
    folder = tmp_path_factory.mktemp("pool")
    return folder / "pool.jsonl", pooled(aligned, folder / "pool.jsonl", "--buffer", folder / "warm")


def test_the_pool_holds_the_problems_of_the_band_with_their_rates(pool, aligned):
    out, shown = pool
    data = {row["id"]: row for row in rows(aligned[1])}
    sampled = {row["id"]: row for row in rows(out.with_name("pool.jsonl.samples"))[1:]}
    assert list(sampled) == list(data)
    rates = {
        name: sum(f"<answer>{data[name]['answer']}</answer>" in one["text"] for one in row["completions"]) / 4
        for name, row in sampled.items()
    }
    kept = rows(out)
    assert [name for name, rate in rates.items() if 0.1 <= rate <= 0.9] == [row["id"] for row in kept]
    assert 20 < len(kept) < len(data)
    for row in kept:
        assert row["solve_rate"] == rates[row["id"]]
        assert row["samples"] == 4
        assert {key: row[key] for key in ("question", "answer", "objects")} == {
            key: data[row["id"]][key] for key in ("question", "answer", "objects")
        }
    assert f"of {len(data)}, solve rate 0.1 to 0.9" in shown
    for rate in (0.0, 0.25, 0.5, 0.75, 1.0):
        assert f"{rate:.3f} {sum(one == rate for one in rates.values()):>9}" in shown


def test_a_pool_is_a_data_file_and_can_be_pooled_again(pool, aligned, tmp_path):
    out, _ = pool
    problems = read_problems(out, decode=True)
    assert [row["id"] for row in rows(out)] == [problem.id for problem in problems]
    before = {row["id"]: row for row in rows(out)}
    again = tmp_path / "again.jsonl"
    vergence("pool", aligned[0], "--data", out, "--out", again, "--samples", "4", *MAX_NEW, "--keep", "0.5:1")
    expected = {name: row["solve_rate"] for name, row in before.items() if row["solve_rate"] >= 0.5}
    assert expected == {row["id"]: row["solve_rate"] for row in rows(again)}, "a response depends on its problem alone"


def test_another_band_uses_the_same_samples(pool, aligned, tmp_path):
    out, _ = pool
    shutil.copy(out.with_name("pool.jsonl.samples"), tmp_path)
    before = (tmp_path / "pool.jsonl.samples").read_bytes()
    pooled(aligned, tmp_path / "pool.jsonl", "--keep", "0:1", "--quiet")
    assert before == (tmp_path / "pool.jsonl.samples").read_bytes()
    assert len(rows(tmp_path / "pool.jsonl")) == len(rows(aligned[1]))


@pytest.mark.slow
def test_killed_and_continued_pool_and_buffer_are_the_same(pool, aligned, tmp_path):
    out, _ = pool
    command = ["pool", aligned[0], "--data", aligned[1], "--out", tmp_path / "pool.jsonl", "--samples", "4", *MAX_NEW]
    command += ["--buffer", tmp_path / "warm"]
    for lines in (1 + 64, 1 + 128):
        killed_when_begun([*map(str, command)], tmp_path / "pool.jsonl.samples", lines)
        assert not (tmp_path / "pool.jsonl").exists()
        assert not (tmp_path / "warm").exists()
    pooled(aligned, tmp_path / "pool.jsonl", "--buffer", tmp_path / "warm")
    for name in ("pool.jsonl.samples", "warm"):
        assert out.with_name(name).read_bytes() == (tmp_path / name).read_bytes(), name
    assert [row["solve_rate"] for row in rows(out)] == [row["solve_rate"] for row in rows(tmp_path / "pool.jsonl")]


def test_a_continued_pool_with_other_settings_or_another_model_is_refused(pool, aligned, small_run):
    out, _ = pool
    before = out.read_bytes()
    common = ["--data", aligned[1], "--out", out, *MAX_NEW]
    for model, samples, said in (
        (aligned[0], "8", "samples = 4 there, 8 here"),
        (small_run / "checkpoints" / "mpo" / "policy", "4", "inputs are not those that it began with: model: "),
    ):
        done = vergence("pool", model, *common, "--samples", samples, check=False)
        assert done.returncode == 2
        assert said in done.stderr
    assert out.read_bytes() == before


def test_an_empty_pool_is_an_error_and_writes_none(pool, aligned, tmp_path):
    shutil.copy(pool[0].with_name("pool.jsonl.samples"), tmp_path)
    command = ["pool", aligned[0], "--data", aligned[1], "--out", tmp_path / "pool.jsonl", "--samples", "4", *MAX_NEW]
    done = vergence(*command, "--keep", "0.3:0.4", check=False)
    assert done.returncode == 1
    assert "widen --keep" in done.stderr
    assert not (tmp_path / "pool.jsonl").exists()


@pytest.mark.parametrize("band", ["0.9:0.1", "0.1", "a:b", "-1:1"])
def test_a_wrong_band_is_refused(aligned, tmp_path, band):
    done = vergence("pool", aligned[0], "--data", aligned[1], "--out", tmp_path / "p", f"--keep={band}", check=False)
    assert done.returncode == 2
    assert "LOW:HIGH" in done.stderr


WARM = """type = "grpo"
steps = 3
prompts_per_step = 8
minibatch_size = 32
checkpoint_every = 1
reward.preset = "rules"
buffer = {{warm = "{warm}", effective_on = "accuracy"}}
evaluation = {{every = 9, problems = 8, blank_problems = 0}}
monitor = {{every = 9, completions = 4}}
"""


def reinforced(folder: Path, small: Path, warm: Path | str, *, check: bool = True, kill=("", 0)):
    folder.mkdir(exist_ok=True)
    recipe = recipe_with(folder, small, WARM.format(warm=warm))
    return vergence("run", recipe, "--out", folder / "run", "--quiet", check=check and not kill[0], kill=kill)


def test_a_warm_buffer_fills_the_first_batch_and_a_resumed_stage_ends_alike(pool, small_run, tmp_path):
    warm = pool[0].with_name("warm")
    reinforced(tmp_path / "whole", small_run, warm)
    lines = [row for row in rows(tmp_path / "whole" / "run" / "metrics.jsonl") if row["stage"] == "grpo"]
    assert lines[0]["buffer/replay_share"] > 0
    assert lines[0]["buffer/age_max"] == 0.0, "drawn by the policy that the stage begins with"
    assert lines[0]["loss/ratio_mean_replay"] == pytest.approx(1.0, abs=0.05)
    assert lines[0]["buffer/weight_mean"] == pytest.approx(1.0, abs=1e-3), "the same policy, so no correction"
    assert lines[0]["effective/batch"] == pytest.approx(1.0)
    assert reinforced(tmp_path / "killed", small_run, warm, kill=("line", 2)).returncode == -9
    reinforced(tmp_path / "killed", small_run, warm)
    weights = Path("run") / "final" / "model.safetensors"
    assert (tmp_path / "whole" / weights).read_bytes() == (tmp_path / "killed" / weights).read_bytes()


def test_a_warm_buffer_of_another_policy_is_refused(pool, small_run, tmp_path):
    recipe = recipe_with(
        tmp_path,
        small_run,
        WARM.format(warm=pool[0].with_name("warm")),
        policy=small_run / "checkpoints" / "mpo" / "policy",
    )
    done = vergence("run", recipe, "--out", tmp_path / "run", check=False)
    assert done.returncode == 2
    assert "sampled by another model" in done.stderr


def test_a_warm_buffer_that_is_none_is_refused_before_the_run_begins(small_run, tmp_path):
    (tmp_path / "warm").write_text(json.dumps({"hello": 1}))
    done = reinforced(tmp_path, small_run, tmp_path / "warm", check=False)
    assert done.returncode == 2
    assert "cannot be read as a warm buffer" in done.stderr
    assert not (tmp_path / "run").exists()
