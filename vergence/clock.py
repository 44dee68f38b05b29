"""Where the seconds of a step go."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from vergence.types import Metrics


@final
class Clock:
    """Adds up wall seconds by phase. A phase that runs inside another is taken out of it, so phases never overlap."""

    def __init__(self) -> None:
        self._spent: dict[str, float] = {}
        self._inner: list[float] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """The seconds of this block belong to `name`."""
        begun = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            spent = time.perf_counter() - begun
            own = spent - self._inner.pop()
            self._spent[name] = self._spent.get(name, 0.0) + own
            if self._inner:
                self._inner[-1] += spent

    def spent(self, name: str) -> float:
        """Seconds of a phase since the last `take`; 0.0 if it has not run."""
        return self._spent.get(name, 0.0)

    def take(self) -> Metrics:
        """`seconds/PHASE` since the last call."""
        taken = {f"seconds/{name}": seconds for name, seconds in self._spent.items()}
        self._spent = {}
        return taken
