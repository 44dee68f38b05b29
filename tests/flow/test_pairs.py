"""Preference pairs from end to end: blind continuations, the command, its file in stage mpo, and early stopping."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from flow.conftest import rows, vergence
from flow.test_forward import CPU, plain_logprobs, world  # noqa: F401 - the fixture
from vergence.clock import Clock
from vergence.model.policy import load_policy, preprocess
from vergence.model.vision import CachedTower, grey_view
from vergence.pairs.rules import is_good, rules_only
from vergence.reward.hybrid import RULES, RuleReward
from vergence.reward.rules import AsWritten
from vergence.rollout.local import LocalGenerator
from vergence.stages.mpo.blind import anything, blind_continuations, is_wrong, unmeasured
from vergence.stages.mpo.offline import file_pairs
from vergence.types import Grade, Sampling, ScoredGroup, Verdict

SAMPLING = Sampling(num_completions=3, max_new_tokens=16, temperature=1.0)
MAX_NEW = ("--max-new-tokens", "32")


def grey_logprobs(policy, prompt, completion) -> torch.Tensor:
    """As `plain_logprobs`, in front of a grey picture."""
    pixels = preprocess(policy, prompt.problem.images).values
    grey = torch.stack([grey_view(one, prompt.problem.images[0]) for one in pixels])
    ids = torch.from_numpy(np.concatenate([prompt.token_ids, completion.token_ids]))[None]
    logits = policy.model(input_ids=ids, pixel_values=grey).logits[0].float()
    logits[:, policy.image_token_id] = float("-inf")
    steps = torch.arange(len(prompt.token_ids) - 1, ids.shape[1] - 1)
    return logits.log_softmax(-1)[steps, ids[0, 1:][steps]]


def all_good(groups) -> list[ScoredGroup]:
    ones = np.ones(SAMPLING.num_completions)
    return [ScoredGroup(group, {"accuracy": ones, "format": ones}, {}, ones, ones) for group in groups]


@pytest.fixture(scope="module")
def continued(world):  # noqa: F811
    """Eight groups of a random model, and two blind continuations for each."""
    policy, problems = world
    tower = CachedTower(policy)
    groups = all_good(LocalGenerator(policy, tower).generate(problems, SAMPLING, seed=3, version=5))
    complete = blind_continuations(
        policy,
        sampling=SAMPLING,
        good=is_good,
        worse=anything,
        count=2,
        reward=RuleReward(RULES, AsWritten()),
        margins=unmeasured,
        clock=Clock(),
    )
    return policy, groups, complete, complete(groups, 11, 5)


def test_a_rejected_response_begins_with_the_first_half_of_the_chosen_one_and_goes_on_otherwise(continued):
    _, groups, _, result = continued
    different = 0
    for group, pairs in zip(groups, result.pairs, strict=True):
        assert len(pairs) == 2
        assert len({id(pair.chosen) for pair in pairs}) == 2, "two different responses of the prompt"
        for pair in pairs:
            half = len(pair.chosen.token_ids) // 2
            assert any(pair.chosen is one for one in group.group.completions)
            assert pair.prompt is group.group.prompt
            assert pair.chosen.token_ids[:half].tolist() == pair.rejected.token_ids[:half].tolist()
            assert half < len(pair.rejected.token_ids) <= SAMPLING.max_new_tokens
            assert (pair.source, pair.margin, pair.rejected.policy_version) == ("dropout", math.inf, 5)
            different += pair.chosen.token_ids.tolist() != pair.rejected.token_ids.tolist()
    assert different >= 14, "of 16"


def test_the_continuation_was_drawn_by_a_policy_that_sees_grey(continued):
    """What sampling recorded for the new tokens: the log-probs in front of a grey picture, not of the real one."""
    policy, _, _, result = continued
    far = 0
    for written in result.generated:
        (more,) = written.completions
        with torch.no_grad():
            expected = grey_logprobs(policy, written.prompt, more)
            seen = plain_logprobs(policy, written.prompt, more)
        np.testing.assert_allclose(more.sampler_logprobs, expected, atol=1e-4)
        far += float((seen - expected).abs().max()) > 1e-2
    assert far > len(result.generated) / 2


def test_the_same_seed_continues_alike_and_another_one_otherwise(continued):
    _, groups, complete, result = continued

    def tokens(one) -> list[list[int]]:
        return [pair.rejected.token_ids.tolist() for pairs in one.pairs for pair in pairs]

    assert tokens(result) == tokens(complete(groups, 11, 5))
    assert tokens(result) != tokens(complete(groups, 12, 5))


class InTurn:
    """Says right, failed, wrong, right, ... whatever it is asked."""

    def grade(self, responses) -> list[Grade]:
        verdicts = (Verdict.CORRECT, Verdict.FAILED, Verdict.WRONG)
        return [Grade(verdicts[place % 3], None, "in turn") for place, _ in enumerate(responses)]


def test_a_continuation_that_guesses_right_or_cannot_be_judged_is_no_candidate(world, continued):  # noqa: F811
    """Of sixteen, in the order in which they were written, every third is wrong; all of them cost work."""
    policy, groups, _, every = continued
    complete = blind_continuations(
        policy,
        sampling=SAMPLING,
        good=is_good,
        worse=is_wrong,
        count=2,
        reward=RuleReward(RULES, InTurn()),
        margins=unmeasured,
        clock=Clock(),
    )
    result = complete(groups, 11, 5)
    # written turn by turn: the first continuation of each prompt, then the second
    written = [every.pairs[place][turn].rejected.text for turn in (0, 1) for place in range(8)]
    assert written[2::3] == [
        pair.rejected.text
        for turn in (0, 1)
        for place in range(8)
        for pair in result.pairs[place]
        if at(every, pair) == turn
    ]
    assert len(every.generated) == len(result.generated) == 16


def at(every, pair) -> int:
    """The turn in which a pair's continuation was written."""
    return next(
        turn for pairs in every.pairs for turn, one in enumerate(pairs) if one.rejected.text == pair.rejected.text
    )


