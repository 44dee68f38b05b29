"""The reference of a round: pi_0 of R1V2 Eq. 3 and 4 is the policy as the round finds it, at temperature 1."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vergence.types import Completion, Floats, PreferencePair, Prompt, RolloutGroup, TrainingPair

Logprobs = Callable[[Sequence[tuple[Prompt, Completion]]], list[Floats]]
"""Responses to prompts -> their log-probs [T] under the policy as it is when it is asked, at temperature 1."""
Known = Callable[[Sequence[RolloutGroup]], Mapping[int, Floats]]
"""What was sampled for a round -> reference log-probs [T] that sampling recorded, by the identity of the completion."""


@dataclass(frozen=True, slots=True, eq=False)
class Referenced:
    """Pairs with their reference log-probs."""

    pairs: tuple[TrainingPair, ...]
    computed: Sequence[tuple[Prompt, Completion]]
    """The responses that went forward once more for it."""


def of_sampling(groups: Sequence[RolloutGroup]) -> Mapping[int, Floats]:
    """Sampled at temperature 1, and computed exactly: what sampling recorded is what the reference says."""
    return {id(one): one.sampler_logprobs for group in groups for one in group.completions}


def of_nothing(groups: Sequence[RolloutGroup]) -> Mapping[int, Floats]:
    """Sampled at another temperature, or in a number format in which the decoder and the update's own pass differ."""
    return {}


def with_reference(pairs: Sequence[PreferencePair], known: Mapping[int, Floats], logprobs: Logprobs) -> Referenced:
    """The pairs with the log-probs that are known, and those of every other response computed once."""
    missing = {
        id(one): (pair.prompt, one) for pair in pairs for one in (pair.chosen, pair.rejected) if id(one) not in known
    }
    rows = dict(known)
    if missing:
        rows |= dict(zip(missing, logprobs(list(missing.values())), strict=True))
    return Referenced(
        tuple(TrainingPair(pair, rows[id(pair.chosen)], rows[id(pair.rejected)]) for pair in pairs),
        list(missing.values()),
    )
