"""From the samples of a step to the minibatches of its updates."""

from collections.abc import Callable, Sequence
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
    """Samples of a full minibatch, those that teach nothing included; its own number where groups made it fuller."""


Deal = Callable[[Sequence[TrainingSample], int, np.random.Generator], list[tuple[TrainingSample, ...]]]
"""(samples, number of minibatches, random numbers) -> the samples of each minibatch."""


def deal_samples(
    samples: Sequence[TrainingSample], count: int, rng: np.random.Generator
) -> list[tuple[TrainingSample, ...]]:
    """Shuffled and dealt out one by one."""
    order = rng.permutation(len(samples))
    return [tuple(samples[place] for place in order[part::count]) for part in range(count)]


def deal_groups(
    samples: Sequence[TrainingSample], count: int, rng: np.random.Generator
) -> list[tuple[TrainingSample, ...]]:
    """Samples of one prompt stay together, so that an update computes their prompt once.

    Groups come in random order, and each goes to the minibatch that has the fewest samples so far.
    """
    groups: dict[tuple[str, bytes], list[TrainingSample]] = {}
    for one in samples:
        groups.setdefault(one.draw.sample.prompt.key, []).append(one)
    dealt: list[list[TrainingSample]] = [[] for _ in range(count)]
    ordered = list(groups.values())
    for place in rng.permutation(len(ordered)):
        min(dealt, key=len).extend(ordered[place])
    return [tuple(part) for part in dealt]


def minibatches(
    samples: Sequence[TrainingSample],
    *,
    places: int,
    minibatch_size: int,
    idle_tokens: float,
    deal: Deal,
    rng: np.random.Generator,
) -> list[Minibatch]:
    """Shuffle and deal out into about places / minibatch_size minibatches, at least one; empty ones are left out.

    A batch with fewer samples than `places` has idle places. They are not computed, and they still count in the
    divisor, each with `idle_tokens` tokens (the mean length of the samples without advantage), so that skipping them
    changes no gradient.
    """
    count = max(1, round(places / minibatch_size))
    share = min(minibatch_size, places // count)
    return [
        Minibatch(part, _tokens(part, share, idle_tokens), max(share, len(part)))
        for part in deal(samples, count, rng)
        if part
    ]


def _tokens(part: Sequence[TrainingSample], places: int, idle_tokens: float) -> int:
    idle = max(0, places - len(part))
    return round(sum(len(one.old_logprobs) for one in part) + idle * idle_tokens)
