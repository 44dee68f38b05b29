"""From the samples of a step to the minibatches of its updates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vergence.types import TrainingSample


@dataclass(frozen=True, slots=True, eq=False)
class Minibatch:
    """The samples of one update, and what its loss is divided by."""

    samples: tuple[TrainingSample, ...]
    num_tokens: int
    """Tokens of these samples plus this minibatch's share of the tokens that teach nothing."""
    num_sequences: int
    """Samples of a full minibatch, those that teach nothing included."""


def minibatches(
    samples: Sequence[TrainingSample],
    *,
    batch_size: int,
    minibatch_size: int,
    idle_tokens: float,
    rng: np.random.Generator,
) -> list[Minibatch]:
    """Shuffle and deal out evenly into batch_size / minibatch_size minibatches; empty ones are left out.

    A batch that the buffer could not fill has idle places. They are not computed, and they still count in the divisor,
    each with `idle_tokens` tokens (the mean length of the samples without advantage), so that skipping them changes no
    gradient.
    """
    count = batch_size // minibatch_size
    order = rng.permutation(len(samples))
    dealt = [tuple(samples[place] for place in order[part::count]) for part in range(count)]
    return [Minibatch(part, _tokens(part, minibatch_size, idle_tokens), minibatch_size) for part in dealt if part]


def _tokens(part: Sequence[TrainingSample], minibatch_size: int, idle_tokens: float) -> int:
    return round(sum(len(one.old_logprobs) for one in part) + (minibatch_size - len(part)) * idle_tokens)
