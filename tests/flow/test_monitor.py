"""The monitor in the real loop: it changes nothing by looking, alarms lead to actions, and all of it survives a kill.

Each run takes its policy and its reward model from the small run and makes a few steps of `grpo` on its data.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from flow.conftest import rows
from flow.test_kill import OF_THE_PROCESS, assert_equal, last_snapshot
from vergence.recipe.load import load_recipe
from vergence.reward.hybrid import RULES, RuleReward
from vergence.reward.rules import AsWritten
from vergence.run.progress import Progress, Verbosity
from vergence.run.stage_run import StageRun
from vergence.stages.grpo import reward as reward_of_grpo
from vergence.stages.run_recipe import run_recipe
from vergence.types import Doubles, RolloutGroup

RECIPE = """
name = "watched"
[data]
type = "files"
train = "{data}/train.jsonl"
tuning = "{data}/tuning.jsonl"
test = "{data}/tuning.jsonl"
[[stage]]
type = "load"
path = "{run}/checkpoints/mpo/policy"
[[stage]]
type = "load_reward_model"
path = "{run}/checkpoints/reward_model/reward_model"
prompts = 0
[[stage]]
type = "grpo"
steps = {steps}
prompts_per_step = 8
minibatch_size = 32
checkpoint_every = 2
[stage.buffer]
capacity = 512
[stage.evaluation]
every = 3
problems = 24
blank_problems = 12
[stage.monitor]
{monitor}
[[stage]]
type = "evaluate"
samples = 1
"""
EVERYTHING = """
monitors = ["perception", "gain", "swap", "blindness", "consistency", "divergence", "repetition", "probe"]
dependence = "learnt"
every = 2
learn = 2
window = 3
problems = 6
completions = 12
slow_every = 2
slow_decay = 0.5
"""


def spent_rule(actions: str, limit: float) -> str:
    """A rule whose alarm comes in the first step that exceeds so many generated tokens: a fault at a known time."""
    keys = {"signal": '"spent/tokens"', "learn": 0, "high": limit, "patience": 1, "actions": actions}
    return "[[stage.monitor.rule]]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


def some_data(small_run: Path, folder: Path) -> Path:
    """A few of the small run's problems, with their pictures where they lie."""
    data = folder / "data"
    if not data.exists():
        data.mkdir()
        for name, count in (("train", 48), ("tuning", 24)):
            some = rows(small_run / "data" / f"{name}.jsonl")[:count]
            paths = [{"images": [str(small_run / "data" / path) for path in row["images"]]} for row in some]
            text = "".join(json.dumps(row | path) + "\n" for row, path in zip(some, paths, strict=True))
            (data / f"{name}.jsonl").write_text(text)
    return data


def run(
    small_run: Path, out: Path, monitor: str, *settings: str, steps: int = 5, stop_after: str | None = "grpo"
) -> Path:
    """A run with this monitor section, up to stage grpo unless more is asked; a directory that has one goes on."""
    out.mkdir(parents=True, exist_ok=True)
    recipe, data = out / "recipe.toml", some_data(small_run, out.parent)
    recipe.write_text(RECIPE.format(run=small_run, data=data, steps=steps, monitor=monitor))
    run_recipe(
        load_recipe(str(recipe), settings), out / "run", Progress(Console(), Verbosity.QUIET), stop_after=stop_after
    )
    return out / "run"


def weights(directory: Path) -> bytes:
    return (directory / "checkpoints" / "grpo" / "policy" / "model.safetensors").read_bytes()


def lines(directory: Path) -> list[dict[str, Any]]:
    """Of stage grpo, without times."""
    return [
        {key: value for key, value in row.items() if not key.startswith(OF_THE_PROCESS)}
        for row in rows(directory / "metrics.jsonl")
        if row["stage"] == "grpo"
    ]


def noted(directory: Path, kind: str) -> list[dict[str, Any]]:
    """Lines of alarms/grpo.jsonl of one kind."""
    path = directory / "alarms" / "grpo.jsonl"
    return [row for row in rows(path) if row["kind"] == kind] if path.exists() else []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("watched")


