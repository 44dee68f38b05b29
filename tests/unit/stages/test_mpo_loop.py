"""The loop of stage mpo over parts that are made up: when rounds begin, when the stage ends, what is counted."""

import io
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
from vergence.stages.mpo.counter import RoundCounter
from vergence.stages.mpo.loop import MpoParts, train_mpo
from vergence.stages.mpo.objective import Quality
from vergence.stages.mpo.rounds import Round, by_prompt
from vergence.stages.work import work_done
from vergence.types import Metrics, PreferencePair, RolloutGroup, ScoredGroup, TrainingPair
from vergence.update.learner import Learner, LossPart, ParameterGroup
from vergence.update.schedule import Schedule, constant

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
        pairs = [PreferencePair(group.group.prompt, good, bad, float(place), "correctness") for place in range(count)]
        fates = Counter({("correctness", KEPT): count, ("correctness", "margin"): 2})
        known = tuple(TrainingPair(one, good.sampler_logprobs, bad.sampler_logprobs) for one in pairs)
        return Round([group], [group.group], [], PairHarvest(tuple(pairs), fates, 0.5), known)


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
    folder: Path,
    rounds: Rounds,
    *,
    ending: Ending | None = None,
    tokens: float = math.inf,
    scores=(0.5,) * 99,
    steps: int = 3,
    batch_size: int = 2,
    max_passes: int = 9,
    checkpoint_every: int = 99,
    per_reference: bool = True,
    dies_at: int = 99,
    console: Console | None = None,
    schedule: Schedule = constant(),  # noqa: B008
) -> tuple[list[Metrics], MpoParts]:
    """Three rounds; the rows that were logged, and the parts. A row tells the margins of its pairs, which are numbers
    of their own within a round. What the shift averages is the round's share of pairs with a large number.
    """
    parameter = nn.Parameter(torch.tensor([1.0]))
    learner = Learner(
        [ParameterGroup("w", {"w": parameter}, 0.1, 0.0)], betas=(0.9, 0.99), clip_norm=1e9, schedule=schedule
    )
    meter, quality = Meter(), Quality(0.9, per_reference=per_reference)
    pool, counter = PairPool(max_passes), RoundCounter()

    def objective(pairs: Sequence[TrainingPair]):
        if learner.updates == dies_at:
            raise KeyboardInterrupt
        margins = torch.tensor([one.pair.margin for one in pairs])
        quality.shift = quality.shift.updated(margins)
        named = {f"margin_{place}": margin for place, margin in enumerate(margins)}
        return [lambda: LossPart((parameter * len(pairs)).sum(), {**named, "count": torch.tensor(len(pairs))})]

    parts = MpoParts(
        rounds=rounds,
        counter=counter,
        pool=pool,
        statistics=PairStatistics(),
        quality=quality,
        objective=objective,
        learner=learner,
        oversight=Oversight(scores),
        ending=ending or LastPolicy(),
        budget=Budget(tokens=tokens, cpu_seconds=math.inf),
        meter=meter,
        work_done=work_done([meter], []),
        stateful={"learner": learner, "counter": counter, "pool": pool, "quality": quality},
    )
    quiet = Progress(Console(), Verbosity.QUIET) if console is None else Progress(console, Verbosity.NORMAL)
    run = StageRun(folder, "mpo", seed=0, checkpoint_every=checkpoint_every, progress=quiet)
    train_mpo(parts, run, rounds=3, steps_per_round=steps, batch_size=batch_size)
    return logged(folder), parts


def logged(folder: Path) -> list[Metrics]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def untimed(rows: Sequence[Metrics]) -> list[Metrics]:
    """What two equal runs have in common."""
    return [
        {name: value for name, value in row.items() if not name.startswith(("seconds/", "wall_", "memory/", "spent/"))}
        for row in rows
    ]


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


def test_the_schedule_follows_the_steps_or_a_budget_that_is_ahead_of_them(tmp_path: Path) -> None:
    """Five tokens at the first step of each round of three: of 12 tokens 5, then 10 are spent."""
    lines, _ = train(tmp_path / "steps", Rounds(4, 4, 4), schedule=lambda span: 1 - span.begin)
    assert pytest.approx([1 - step / 9 for step in range(9)]) == [row["learning_rate_factor"] for row in lines]
    lines, _ = train(tmp_path / "budget", Rounds(4, 4, 4), tokens=12.0, schedule=lambda span: 1 - span.begin)
    left = [1.0, 7 / 12, 7 / 12, 7 / 12, 2 / 12, 2 / 12, 2 / 12]
    assert pytest.approx(left) == [row["learning_rate_factor"] for row in lines]


