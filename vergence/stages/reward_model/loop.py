"""Stage reward_model: comparisons -> Bradley-Terry loss -> update, in one phase or two (Skywork-VL Reward).

The first phase learns from comparisons with pictures. The second mixes in those that are text alone, at a lower
learning rate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from vergence.loss.preference import bradley_terry_loss
from vergence.model.batch import microbatches
from vergence.model.reward_head import RewardModel, raw_scores
from vergence.pairs.comparisons import Comparison
from vergence.run.stage_run import StageRun
from vergence.scoring.held_out import HeldOutReport, held_out_metrics
from vergence.seeds import generator
from vergence.types import Prompt
from vergence.update.learner import Learner, LossPart
from vergence.update.schedule import Schedule, Span, span_of


@dataclass(frozen=True, slots=True, eq=False)
class Phase:
    """Some updates in a row that draw from the same mixture."""

    steps: int
    first: Sequence[Comparison]
    second: Sequence[Comparison]
    """Mixed into every batch where there are any."""
    second_share: float
    """Probability with which a place of a batch is filled from `second`."""

    def batch(self, size: int, rng: np.random.Generator) -> list[Comparison]:
        """`size` comparisons, drawn with replacement."""
        rows = rng.integers(0, len(self.first), size)
        batch = [self.first[row] for row in rows]
        if self.second:
            replaced = np.flatnonzero(rng.random(size) < self.second_share)
            for place, row in zip(replaced, rng.integers(0, len(self.second), len(replaced)), strict=True):
                batch[place] = self.second[row]
        return batch


@dataclass(frozen=True, slots=True, eq=False)
class RewardModelParts:
    """What the loop works with."""

    model: RewardModel
    phases: Sequence[Phase]
    learner: Learner
    report: Callable[[], HeldOutReport]
    """Measures the model as it is on the held-out comparisons."""


def train_reward_model(parts: RewardModelParts, run: StageRun, *, batch_size: int) -> None:
    """Learn to score the better member of each comparison higher."""
    plan = [phase for phase in parts.phases for _ in range(phase.steps)]
    for step in run.steps(len(plan), {"learner": parts.learner}):
        batch = plan[step].batch(batch_size, generator(run.seed(step, "batch")))
        run.log(parts.learner.update(loss_parts(parts.model, batch), span_of(step, len(plan))))
        if step + 1 == len(plan):
            run.log(held_out_metrics(parts.report()))


def loss_parts(model: RewardModel, batch: Sequence[Comparison]) -> list[Callable[[], LossPart]]:
    """Bradley-Terry over a batch: -log sigmoid(r(better) - r(worse)); the two members of a comparison stay together.

    A comparison across prompts has two prompts in its pass, any other one; prompts that several comparisons of a pass
    share are computed once.
    """

    def part(some: Sequence[Comparison]) -> LossPart:
        members = [one.better for one in some] + [one.worse for one in some]
        better, worse = raw_scores(model.backbone, model.head, model.batch(members), model.tower).chunk(2)
        share = len(some) / len(batch)
        loss = bradley_terry_loss(better, worse).mean() * share
        return LossPart(loss, {"accuracy": (better > worse).float().mean().detach() * share})

    return [
        partial(part, [batch[index] for index in indices])
        for indices in microbatches([_unit(one) for one in batch], model.microbatch_tokens)
    ]


def phased(each: Schedule, phases: Sequence[Phase], factor: float) -> Schedule:
    """The schedule anew in each phase; times `factor` in the second."""
    first = phases[0].steps / sum(phase.steps for phase in phases)

    def schedule(span: Span) -> float:
        if span.begin < first:
            return each(Span(span.begin / first, min(1.0, span.end / first)))
        rest = 1.0 - first
        return factor * each(Span((span.begin - first) / rest, min(1.0, (span.end - first) / rest)))

    return schedule


def _unit(one: Comparison) -> tuple[Prompt, int]:
    """The prompt that is certainly computed, and the tokens that come with it."""
    (prompt, better), (other, worse) = one.better, one.worse
    beside = 0 if other.key == prompt.key else len(other.token_ids)
    return prompt, len(better.token_ids) + len(worse.token_ids) + beside
