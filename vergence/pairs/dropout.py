"""Judge-free hallucination negatives: a good response against its own first half, continued without the picture.

MMPR calls it Dropout-NTP: what the model writes when it can no longer see is fluent, begins like a good response, and
says what it makes up. The picture is replaced by a uniform grey one here; MMPR's script leaves it out of the prompt.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vergence.types import Completion, Ints, PreferencePair, Prompt, ScoredGroup

Good = Callable[[ScoredGroup], np.ndarray]
"""A scored group -> [G] which of its responses may be chosen."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A response whose first half is to be continued."""

    group: int
    """Which of the groups it belongs to."""
    place: int
    """Which of the group's completions it is."""
    turn: int
    """0 for the first response of its group, 1 for the second, and so on."""


def first_half(completion: Completion) -> Ints:
    """[T // 2] its first tokens."""
    return completion.token_ids[: len(completion.token_ids) // 2]


def responses_to_continue(
    groups: Sequence[ScoredGroup], good: Good, count: int, rng: np.random.Generator
) -> list[Begun]:
    """At most `count` good responses of each group that has a picture, drawn without replacement; in order of groups.

    A response of a single token has no first half and is left out.
    """
    begun = []
    for index, scored in enumerate(groups):
        completions = scored.group.completions
        places = [int(place) for place in np.flatnonzero(good(scored)) if len(completions[place].token_ids) > 1]
        if not scored.group.prompt.problem.images:
            continue
        drawn = rng.permutation(len(places))[:count]
        begun += [Begun(index, places[place], turn) for turn, place in enumerate(drawn)]
    return begun


def dropout_pair(prompt: Prompt, chosen: Completion, rejected: Completion, margin: float) -> PreferencePair:
    """A response and its blind continuation."""
    return PreferencePair(prompt, chosen, rejected, margin, "dropout")