def test_two_continuations_of_one_prompt_use_different_random_numbers(world):  # noqa: F811
    """The same response twice in a group: with equal numbers both continuations would be equal."""
    policy, problems = world
    tower = CachedTower(policy)
    (group,) = LocalGenerator(policy, tower).generate(problems[:1], SAMPLING, seed=3, version=0)
    twice = type(group)(group.prompt, (group.completions[0],) * 2)
    ones = np.ones(2)
    scored = [ScoredGroup(twice, {"accuracy": ones, "format": ones}, {}, ones, ones)]
    assert [math.inf] * 2 == rules_only(scored[0]).tolist()
    complete = blind_continuations(
        policy,
        sampling=SAMPLING,
        good=is_good,
        worse=anything,
        count=2,
        reward=RuleReward(RULES, AsWritten()),
        margins=unmeasured,
        clock=Clock(),
    )
    found = {tuple(complete(scored, seed, 0).pairs[0][turn].rejected.token_ids) for seed in range(3) for turn in (0, 1)}
    assert len(found) > 3


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def aligned(small_run) -> tuple[Path, Path, Path]:
    """A policy that is sometimes right, its data, and a reward model."""
    checkpoints = small_run / "checkpoints"
    return checkpoints / "align" / "policy", small_run / "data" / "tuning.jsonl", checkpoints / "reward_model"


def made(aligned, out: Path, *more: str | Path, data: Path | None = None) -> str:
    policy, tuning, _ = aligned
    return vergence("pairs", policy, "--data", data or tuning, "--out", out, "--samples", "6", *MAX_NEW, *more).stdout


