"""Learning-rate schedules: functions from the number of an update to a factor of the base rate."""

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def constant() -> Schedule:
    """Always 1."""
    return lambda update: 1.0


def cosine(total: int, *, warmup: float, floor: float) -> Schedule:
    """Linear from 0 to 1 over the first `warmup` share of `total` updates, then half a cosine down to `floor`."""
    rising = max(1, round(total * warmup))

    def factor(update: int) -> float:
        if update < rising:
            return (update + 1) / rising
        progress = min(1.0, (update - rising) / max(1, total - rising))
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))

    return factor
