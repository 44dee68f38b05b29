"""Groups whose completions can be told apart by their texts, and buffers to put them into."""

from collections.abc import Sequence

import numpy as np

from vergence.advantage.scaling import Advantage, group_normalised
from vergence.buffer.entries import Unit, single_samples
from vergence.buffer.mixed import KeptAdvantages, StaleAdvantages
from vergence.buffer.selective import BufferLimits, Leaving, SampleBuffer, oldest_first
from vergence.types import Draw, JudgedGroup, Origin, RolloutGroup, ScoredGroup

from ..builders import completion, doubles, prompt


def rewarded(
    rewards: Sequence[float], *, name: str = "p", version: int = 0, advantage: Advantage = group_normalised
) -> JudgedGroup:
    """A group as the judge makes it; the texts are "NAME@VERSION/0", "NAME@VERSION/1", ..."""
    texts = [f"{name}@{version}/{index}" for index in range(len(rewards))]
    values = doubles(rewards)
    scored = ScoredGroup(
        RolloutGroup(prompt(name), tuple(completion(text, version=version) for text in texts)),
        {"accuracy": values},
        {"accuracy": values},
        values,
        values,
    )
    effective = max(rewards) > min(rewards)
    return JudgedGroup(scored, advantage([scored])[0] if effective else np.zeros_like(values), effective)


def advantaged(advantages: Sequence[float], *, texts: Sequence[str], name: str = "p", version: int = 0) -> JudgedGroup:
    """A group with these advantages, whatever rewards would give them."""
    values = doubles(advantages)
    scored = ScoredGroup(
        RolloutGroup(prompt(name), tuple(completion(text, version=version) for text in texts)),
        {"accuracy": values},
        {"accuracy": values},
        values,
        values,
    )
    return JudgedGroup(scored, values, bool(values.any()))


def lone(*advantages: float, version: int = 0, first: int = 0) -> list[JudgedGroup]:
    """Groups of one completion each, whose texts are "0", "1", ..."""
    return [
        advantaged([value], texts=[str(first + index)], name=f"p{first + index}", version=version)
        for index, value in enumerate(advantages)
    ]


def limits(
    *, capacity: int = 100, exponent: float = 1.0, max_age: int = 1000, max_uses: int = 1000, target: float = 1.0
) -> BufferLimits:
    return BufferLimits(capacity=capacity, exponent=exponent, max_age=max_age, max_uses=max_uses, target=target)


def buffer_of(
    with_limits: BufferLimits,
    unit: Unit = single_samples,
    leaving: Leaving = oldest_first,
    advantages: KeptAdvantages | None = None,
) -> SampleBuffer:
    return SampleBuffer(with_limits, unit, leaving, advantages or StaleAdvantages())


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def texts(draws: Sequence[Draw], origin: Origin | None = None) -> list[str]:
    return [one.sample.completion.text for one in draws if origin in (None, one.origin)]


def replayed(draws: Sequence[Draw]) -> list[str]:
    return texts(draws, Origin.REPLAY)
