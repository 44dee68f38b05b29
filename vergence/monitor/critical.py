"""Tokens at which the reasoning takes a turn ("Wait", "Alternatively"), where R1V3 reads the policy's entropy.

A policy that really considers is in doubt there; one that imitates is sure of its "Wait". R1V3 finds that the mean
entropy at these tokens tracks accuracy, and chooses checkpoints by it.
"""

import re
from collections.abc import Callable, Sequence

from vergence.types import Completion

Decode = Callable[[Sequence[int]], str]
"""Token ids to the text that a completion has."""
Places = Callable[[Completion], list[int]]
"""A completion to the places of its critical tokens, in order."""


def no_places(completion: Completion) -> list[int]:
    """Where no markers are given."""
    return []


def critical_places(markers: Sequence[str], decode: Decode) -> Places:
    """The place of each token in which a marker begins.

    A marker counts as a whole word: not with a letter or a digit beside its own first or last one.
    """
    pattern = marker_pattern(markers)

    def places(completion: Completion) -> list[int]:
        ids = completion.token_ids.tolist()
        return sorted({_token_at(match.start(), ids, decode) for match in pattern.finditer(completion.text)})

    return places


def marker_pattern(markers: Sequence[str]) -> re.Pattern[str]:
    """What finds any of the markers; of two that begin alike the longer one."""
    longest_first = sorted(markers, key=len, reverse=True)
    return re.compile("|".join(_whole(marker) for marker in longest_first))


def _whole(marker: str) -> str:
    before = r"(?<!\w)" if re.match(r"\w", marker[0]) else ""
    after = r"(?!\w)" if re.match(r"\w", marker[-1]) else ""
    return f"{before}{re.escape(marker)}{after}"


def _token_at(offset: int, ids: Sequence[int], decode: Decode) -> int:
    """The token that writes the character at `offset`: the first whose text up to its end goes beyond it.

    By bisection, as texts of longer beginnings are longer. It asks the tokenizer for beginnings and not for single
    tokens, because a token may be written differently by itself.
    """
    low, high = 0, len(ids) - 1
    while low < high:
        middle = (low + high) // 2
        if len(decode(ids[: middle + 1])) > offset:
            high = middle
        else:
            low = middle + 1
    return low