@pytest.fixture(scope="module")
def unwatched(small_run: Path, folder: Path) -> Path:
    return run(small_run, folder / "off", 'mode = "off"')


@pytest.fixture(scope="module")
def observed(small_run: Path, folder: Path) -> Path:
    return run(small_run, folder / "observe", EVERYTHING)


# ── looking changes nothing ──────────────────────────────────────────────────────────────────────────────────────


def test_observing_changes_no_weight_and_no_other_figure(unwatched: Path, observed: Path) -> None:
    """Every monitor is on, a slow copy follows, bands are learnt: the training is that of mode off, to the bit."""
    assert weights(unwatched) == weights(observed)
    for bare, full in zip(lines(unwatched), lines(observed), strict=True):
        assert bare == {name: full[name] for name in bare}
    snapshots = [last_snapshot(one, "grpo")["parts"] for one in (unwatched, observed)]
    for name in ("learner", "selection"):
        assert_equal(snapshots[0][name], snapshots[1][name], name)


def test_mode_off_measures_the_tuning_split_alone(unwatched: Path) -> None:
    logged = {name for row in lines(unwatched) for name in row}
    assert {"tuning/greedy_accuracy", "perception/blank_gap"} <= logged
    assert not any(name.startswith(("monitor/", "probe/", "consistency/", "divergence/")) for name in logged)
    assert "perception/kl" not in logged
    assert not (unwatched / "alarms").exists()


def test_acting_without_an_alarm_changes_nothing(small_run: Path, folder: Path, unwatched: Path) -> None:
    """Copies of the good state are taken in every step, and the reference for a KL penalty is there."""
    quiet = 'mode = "act"\nevery = 1\n' + spent_rule('["raise_kl", "roll_back"]', math.inf).replace(
        "high = inf", "high = 1e12"
    )
    acting = run(small_run, folder / "quiet", quiet)
    assert weights(unwatched) == weights(acting)
    assert [] == noted(acting, "action")
    assert {1.0} == {row["dials/preference"] for row in lines(acting)}


def test_everything_that_was_asked_for_is_measured_when_it_is_due(observed: Path) -> None:
    logged = lines(observed)
    every_step = {"divergence/length", "rollout/repetition", "rollout/looping", "hallucination/blindness"}
    second = {
        "perception/kl",
        "perception/dependent_share",
        "perception/entropy_gap",
        "perception/gain",
        "perception/gain_share",
        "perception/flip_rate",
        "consistency/answer",
    }
    held_out = {"probe/accuracy", "probe/precision", "probe/recall", "probe/f1", "probe/yes_ratio"}
    for step, row in enumerate(logged):
        assert every_step <= row.keys()
        assert (second <= row.keys()) is (step % 2 == 0)
        assert ("divergence/parting" in row) is (step >= 2)
        assert (held_out <= row.keys()) is (step in (2, 4))
    assert logged[0]["perception/dependent_share"] == pytest.approx(0.4, abs=0.02), "tau is learnt there"


def test_each_monitor_has_its_seconds(observed: Path) -> None:
    timed = [row for row in rows(observed / "metrics.jsonl") if row["stage"] == "grpo"]
    names = ("perception", "gain", "swap", "blindness", "consistency", "divergence", "repetition")
    assert all(timed[0][f"seconds/monitor_{name}"] > 0 for name in names)
    assert timed[2]["seconds/monitor_probe"] > 0
    assert "seconds/monitor_perception" not in timed[1]


def test_bands_are_noted_when_they_are_known(observed: Path) -> None:
    bands = {row["signal"]: row for row in noted(observed, "band")}
    assert 1 == bands["rollout/length_mean"]["step"]  # two readings, one in each step
    assert 2 == bands["perception/kl"]["step"]  # two readings, one in every second step
    values = [row["perception/kl"] for row in lines(observed)[:3:2]]
    half = max(4 * float(np.std(values, ddof=1)), 0.05, 0.5 * float(np.mean(values)))
    assert pytest.approx(np.mean(values) + half) == bands["perception/kl"]["high"]


# ── alarms lead to actions ───────────────────────────────────────────────────────────────────────────────────────


