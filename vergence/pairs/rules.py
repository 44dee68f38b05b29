"""Candidates for preference pairs, from scored groups: which of two responses of a prompt is the better one, and why.

    correctness   right and well-formed against wrong                                    (MMPR's correctness pipeline)
    format        right and well-formed against right in bad form
    margin        of two equally good responses, the one that the reward model prefers   (R1V2's preference signals)

Nothing is turned away here; that is the business of the guards.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from vergence.types import Finish, PreferencePair, ScoredGroup

Scores = Callable[[ScoredGroup], np.ndarray]
"""A scored group -> [G] preference scores."""
Source = Callable[[ScoredGroup, np.ndarray], list[PreferencePair]]
"""(a scored group, its preference scores [G]) -> candidates."""


def preference_component(scored: ScoredGroup) -> np.ndarray:
    """The preference model's scores, where the reward has them."""
    return scored.components["preference"]


def rules_only(scored: ScoredGroup) -> np.ndarray:
    """No preference model: every right response is infinitely better than every other."""
    return np.where(is_good(scored), math.inf, 0.0)


def is_good(scored: ScoredGroup) -> np.ndarray:
    """[G] which responses are right and well-formed."""
    good: np.ndarray = (scored.components["accuracy"] > 0) & is_formed(scored)
    return good


def is_formed(scored: ScoredGroup) -> np.ndarray:
    """[G] which responses are well-formed: what counts as good where nobody knows the right answers."""
    formed: np.ndarray = scored.components["format"] > 0
    return formed


def verified(*, format_negatives: bool) -> Source:
    """Right and well-formed against wrong; with `format_negatives` also against right in bad form."""

    def candidates(scored: ScoredGroup, scores: np.ndarray) -> list[PreferencePair]:
        right, good = scored.components["accuracy"] > 0, is_good(scored)
        bad = ~right | (right & ~good if format_negatives else np.zeros_like(right))
        return [
            _pair(scored, scores, int(better), int(worse), "format" if right[worse] else "correctness")
            for better in np.flatnonzero(good)
            for worse in np.flatnonzero(bad)
        ]

    return candidates


def by_margin(good: Callable[[ScoredGroup], np.ndarray]) -> Source:
    """Every two good responses that differ, the one with the higher score chosen; in a tie the earlier one, margin 0.

    Of responses with the same text that ended alike only the first is looked at: their tokens may differ, such as in
    which of several end tokens they have, and there is nothing to prefer in that.
    """

    def candidates(scored: ScoredGroup, scores: np.ndarray) -> list[PreferencePair]:
        first: dict[tuple[str, Finish], int] = {}
        for place in np.flatnonzero(good(scored)).tolist():
            completion = scored.group.completions[place]
            first.setdefault((completion.text, completion.finish), place)
        places = list(first.values())
        pairs = []
        for index, left in enumerate(places):
            for right in places[index + 1 :]:
                better, worse = (left, right) if scores[left] >= scores[right] else (right, left)
                pairs.append(_pair(scored, scores, better, worse, "margin"))
        return pairs

    return candidates


def candidates_of(
    groups: Sequence[ScoredGroup], sources: Sequence[Source], scores: Scores
) -> list[list[PreferencePair]]:
    """For each group, the candidates of all sources; a response that could not be judged is neither side of any."""
    known = [scored.graded() for scored in groups]
    return [[pair for source in sources for pair in source(scored, scores(scored))] for scored in known]


def _pair(scored: ScoredGroup, scores: np.ndarray, better: int, worse: int, source: str) -> PreferencePair:
    completions = scored.group.completions
    margin = float(scores[better] - scores[worse])
    return PreferencePair(scored.group.prompt, completions[better], completions[worse], margin, source)