@pytest.fixture(scope="module")
def all_sources(aligned, tmp_path_factory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    model = aligned[2] / "reward_model"
    return out, made(aligned, out, "--sources", "rules,margin,dropout", "--reward-model", model, "--tau", "0.2")


def test_pairs_of_all_sources_keep_what_their_sources_promise(all_sources, aligned):
    out, shown = all_sources
    data = {row["id"]: row for row in rows(aligned[1])}
    pairs = rows(out)
    assert {row["source"] for row in pairs} >= {"correctness", "margin", "dropout"}
    for row in pairs:
        right = f"<answer>{data[row['id']]['answer']}</answer>"
        assert right in row["chosen"], "chosen is right"
        assert row["margin"] >= 0.2
        assert row["question"] == data[row["id"]]["question"]
        assert (out.parent / row["images"][0]).is_file()
        match row["source"]:
            case "correctness":
                assert right not in row["rejected"]
            case "margin":
                assert right in row["rejected"]
            case "dropout":
                assert right not in row["rejected"]
                half = len(row["chosen_tokens"]) // 2
                assert row["chosen_tokens"][:half] == row["rejected_tokens"][:half]
    figures = json.loads((out.parent / "pairs.jsonl.stats.json").read_text())
    table = figures["candidates"]
    assert len(pairs) == figures["pairs"] == table["all"]["kept"] - figures["same_text"]
    for counts in table.values():
        assert counts["candidates"] == sum(count for fate, count in counts.items() if fate != "candidates")
    assert figures["problems_with_pairs"] == len({row["id"] for row in pairs})
    assert figures["margins"]["least"] == min(row["margin"] for row in pairs)
    assert f"{figures['problems_with_pairs']} of 96 problems have pairs" in shown


def test_another_threshold_uses_the_same_samples_and_a_quantile_is_one(all_sources, aligned, tmp_path):
    """With quantile 0.5 half of the candidates that reach the margin guard are refused by it."""
    out, _ = all_sources
    for path in out.parent.glob("pairs.jsonl*"):
        shutil.copy(path, tmp_path)
    before = (tmp_path / "pairs.jsonl.samples").read_bytes()
    options = ["--sources", "rules,margin,dropout", "--reward-model", aligned[2] / "reward_model"]
    made(aligned, tmp_path / "pairs.jsonl", *options, "--tau", "0.5", "--unit", "quantile", "--max-per-prompt", "99")
    assert before == (tmp_path / "pairs.jsonl.samples").read_bytes()
    figures = json.loads((tmp_path / "pairs.jsonl.stats.json").read_text())
    counts = figures["candidates"]["all"]
    reached = counts["candidates"] - counts["entailment"] - counts["length"]
    assert counts["margin"] == pytest.approx(reached / 2, abs=2)
    pairs = rows(tmp_path / "pairs.jsonl")
    assert min(row["margin"] for row in pairs) >= figures["threshold"]
    assert len(pairs) == pytest.approx(reached / 2, abs=2 + figures["same_text"])


def test_raw_units_are_calibrated_ones_times_the_spread(all_sources, aligned, tmp_path):
    out, _ = all_sources
    shutil.copy(out.parent / "pairs.jsonl.samples", tmp_path)
    options = ["--sources", "rules,margin,dropout", "--reward-model", aligned[2] / "reward_model"]
    spread = json.loads((aligned[2] / "reward_model" / "reward.json").read_text())["calibration"]["spread"]
    made(aligned, tmp_path / "pairs.jsonl", *options, "--tau", str(0.2 * spread), "--unit", "raw")
    ours, theirs = rows(tmp_path / "pairs.jsonl"), rows(out)
    assert [row["chosen"] for row in ours] == [row["chosen"] for row in theirs]
    np.testing.assert_allclose([row["margin"] for row in ours], [row["margin"] * spread for row in theirs], rtol=1e-9)


def some_of(data: Path, count: int, folder: Path) -> Path:
    """The first rows of a data file, as a file of its own elsewhere."""
    path = folder / "some.jsonl"
    some = [row | {"images": [str(data.parent / image) for image in row["images"]]} for row in rows(data)[:count]]
    path.write_text("".join(json.dumps(row) + "\n" for row in some))
    return path


def killed_when_begun(command: list[str], samples: Path, lines: int) -> None:
    """The real command, killed as soon as so many lines of samples are on the disk."""
    process = subprocess.Popen([sys.executable, "-m", "vergence", *command], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        if samples.exists() and samples.read_bytes().count(b"\n") >= lines:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    assert process.wait() == -signal.SIGKILL, "it was over before it could be killed"


@pytest.mark.slow
def test_killed_and_continued_the_file_is_the_same_and_nothing_is_half_written(aligned, small_run, tmp_path):
    train = some_of(small_run / "data" / "train.jsonl", 160, tmp_path)
    whole, broken = tmp_path / "whole" / "pairs.jsonl", tmp_path / "broken" / "pairs.jsonl"
    for out in (whole, broken):
        out.parent.mkdir()
    options = ["--sources", "rules,dropout"]
    made(aligned, whole, *options, data=train)
    command = ["pairs", aligned[0], "--data", train, "--out", broken, "--samples", "6", *MAX_NEW, *options]
    killed_when_begun([*map(str, command)], broken.with_name("pairs.jsonl.samples"), 1 + 64)
    assert not broken.exists()
    with broken.with_name("pairs.jsonl.samples").open("a") as file:
        file.write('{"id": "torn')
    made(aligned, broken, *options, data=train)
    for name in ("pairs.jsonl", "pairs.jsonl.samples", "pairs.jsonl.stats.json"):
        assert whole.with_name(name).read_bytes() == broken.with_name(name).read_bytes(), name
    assert sorted(os.listdir(whole.parent)) == sorted(os.listdir(broken.parent))


def test_samples_of_other_settings_are_refused(all_sources, aligned):
    out, _ = all_sources
    policy, data, _ = aligned
    before = out.read_bytes()
    done = vergence("pairs", policy, "--data", data, "--out", out, "--samples", "5", *MAX_NEW, check=False)
    assert done.returncode == 2
    assert "samples = 6 there, 5 here" in done.stderr
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--sources", "rules,guesses"], "sources"),
        (["--sources", "margin"], "--reward-model"),
        (["--tau", "0.5", "--unit", "quantile"], "--reward-model"),
        (["--ungraded"], "needs right answers"),
        (["--samples", "1"], "at least 2"),
        (["--temperature", "0"], "above 0"),
    ],
)
def test_wrong_options_are_refused_in_one_line_and_leave_nothing(aligned, tmp_path, options, said):
    policy, data, _ = aligned
    done = vergence("pairs", policy, "--data", data, "--out", tmp_path / "p.jsonl", *options, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


# ── the file in stage mpo, and early stopping ────────────────────────────────────────────────────────────────────


def recipe_with(folder: Path, small: Path, stage: str, *, policy: Path | None = None) -> Path:
    """A recipe that loads a policy and runs one stage over the small run's data."""
    data = small / "data"
    path = folder / "recipe.toml"
    path.write_text(
        'name = "small"\n[data]\ntype = "files"\n'
        + "".join(f'{name} = "{data / name}.jsonl"\n' for name in ("train", "tuning", "test"))
        + f'[[stage]]\ntype = "load"\npath = "{policy or small / "checkpoints" / "align" / "policy"}"\n'
        + f"[[stage]]\n{stage}\n"
    )
    return path


OFFLINE = """type = "mpo"
rounds = 1
steps_per_round = {steps}
max_passes = 99
batch_size = 8
checkpoint_every = 3
pairs.file = "{pairs}"
evaluation = {{every = 2, problems = 32, blank_problems = 0}}
early_stopping.patience = {patience}
"""


def trained(folder: Path, small: Path, pairs: Path, *, steps: int, patience: int, kill=("", 0)) -> Path:
    folder.mkdir(exist_ok=True)
    recipe = recipe_with(folder, small, OFFLINE.format(pairs=pairs, steps=steps, patience=patience))
    done = vergence("run", recipe, "--out", folder / "run", "--quiet", check=not kill[0], kill=kill)
    assert done.returncode == (-9 if kill[0] else 0)
    return folder / "run"


def test_a_file_of_pairs_trains_the_best_policy_is_saved_and_a_killed_stage_ends_alike(
    all_sources, small_run, tmp_path
):
    pairs, _ = all_sources
    run = trained(tmp_path / "whole", small_run, pairs, steps=40, patience=2)
    lines = [row for row in rows(run / "metrics.jsonl") if row["stage"] == "mpo"]
    assert lines[0]["mpo/preference_loss"] == pytest.approx(math.log(2), abs=1e-4), "the reference is the first policy"
    assert lines[0]["pairs/kept"] == len(rows(pairs))
    assert lines[-1]["spent/tokens"] == 0.0
    measured = [(row["tuning/sampled_accuracy"], -row["step"]) for row in lines if "tuning/sampled_accuracy" in row]
    accuracy, best = max(measured)
    best = -best
    assert len(lines) < 40, "it stopped early"
    assert len(measured) == 2 + 1 + [-step for _, step in measured].index(best), "two measurements after the best one"
    done = json.loads((run / "checkpoints" / "mpo" / "done.json").read_text())
    assert done["details"]["best_step"] == best == lines[-1]["mpo/best_step"]
    assert done["row"]["sampled_accuracy"] == accuracy
    assert done["details"]["pairs"]["all"]["kept"] == len(rows(pairs))

    # exactly the policy of a stage that ends where the best one was measured
    short = trained(tmp_path / "short", small_run, pairs, steps=best + 1, patience=0)
    weights = Path("final") / "model.safetensors"
    assert (run / weights).read_bytes() == (short / weights).read_bytes()

    for kill in (("line", 3), ("torn-state", 2)):
        trained(tmp_path / "killed", small_run, pairs, steps=40, patience=2, kill=kill)
    again = trained(tmp_path / "killed", small_run, pairs, steps=40, patience=2)
    assert (run / weights).read_bytes() == (again / weights).read_bytes()
    assert done["details"] == json.loads((again / "checkpoints" / "mpo" / "done.json").read_text())["details"]


def test_tokens_of_the_file_are_used_where_they_fit_and_texts_where_they_do_not(all_sources, aligned, tmp_path):
    out, _ = all_sources
    policy = load_policy(aligned[0], CPU)
    pairs = file_pairs(out, policy, 10**6, seed=0)
    read = rows(out)
    assert [row["chosen_tokens"] for row in read] == [pair.chosen.token_ids.tolist() for pair in pairs]
    assert len({id(pair.prompt) for pair in pairs}) == len({row["id"] for row in read}), "one prompt for each problem"

    here = [row | {"images": [str((out.parent / row["images"][0]).resolve())]} for row in read[:2]]
    other = [row | {"chosen_tokens": [7, 7], "rejected_tokens": [10**6]} for row in here]
    (tmp_path / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in other))
    for pair, row in zip(file_pairs(tmp_path / "other.jsonl", policy, 10**6, seed=0), here, strict=True):
        assert pair.chosen.text == row["chosen"]
        assert pair.chosen.token_ids.tolist() == row["chosen_tokens"], "cut anew, it ends by itself"


