"""What a stage may spend, so that variants of a recipe can be compared at equal cost."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

from vergence.types import Metrics, RolloutGroup


@final
class Budget:
    """Adds up generated tokens and CPU seconds of a stage's steps; says when one of the limits is spent.

    CPU seconds are those of the process between `begin` and `spend`, without what ran inside `paused`: measuring and
    monitoring are no part of training. They depend on the machine; tokens do not.
    """

    def __init__(self, *, tokens: float, cpu_seconds: float, clock: Callable[[], float] = time.process_time) -> None:
        self._limits = (tokens, cpu_seconds)
        self._tokens = 0
        self._seconds = 0.0
        self._clock = clock
        self._begun = clock()

    @property
    def spent(self) -> bool:
        """Whether one of the limits is reached."""
        return self._tokens >= self._limits[0] or self._seconds >= self._limits[1]

    @property
    def share(self) -> float:
        """How much of the limit that is nearest is spent, from 0; 0 without a limit, above 1 where it is overdrawn."""
        return max(self._tokens / self._limits[0], self._seconds / self._limits[1])

    def begin(self) -> None:
        """A step begins; what the process did before it, such as writing a checkpoint, is not counted."""
        self._begun = self._clock()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What runs in this block is not counted."""
        before = self._clock()
        try:
            yield
        finally:
            self._begun += self._clock() - before

    def spend(self, groups: Sequence[RolloutGroup]) -> Metrics:
        """A step ends: count its generated tokens and its CPU seconds."""
        self._tokens += sum(len(one.token_ids) for group in groups for one in group.completions)
        self._seconds += self._clock() - self._begun
        self.begin()
        return {"spent/tokens": float(self._tokens), "spent/cpu_seconds": self._seconds}

    def state_dict(self) -> dict[str, Any]:
        """What is spent."""
        return {"tokens": self._tokens, "seconds": self._seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self._tokens, self._seconds = state["tokens"], state["seconds"]
