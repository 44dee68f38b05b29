"""From the samples of a step to the minibatches of its updates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vergence.types import Origin, TrainingSample


@dataclass(frozen=True, slots=True, eq=False)
class Minibatch:
    """The samples of one update, and what its surrogate is divided by."""

    samples: tuple[TrainingSample, ...]
    num_tokens: int
    """Tokens of the effective samples plus this minibatch's share of the tokens that teach nothing."""
    num_sequences: int
    """Samples of a full minibatch, those that teach nothing included; its own number where groups made it fuller."""
    unmoved: bool = False
    """Whether no weight has changed since the fresh samples were drawn: the first update of a step."""

    @property
    def fresh(self) -> tuple[TrainingSample, ...]:
        """What the KL penalty and the entropy bonus are means over."""
        return tuple(one for one in self.samples if one.draw.origin is Origin.FRESH)

    @property
    def effective(self) -> tuple[TrainingSample, ...]:
        """What rewards give an advantage."""
        return tuple(one for one in self.samples if one.draw.effective)


Deal = Callable[[Sequence[TrainingSample], int, np.random.Generator], list[tuple[TrainingSample, ...]]]
"""(samples, number of minibatches, random numbers) -> the samples of each minibatch."""


def deal_samples(
    samples: Sequence[TrainingSample], count: int, rng: np.random.Generator
) -> list[tuple[TrainingSample, ...]]:
    """Shuffled and dealt out one by one: the effective ones, then the others."""
    order = sorted(rng.permutation(len(samples)).tolist(), key=lambda place: not samples[place].draw.effective)
    return [tuple(samples[place] for place in order[part::count]) for part in range(count)]


def deal_groups(
    samples: Sequence[TrainingSample], count: int, rng: np.random.Generator
) -> list[tuple[TrainingSample, ...]]:
    """Samples of one prompt stay together, so that an update computes their prompt once.

    Groups come in random order, first those with an effective sample. Each of these goes to the minibatch that has the
    fewest effective samples so far, each of the others to the one that has the fewest samples.
    """
    groups: dict[tuple[str, bytes], list[TrainingSample]] = {}
    for one in samples:
        groups.setdefault(one.draw.sample.prompt.key, []).append(one)
    ordered = [list(groups.values())[place] for place in rng.permutation(len(groups))]
    dealt: list[list[TrainingSample]] = [[] for _ in range(count)]
    for group in (one for one in ordered if _effective(one)):
        min(dealt, key=_effective).extend(group)
    for group in (one for one in ordered if not _effective(one)):
        min(dealt, key=len).extend(group)
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

    A batch with fewer effective samples than `places` has idle places. They add nothing to the surrogate, and they
    still count in its divisor, each with `idle_tokens` tokens (the mean length of the completions without advantage),
    whether or not such completions are among the samples. So leaving them out does not change the surrogate's gradient.
    """
    count = max(1, round(places / minibatch_size))
    share = min(minibatch_size, places // count)
    return [_minibatch(part, share, idle_tokens) for part in deal(samples, count, rng) if part]


def _minibatch(part: tuple[TrainingSample, ...], places: int, idle_tokens: float) -> Minibatch:
    taken = [len(one.old_logprobs) for one in part if one.draw.effective]
    idle = max(0, places - len(taken))
    return Minibatch(part, round(sum(taken) + idle * idle_tokens), max(places, len(taken)))


def _effective(samples: Sequence[TrainingSample]) -> int:
    return sum(one.draw.effective for one in samples)