def test_the_schedule_ends_with_the_last_round_where_rounds_have_fewer_updates_than_planned(tmp_path: Path) -> None:
    """One pair that may be used twice is one batch: three updates in place of nine."""
    lines, _ = train(tmp_path, Rounds(1, 1, 1), max_passes=2, schedule=lambda span: 1 - span.begin)
    assert pytest.approx([1.0, 2 / 3, 1 / 3]) == [row["learning_rate_factor"] for row in lines]


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


def test_each_round_begins_with_a_shift_of_its_own_unless_one_is_asked_for_that_lasts(tmp_path: Path) -> None:
    """A pool of one pair gives its margin, 0, at every step of the first two rounds, and of two pairs 0.5.

    So a shift that starts anew is 0, 0, 0.5 at the ends of the rounds, and one that lasts comes to the third round's
    first step with 0.9 x 0 + 0.1 x 0.5.
    """
    rows, _ = train(tmp_path / "anew", Rounds(1, 1, 2))
    assert [0.0, 0.0, 0.5] == [rows[step]["mpo/shift"] for step in (0, 3, 6)]
    lasting, _ = train(tmp_path / "lasting", Rounds(1, 1, 2), per_reference=False)
    assert pytest.approx([0.0, 0.0, 0.05]) == [lasting[step]["mpo/shift"] for step in (0, 3, 6)]


@pytest.mark.parametrize("dies_at", [1, 4, 5, 7])
def test_a_stage_killed_within_a_round_ends_bit_for_bit_as_if_it_had_not_been(tmp_path: Path, dies_at: int) -> None:
    """Rounds of 4, 2 and 3 updates: pairs, passes, shift and rounds go on where the last checkpoint was."""
    options = {"steps": 4, "max_passes": 2, "checkpoint_every": 1}
    whole, parts = train(tmp_path / "whole", Rounds(5, 2, 3), **options)
    assert [0, 4, 6] == [row["step"] for row in whole if "pairs/kept" in row]
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", Rounds(5, 2, 3), dies_at=dies_at, **options)
    again, resumed = train(tmp_path / "killed", Rounds(5, 2, 3), **options)
    assert untimed(whole) == untimed(again)
    assert parts.quality.shift == resumed.quality.shift
    assert parts.learner.updates == resumed.learner.updates == 9


def test_no_pair_is_used_more_often_than_max_passes_and_a_starved_round_says_so(tmp_path: Path) -> None:
    """Batches of 2, at most 3 passes, 4 steps a round. 9 pairs: 27 uses, so all 4 updates, 8/9 of a pass. 2 pairs: 6
    uses, 3 updates, 3 passes. 3 pairs: 9 uses, of which 4 whole batches are made, 8/3 of a pass.
    """
    console = Console(file=io.StringIO(), width=200)
    rows, parts = train(tmp_path, Rounds(9, 2, 3), steps=4, max_passes=3, console=console)
    begun = [row for row in rows if "pairs/updates" in row]
    assert [(0, 4.0), (4, 3.0), (7, 4.0)] == [(row["step"], row["pairs/updates"]) for row in begun]
    assert pytest.approx([8 / 9, 3.0, 8 / 3]) == [row["pairs/passes"] for row in begun]
    assert 11 == len(rows) == parts.learner.updates
    ends = [4, 7, 11]
    for first, last in zip([0, *ends], ends, strict=False):
        used = Counter(row[f"margin_{place}"] for row in rows[first:last] for place in (0, 1))
        assert max(used.values()) <= 3
    assert isinstance(console.file, io.StringIO)
    (told,) = [line for line in console.file.getvalue().splitlines() if "max_passes" in line]
    assert "round 2: 2 pairs" in told
    assert "3 of 4 updates" in told
    assert "tuning/sampled_accuracy" in rows[-1], "the last update is measured, although fewer came than were planned"


def test_a_pool_smaller_than_one_batch_gives_one_smaller_update(tmp_path: Path) -> None:
    """2 pairs of which each may be used once, in batches of 5."""
    rows, parts = train(tmp_path, Rounds(2, 2, 2), batch_size=5, max_passes=1)
    assert 3 == parts.learner.updates
    assert [2.0] * 3 == [row["count"] for row in rows]
    assert [(1.0, 1.0)] * 3 == [(row["pairs/updates"], row["pairs/passes"]) for row in rows]


def test_members_of_one_prompt_are_counted_together() -> None:
    one, other = prompt("p"), prompt("q")
    a, b, c = (completion(str(k)) for k in range(3))
    groups: list[RolloutGroup] = by_prompt([(one, a), (other, b), (prompt("p"), c)])
    assert [("p", [a, c]), ("q", [b])] == [(group.prompt.problem.id, [*group.completions]) for group in groups]
    assert [] == by_prompt([])
