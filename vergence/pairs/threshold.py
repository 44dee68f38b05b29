"""The margin threshold tau (R1V2's 7, 10, 15, whose unit the paper does not say): a number, or a quantile.

A number means the same only for one reward model. A quantile of the reward model's own score gaps means the same for
every one: with quantile 0.3 the guard turns away the three tenths of the candidates that the model is least sure of.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

Tau = Callable[[Sequence[float]], float]
"""The margins of a round's candidates that reached the margin guard -> the threshold, in units of the margins."""


def given(value: float) -> Tau:
    """A number that the recipe says, in every round."""
    return lambda margins: value


def quantile(share: float) -> Tau:
    """The quantile of each round's own margins; between two of them it is interpolated linearly.

    Margins shrink as the policy learns: a tau that was measured once would refuse more in each round, until next to
    nothing is left to learn from. A round without candidates has no tau, and -inf refuses nothing.
    """
    return lambda margins: (
        float(np.quantile(np.asarray(margins, dtype=np.float64), share)) if len(margins) else -math.inf
    )
