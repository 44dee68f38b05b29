"""The exact hallucination rate where the truth of every picture is known (CHAIR's two figures, AMBER's Hal).

A response *mentions* an object where the problem's `mentions` expression matches it. A mention is hallucinated if the
object is not in the problem's `objects`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from vergence.types import Metrics, Problem, RolloutGroup


@dataclass(frozen=True, slots=True)
class MentionCount:
    """Counts over some responses; counts add up, rates do not."""

    responses: int
    hallucinating_responses: int
    """With at least one hallucinated mention."""
    mentions: int
    hallucinated_mentions: int

    def __add__(self, other: "MentionCount") -> "MentionCount":
        return MentionCount(
            self.responses + other.responses,
            self.hallucinating_responses + other.hallucinating_responses,
            self.mentions + other.mentions,
            self.hallucinated_mentions + other.hallucinated_mentions,
        )

    @property
    def response_rate(self) -> float:
        """Share of responses that name something that is not there (CHAIR_s)."""
        return self.hallucinating_responses / max(1, self.responses)

    @property
    def mention_rate(self) -> float:
        """Share of mentions that name something that is not there (CHAIR_i)."""
        return self.hallucinated_mentions / max(1, self.mentions)


NOTHING = MentionCount(0, 0, 0, 0)


def count_mentions(problem: Problem, text: str) -> MentionCount:
    """Of one response; counts nothing, not even the response, where the problem's truth is not known."""
    if not problem.mentions:
        return NOTHING
    found = [match.group(0) for match in _expression(problem.mentions).finditer(text)]
    false = sum(name not in problem.objects for name in found)
    return MentionCount(1, int(false > 0), len(found), false)


def count_groups(groups: Sequence[RolloutGroup]) -> MentionCount:
    """Of all completions of all groups."""
    total = NOTHING
    for group in groups:
        for text in group.responses:
            total = total + count_mentions(group.prompt.problem, text)
    return total


def mention_metrics(count: MentionCount) -> Metrics:
    """Both rates; nothing where no truth is known."""
    if count.responses == 0:
        return {}
    return {
        "hallucination/response_rate": count.response_rate,
        "hallucination/mention_rate": count.mention_rate,
    }


@lru_cache(maxsize=1024)
def _expression(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