def test_a_wrong_line_of_a_file_of_pairs_stops_the_run_before_it_begins(all_sources, small_run, tmp_path):
    out, _ = all_sources
    row = rows(out)[0] | {"images": [str((out.parent / rows(out)[0]["images"][0]).resolve())]}
    for change, said in (
        ({"chosen": ""}, '"chosen"'),
        ({"margin": "big"}, '"margin"'),
        ({"chosen_tokens": 3}, "chosen"),
    ):
        (tmp_path / "pairs.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row | change) + "\n")
        stage = OFFLINE.format(pairs=tmp_path / "pairs.jsonl", steps=2, patience=0)
        done = vergence("run", recipe_with(tmp_path, small_run, stage), "--out", tmp_path / "run", check=False)
        assert done.returncode == 2
        assert "line 2" in done.stderr
        assert said in done.stderr
        assert not (tmp_path / "run").exists()


SAMPLED = """type = "load_reward_model"
path = "{reward_model}"
prompts = 0
[[stage]]
type = "mpo"
rounds = 2
prompts_per_round = 32
steps_per_round = 3
batch_size = 8
checkpoint_every = 2
pairs = {{sources = ["rules", "margin", "dropout"], margin_unit = "quantile", min_margin = 0.3, dropout = 2}}
sampling = {{num_completions = 6, temperature = 0.9}}
evaluation = {{every = 9, problems = 16, blank_problems = 0}}
monitor = {{every = 9, completions = 4}}
"""


@pytest.mark.slow
def test_rounds_of_all_sources_measure_their_thresholds_and_a_killed_stage_ends_alike(aligned, small_run, tmp_path):
    stage = SAMPLED.format(reward_model=aligned[2] / "reward_model")
    recipe = recipe_with(tmp_path, small_run, stage)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    vergence("run", recipe, "--out", whole, "--quiet")
    first, second = [row for row in rows(whole / "metrics.jsonl") if "pairs/kept" in row]
    assert first["pairs/threshold"] != second["pairs/threshold"]
    for row in (first, second):
        assert row["pairs/candidates"] == row["pairs/kept"] + sum(
            row[f"pairs/refused_{guard}"] for guard in ("entailment", "length", "margin", "per_prompt")
        )
        assert row["pairs/kept_dropout"] > 0
        assert 0.9 < row["work/needed_share"] <= 1.0, "continuations and their log-probs are counted as work"
        reached = row["pairs/candidates"] - row["pairs/refused_entailment"] - row["pairs/refused_length"]
        assert row["pairs/refused_margin"] == pytest.approx(0.3 * reached, abs=2)

    for kill in (("line", 2), ("torn-state", 1), ("line", 2)):
        done = vergence("run", recipe, "--out", broken, "--quiet", check=False, kill=kill)
        assert done.returncode == -9, done.stderr
    vergence("run", recipe, "--out", broken, "--quiet")
    weights = Path("final") / "model.safetensors"
    assert (whole / weights).read_bytes() == (broken / weights).read_bytes()
    details = [
        json.loads((run / "checkpoints" / "mpo" / "done.json").read_text())["details"] for run in (whole, broken)
    ]
    assert details[0] == details[1]
