"""The loop of stage mpo over parts that are made up: when rounds begin, when the stage ends, what is counted."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

from vergence.errors import RunError
from vergence.model.meter import Meter
from vergence.pairs.harvest import KEPT, PairHarvest
from vergence.pairs.pool import PairPool
from vergence.pairs.statistics import PairStatistics
from vergence.run.progress import Progress, Verbosity
from vergence.run.stage_run import StageRun
from vergence.stages.budget import Budget
from vergence.stages.mpo.best import BestPolicy, Ending, LastPolicy
from vergence.stages.mpo.loop import MpoParts, train_mpo
from vergence.stages.mpo.objective import Quality
from vergence.stages.mpo.rounds import Round, by_prompt
from vergence.stages.work import work_done
from vergence.types import Metrics, PreferencePair, RolloutGroup, ScoredGroup
from vergence.update.learner import Learner, LossPart, ParameterGroup
from vergence.update.schedule import constant

from ..builders import completion, prompt, scored


class Rounds:
    """Rounds with so many pairs each; every round samples five tokens."""

    def __init__(self, *pairs: int) -> None:
        self._pairs = pairs
        self.begun: list[tuple[int, int]] = []

    def begin(self, round_: int, version: int) -> Round:
        self.begun.append((round_, version))
        group: ScoredGroup = scored([1, 0], texts=[completion(logprobs=[-1.0] * 2), completion(logprobs=[-1.0] * 3)])
        good, bad = group.group.completions
        count = self._pairs[round_]
        pairs = (PreferencePair(group.group.prompt, good, bad, 1.0, "correctness"),) * count
        fates = Counter({("correctness", KEPT): count, ("correctness", "margin"): 2})
        return Round([group], [group.group], [], PairHarvest(pairs, fates, 0.5))


class Oversight:
    """Measures every second step, and what it is told is the last."""

    ended = False

    def __init__(self, scores: Sequence[float]) -> None:
        self._scores = scores
        self.looked: list[int] = []

    def before_updates(self, step: int, scored: Sequence[ScoredGroup]) -> Metrics:
        self.looked.append(step)
        return {}

    def after_updates(self, step: int, steps: int) -> Metrics:
        due = step % 2 == 1 or step + 1 == steps
        return {"tuning/greedy_accuracy": 0.5, "tuning/sampled_accuracy": self._scores[step]} if due else {}

    def state_dict(self) -> dict[str, object]:
        return {}

    def load_state_dict(self, state: dict[str, object]) -> None:
        pass


def train(
    folder: Path, rounds: Rounds, *, ending: Ending | None = None, tokens: float = math.inf, scores=(0.5,) * 99
) -> tuple[list[Metrics], MpoParts]:
    """Rounds of three steps; the rows that were logged, and the parts."""
    parameter = nn.Parameter(torch.tensor([1.0]))
    learner = Learner(
        [ParameterGroup("w", {"w": parameter}, 0.1, 0.0)], betas=(0.9, 0.99), clip_norm=1e9, schedule=constant()
    )
    meter = Meter()
    parts = MpoParts(
        rounds=rounds,
        pool=PairPool(),
        statistics=PairStatistics(),
        quality=Quality(0.9),
        objective=lambda pairs: [lambda: LossPart((parameter * len(pairs)).sum(), {})],
        learner=learner,
        oversight=Oversight(scores),
        ending=ending or LastPolicy(),
        budget=Budget(tokens=tokens, cpu_seconds=math.inf),
        meter=meter,
        work_done=work_done([meter], []),
        stateful={"learner": learner},
    )
    run = StageRun(folder, "mpo", seed=0, checkpoint_every=99, progress=Progress(Console(), Verbosity.QUIET))
    train_mpo(parts, run, rounds=3, steps_per_round=3, batch_size=2)
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()], parts


def test_a_round_begins_every_so_many_steps_with_the_policys_number(tmp_path: Path) -> None:
    rounds = Rounds(4, 4, 4)
    lines, parts = train(tmp_path, rounds)
    assert [(0, 0), (1, 3), (2, 6)] == rounds.begun
    assert 9 == len(lines) == parts.learner.updates
    assert [0, 3, 6] == [row["step"] for row in lines if "pairs/kept" in row]
    expected = [2 * value for value in weights(9)]  # two pairs a step
    assert pytest.approx(expected, abs=1e-6) == [row["loss"] for row in lines]
    assert [5.0] * 3 + [10.0] * 3 + [15.0] * 3 == [row["spent/tokens"] for row in lines]
    table = {("correctness", KEPT): 12, ("correctness", "margin"): 6}
    assert table == dict(parts.statistics.fates)
    assert isinstance(parts.oversight, Oversight)
    assert [0, 1, 2] == parts.oversight.looked, "monitors are asked once a round"


def weights(steps: int) -> list[float]:
    """The one weight before each update: AdamW over a constant gradient takes steps of the learning rate."""
    return [1.0 - 0.1 * step for step in range(steps)]


def test_a_later_round_without_pairs_ends_the_stage_with_what_it_has_learnt(tmp_path: Path) -> None:
    lines, parts = train(tmp_path, Rounds(4, 0, 4))
    assert 4 == len(lines)
    assert 3 == parts.learner.updates
    assert 0.0 == lines[-1]["pairs/kept"]
    assert "loss" not in lines[-1]
    assert "tuning/sampled_accuracy" in lines[-1], "the last step is measured"


def test_a_first_round_without_pairs_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no preference pair passed the guards \(refused: margin 2\); lower"):
        train(tmp_path, Rounds(0))


def test_a_spent_budget_ends_the_stage_and_the_last_step_is_measured(tmp_path: Path) -> None:
    """Ten tokens are spent when the second round begins, at step 3, which would not be measured otherwise."""
    lines, _ = train(tmp_path, Rounds(4, 4, 4), tokens=8.0)
    assert 4 == len(lines)
    assert 10.0 == lines[-1]["spent/tokens"]
    assert "tuning/sampled_accuracy" in lines[-1]


def test_early_stopping_looks_at_what_oversight_measured(tmp_path: Path) -> None:
    """Measured at steps 1, 3, 5, 7: best at 3, no better at 5 and 7."""
    scores = (0.0, 0.2, 0.9, 0.6, 0.9, 0.5, 0.9, 0.4, 0.9)
    ending = BestPolicy("tuning/sampled_accuracy", smallest=False, patience=2)
    lines, parts = train(tmp_path, Rounds(4, 4, 4), ending=ending, scores=scores)
    assert 8 == len(lines)
    assert [1.0, 3.0, 3.0, 3.0] == [row["mpo/best_step"] for row in lines if "mpo/best_step" in row]
    assert 3.0 == ending.settle(parts.learner)
    (weight,) = parts.learner.state_dict()["weights"].values()
    assert pytest.approx(weights(5)[4]) == weight.item()


def test_members_of_one_prompt_are_counted_together() -> None:
    one, other = prompt("p"), prompt("q")
    a, b, c = (completion(str(k)) for k in range(3))
    groups: list[RolloutGroup] = by_prompt([(one, a), (other, b), (prompt("p"), c)])
    assert [("p", [a, c]), ("q", [b])] == [(group.prompt.problem.id, [*group.completions]) for group in groups]
    assert [] == by_prompt([])