def unrelated(group: RolloutGroup) -> Doubles:
    """[G] small scores that share nothing with length or rules: what least squares by both leaves of fixed numbers.

    The partial correlation with length is 0 but for rounding, whatever the policy answers on this machine.
    """
    (scored,) = RuleReward(RULES, AsWritten())([group])
    lengths = [float(len(one.token_ids)) for one in group.completions]
    known = np.column_stack([np.ones(len(lengths)), lengths, *scored.components.values()])
    values = np.sin(np.arange(len(lengths)) ** 2 + 1.0)
    return 0.01 * (values - known @ np.linalg.lstsq(known, values)[0])


class Lengthy:
    """A reward model that likes length and next to nothing else, from its fifth call on; until then it is unrelated."""

    def __init__(self) -> None:
        self._calls = 0

    def scores(self, groups: Sequence[RolloutGroup]) -> list[Doubles]:
        self._calls += 1
        likes = float(self._calls > 4)
        return [
            unrelated(group) + likes * np.array([len(one.token_ids) for one in group.completions]) for group in groups
        ]

    def uncalibrated(self) -> "Lengthy":
        return self

    def state_dict(self) -> dict[str, Any]:
        return {"calls": self._calls}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._calls = state["calls"]


def test_a_preference_that_pays_length_raises_an_alarm_and_loses_its_weight(
    small_run: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted reward model likes length from step 4 on; two readings later its weight is a half, then a quarter.

    The cap holds its scores to what they were at the start, so it has nothing to say from then on.
    """
    monkeypatch.setattr(reward_of_grpo, "stage_scorer", lambda context, models: Lengthy())
    monitor = """
mode = "act"
monitors = ["divergence"]
every = 1
learn = 4
[[stage.monitor.rule]]
signal = "divergence/length"
side = "high"
absolute = 0.3
actions = ["halve_preference", ["halve_preference", "cap"]]
"""
    settings = ['stage.grpo.reward={preference = 1.0, bound = "none", gate = "none"}']
    done = run(small_run, folder / "length", monitor, *settings, steps=9)
    alarms = noted(done, "alarm")
    assert [5, 7] == [row["step"] for row in alarms]
    readings = [row["divergence/length"] for row in lines(done)]
    assert all(abs(value) < 0.01 for value in readings[:4]), "unrelated at first"
    assert all(value > 0.9 for value in readings[4:8]), "then it likes nothing else"
    assert {("divergence/length", "high")} == {(row["signal"], row["side"]) for row in alarms}
    actions = [(row["step"], row["action"], row["result"]) for row in noted(done, "action")]
    assert [
        (5, "halve_preference", "preference 1 -> 0.5"),
        (7, "halve_preference", "preference 0.5 -> 0.25"),
    ] == actions[:2]
    assert "cap" == actions[2][1]
    assert all("divergence/length" in row["cause"] for row in noted(done, "action"))
    logged = lines(done)
    assert [1.0] * 6 + [0.5] * 2 + [0.25] == [row["dials/preference"] for row in logged]
    # what the reward is made of: rules + factor x length, and in the last step next to nothing but rules
    for row, factor in zip(logged[:8], [1.0] * 6 + [0.5] * 2, strict=True):
        rules = row["reward/accuracy"] + 0.5 * row["reward/format"]
        assert pytest.approx(factor * row["reward/preference"], abs=1e-6) == row["reward/total"] - rules
    last = logged[8]
    assert last["reward/preference"] > 5, "the monitors still see what it says"
    assert last["reward/total"] - last["reward/accuracy"] - 0.5 * last["reward/format"] < 0.05


def tokens_of(directory: Path) -> list[float]:
    return [row["spent/tokens"] for row in lines(directory)]


def test_a_roll_back_hands_on_the_weights_of_the_good_step_to_the_bit(
    small_run: Path, folder: Path, unwatched: Path
) -> None:
    """The alarm comes in the last of five steps; states are considered before steps 0, 2 and 4, and 4 is the bad one.

    So the stage must hand on exactly what a stage of two steps hands on, with its figures on the tuning split.
    """
    limit = sum(tokens_of(unwatched)[3:5]) / 2  # between steps 3 and 4
    monitor = 'mode = "act"\nmonitors = []\nevery = 2\n' + spent_rule('["roll_back"]', limit)
    rolled = run(small_run, folder / "rolled", monitor, stop_after=None)
    (action,) = noted(rolled, "action")
    assert (4, "roll_back", True, "to the weights before step 2") == (
        action["step"],
        action["action"],
        action["done"],
        action["result"],
    )
    two = run(small_run, folder / "two", 'mode = "off"', steps=2, stop_after=None)
    assert weights(two) == weights(rolled) != weights(unwatched)
    for name in ("tuning/greedy_accuracy", "tuning/sampled_accuracy", "tuning/hallucination_rate"):
        assert lines(two)[-1][name] == lines(rolled)[-1][name]
    summaries = [json.loads((one / "summary.json").read_text())["details"]["evaluate"] for one in (two, rolled)]
    assert summaries[0]["test"] == summaries[1]["test"]


def test_a_roll_back_takes_the_optimizer_and_the_buffer_with_it(small_run: Path, folder: Path, unwatched: Path) -> None:
    """Outside in steps 1 and 2, so step 2 is not a good one either: back to what the updates of step 0 began with.

    The buffer then holds what the policy of step 0 had sampled, as it does at the end of a stage of one step.
    """
    limit = sum(tokens_of(unwatched)[:2]) / 2  # between steps 0 and 1
    rule = spent_rule('["roll_back"]', limit).replace("patience = 1", "patience = 2")
    after = run(small_run, folder / "after", 'mode = "act"\nmonitors = []\nevery = 2\n' + rule, steps=3)
    one = run(small_run, folder / "one", 'mode = "off"', steps=1)
    (action,) = noted(after, "action")
    assert (2, "to the weights before step 0") == (action["step"], action["result"])
    state, first, whole = (last_snapshot(each, "grpo")["parts"] for each in (after, one, unwatched))
    assert whole["learner"]["updates"] > 0 == state["learner"]["updates"]
    assert len(whole["learner"]["moments"]) > 0 == len(state["learner"]["moments"])
    assert_equal(first["selection"], state["selection"], "selection")
    assert lines(after)[-1]["buffer/size"] > len(state["selection"]["uses"]), "there had come more since"


def test_stop_ends_the_stage_and_the_run_goes_on(small_run: Path, folder: Path, unwatched: Path) -> None:
    limit = sum(tokens_of(unwatched)[:2]) / 2  # between steps 0 and 1
    stopped = run(small_run, folder / "stopped", 'mode = "act"\n' + spent_rule('["stop"]', limit), stop_after=None)
    assert 2 == len(lines(stopped))
    assert "tuning/greedy_accuracy" in lines(stopped)[-1], "the last step is always measured"
    summary = json.loads((stopped / "summary.json").read_text())
    assert summary["complete"]
    assert summary["stages"]["grpo"]["greedy_accuracy"] is not None
    assert ["stop"] == [row["action"] for row in noted(stopped, "action")]
    assert (stopped / "final").is_dir()


def test_a_raised_kl_is_felt_in_the_next_step(small_run: Path, folder: Path, unwatched: Path) -> None:
    limit = sum(tokens_of(unwatched)[:2]) / 2
    raised = run(
        small_run,
        folder / "raised",
        'mode = "act"\n[stage.monitor.control]\nraise_kl_by = 5.0\n' + spent_rule('["raise_kl"]', limit),
    )
    assert [0.0, 0.0, 5.0, 10.0, 15.0] == [row["dials/kl"] for row in lines(raised)]
    same, other = lines(unwatched), lines(raised)
    assert [row["loss"] for row in same[:2]] == [row["loss"] for row in other[:2]]
    assert same[2]["loss"] != other[2]["loss"]
    assert weights(raised) != weights(unwatched)


def test_in_mpo_an_alarm_raises_tau_and_rolls_back_to_the_rounds_beginning(small_run: Path, folder: Path) -> None:
    """The alarm comes in the first round, which nothing has found good yet; the second asks for a larger gap."""
    keys = "\n".join(
        [
            "[stage.pairs]",
            'sources = ["rules", "margin"]',
            "[stage.evaluation]",
            "problems = 12",
            "blank_problems = 0",
            "[stage.monitor]",
            'mode = "act"',
            "monitors = []",
            "[stage.monitor.control]",
            "raise_margin_by = 1.0",
            spent_rule('[["raise_margin", "roll_back"]]', 1.0).replace("patience = 1", "patience = 3"),
        ]
    )
    mpo = f'type = "mpo"\nrounds = 2\nsteps_per_round = 3\nprompts_per_round = 24\nbatch_size = 8\n{keys}'
    text = RECIPE.format(run=small_run, data=some_data(small_run, folder), steps=1, monitor='mode = "off"')
    recipe = folder / "mpo.toml"
    recipe.write_text(text.replace('[[stage]]\ntype = "grpo"', f'[[stage]]\n{mpo}\n[[stage]]\ntype = "grpo"'))
    run_recipe(load_recipe(str(recipe)), folder / "mpo", Progress(Console(), Verbosity.QUIET), stop_after="mpo")
    logged = [row for row in rows(folder / "mpo" / "metrics.jsonl") if row["stage"] == "mpo"]
    actions = [row for row in rows(folder / "mpo" / "alarms" / "mpo.jsonl") if row["kind"] == "action"]
    assert [(2, "raise_margin", True), (2, "roll_back", False)] == [
        (row["step"], row["action"], row["done"]) for row in actions[:2]
    ]
    assert (0.0, 1.0) == (logged[0]["dials/margin"], logged[3]["dials/margin"])
    refused = [row["pairs/refused_margin"] for row in (logged[0], logged[3])]
    assert refused[1] > refused[0], "more candidates are too close now"
    assert logged[3]["pairs/margin_mean"] > logged[0]["pairs/margin_mean"]


# ── interruption ─────────────────────────────────────────────────────────────────────────────────────────────────


class StopHereError(Exception):
    pass


def interrupted(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """The next run of stage grpo dies at the end of that step, before anything of it is written; later runs do not."""
    original = StageRun._end_step

    def dying(self: StageRun, step: int, total: int) -> None:
        if self.stage == "grpo" and step == at:
            monkeypatch.setattr(StageRun, "_end_step", original)
            raise StopHereError
        original(self, step, total)

    monkeypatch.setattr(StageRun, "_end_step", dying)


@pytest.mark.parametrize("at", [3, pytest.param(5, marks=pytest.mark.slow)])
def test_killed_and_resumed_everything_is_as_if_nothing_had_happened(
    small_run: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """With learnt bands, a slow copy, windows, turned dials, a good state that is returned to, and a learnt tau."""
    straight = folder / "straight" / "run"
    tokens = 8 * 8 * 20  # about a step's
    monitor = (
        'mode = "act"\n'
        + EVERYTHING
        + spent_rule('["halve_preference", ["cap", "raise_kl"], "roll_back"]', 1.5 * tokens)
        + '[[stage.monitor.rule]]\nsignal = "rollout/length_mean"\nrelative = 0.01\n'
        + '[[stage.monitor.rule]]\nsignal = "consistency/answer"\nrelative = 0.5\n'
    )
    if not straight.exists():
        run(small_run, folder / "straight", monitor, steps=7)
    interrupted(monkeypatch, at)
    with pytest.raises(StopHereError):
        run(small_run, folder / f"killed{at}", monitor, steps=7)
    resumed = run(small_run, folder / f"killed{at}", monitor, steps=7)
    actions = [row["action"] for row in noted(straight, "action") if row["done"]]
    assert {"halve_preference", "cap", "raise_kl", "roll_back"} <= set(actions)
    assert weights(straight) == weights(resumed)
    assert lines(straight) == lines(resumed)
    assert (straight / "alarms" / "grpo.jsonl").read_text() == (resumed / "alarms" / "grpo.jsonl").read_text()
    parts = [last_snapshot(one, "grpo")["parts"] for one in (straight, resumed)]
    for one in parts:
        one["budget"].pop("seconds")
    assert_equal(*parts)
    held = parts[0]["oversight"]
    assert held["answer"]["good"], "the good state is in the snapshot"
    assert held["slow_0"], "and the slow copy"
    assert held["monitor_perception"]["tau"] > 0
