"""Gates of the preference score: among which completions of a group it counts."""

from collections.abc import Callable

import numpy as np

from vergence.types import Doubles

Gate = Callable[[Doubles, Doubles], Doubles]
"""(accuracy [G], format [G]), each 0 or 1 -> [G] 1.0 where the preference score counts, 0.0 where it does not."""


def correct_gate(right: Doubles, formed: Doubles) -> Doubles:
    """Among right answers only: the score ranks them, and can never make up for a wrong one."""
    return right


def formed_gate(right: Doubles, formed: Doubles) -> Doubles:
    """Among well-formed answers only."""
    return formed


def both_gate(right: Doubles, formed: Doubles) -> Doubles:
    """Among answers that are right and well-formed."""
    return right * formed


def no_gate(right: Doubles, formed: Doubles) -> Doubles:
    """Everywhere: the paper's reading (R1V2 Eq. 7)."""
    return np.ones_like(right)
