"""How many tokens a decoder has computed: what a claim about saved work is checked against."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final


@dataclass(frozen=True, slots=True)
class Work:
    """Tokens that went through a decoder, forward."""

    prompt_tokens: int
    completion_tokens: int

    def __add__(self, other: "Work") -> "Work":
        return Work(self.prompt_tokens + other.prompt_tokens, self.completion_tokens + other.completion_tokens)

    @property
    def tokens(self) -> int:
        """Of both kinds."""
        return self.prompt_tokens + self.completion_tokens


NO_WORK = Work(0, 0)


@final
class Meter:
    """Counts the work of one policy."""

    def __init__(self) -> None:
        self._work = NO_WORK
        self._running = True

    def add(self, *, prompt_tokens: int = 0, completion_tokens: int = 0) -> None:
        """Work that is about to be done."""
        if self._running:
            self._work = self._work + Work(prompt_tokens, completion_tokens)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside is not counted: monitors and measurements are no part of a step's work."""
        before, self._running = self._running, False
        try:
            yield
        finally:
            self._running = before

    def take(self) -> Work:
        """The work since the last call."""
        taken, self._work = self._work, NO_WORK
        return taken
