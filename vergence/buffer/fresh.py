"""Updates of fresh samples alone: plain GRPO, and the same with dead groups dropped out of the batch."""

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from vergence.advantage.judging import TOLERANCE, zero_advantage_samples
from vergence.buffer.entries import single_samples
from vergence.buffer.selection import Ask, Sampled, Selected
from vergence.types import Draw, JudgedGroup, Origin


def fresh_draws(judged: Sequence[JudgedGroup]) -> list[Draw]:
    """Every sampled completion that can teach, in order."""
    return [Draw(sample, Origin.FRESH, 0) for entry in single_samples(judged) for sample in entry.samples]


def zero_advantage_draws(judged: Sequence[JudgedGroup]) -> list[Draw]:
    """Every other sampled completion that could be judged, in order: for terms that do not rest on the reward."""
    return [Draw(sample, Origin.FRESH, 0, effective=False) for sample in zero_advantage_samples(judged)]


def completions_of(judged: Sequence[JudgedGroup]) -> int:
    """How many completions the groups have."""
    return sum(len(one.advantages) for one in judged)


def effective_groups(judged: Sequence[JudgedGroup]) -> list[JudgedGroup]:
    """Those with at least one advantage that is not zero, but for rounding."""
    return [one for one in judged if bool((np.abs(one.advantages) > TOLERANCE).any())]


def sampled(judged: Sequence[JudgedGroup], used: Sequence[JudgedGroup], batches: int = 1) -> Sampled:
    """What was sampled, and how many groups of it were used."""
    return Sampled(
        batches=batches,
        groups=len(judged),
        groups_used=len(used),
        samples=completions_of(judged),
        effective_samples=sum(int((np.abs(one.advantages) > TOLERANCE).sum()) for one in judged),
    )


@final
class PlainGrpo:
    """Strategy `none`. Samples without advantage add nothing to the surrogate, and they still count in its divisor.

    That is the gradient of GRPO as printed (R1V2 Eq. 8): a group without advantages adds zero to the sum and one to
    the count. They are not computed unless the loss has a KL penalty or an entropy bonus.
    """

    def gather(self, ask: Ask, step: int) -> list[JudgedGroup]:
        """One batch of prompts a step."""
        return ask(step)

    def select(self, judged: Sequence[JudgedGroup], size: int, *, version: int, rng: np.random.Generator) -> Selected:
        """The fresh effective samples in a batch of full size."""
        counts = sampled(judged, effective_groups(judged))
        return Selected(tuple(fresh_draws(judged)), tuple(zero_advantage_draws(judged)), size, 0, counts)

    def state_dict(self) -> dict[str, Any]:
        """It has no state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""


@final
class DropDead:
    """Strategy `drop`: groups without advantages are taken out, and the loss is normalised by what is left.

    Skywork-OR1 and Reinforce-Rej: no refill, so updates become smaller as fewer groups are effective, but no weaker
    per sample. Completions without advantage inside an effective group still count. What is dropped is out of the batch
    altogether: out of the KL penalty and the entropy bonus too.
    """

    def gather(self, ask: Ask, step: int) -> list[JudgedGroup]:
        """One batch of prompts a step."""
        return ask(step)

    def select(self, judged: Sequence[JudgedGroup], size: int, *, version: int, rng: np.random.Generator) -> Selected:
        """The fresh effective samples in a batch that is as large as the effective groups."""
        left = effective_groups(judged)
        draws, others = tuple(fresh_draws(left)), tuple(zero_advantage_draws(left))
        return Selected(draws, others, completions_of(left), 0, sampled(judged, left))

    def state_dict(self) -> dict[str, Any]:
        """It has no state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""
