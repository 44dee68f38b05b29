"""What a person sees while a run goes on: one live line per stage; plain lines when nobody is watching."""

import time
from collections.abc import Mapping
from enum import IntEnum
from typing import final

from rich.console import Console
from rich.live import Live
from rich.text import Text

_SHOWN = {
    "accuracy": "accuracy",
    "tuning/greedy_accuracy": "tuning",
    "loss": "loss",
    "effective/fresh": "effective",
    "hallucination/response_rate": "halluc.",
    "tokens_per_second": "tok/s",
}
"""Metric to the short name it has on the line, in the order of the line."""


class Verbosity(IntEnum):
    """`--quiet`, nothing, `--verbose`."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2


@final
class Progress:
    """The live line. On a terminal it is redrawn in place; elsewhere only its last state is printed."""

    def __init__(self, console: Console, verbosity: Verbosity) -> None:
        self._console = console
        self._verbosity = verbosity
        self._live: Live | None = None
        self._line = ""
        self._shown: dict[str, float] = {}
        self._begun = 0.0
        self._first = 0
        self._stage = ""

    def say(self, text: object) -> None:
        """Print something once, unless `--quiet`."""
        if self._verbosity >= Verbosity.NORMAL:
            self._console.print(text, highlight=False)

    def begin(self, stage: str, total: int, first: int) -> None:
        """A stage's steps begin, or continue at `first`."""
        self._stage, self._first, self._begun, self._shown = stage, first, time.monotonic(), {}
        self._line = f"{stage:<14} step {first}/{total}"
        if self._verbosity >= Verbosity.NORMAL and self._console.is_terminal:
            self._live = Live(Text(self._line), console=self._console, refresh_per_second=8, transient=True)
            self._live.start()

    def step(self, done: int, total: int, metrics: Mapping[str, float]) -> None:
        """One step is over."""
        self._shown.update({name: metrics[name] for name in _SHOWN if name in metrics})
        elapsed = time.monotonic() - self._begun
        left = elapsed / max(1, done - self._first) * (total - done)
        figures = "  ".join(f"{_SHOWN[name]} {_figure(self._shown[name])}" for name in _SHOWN if name in self._shown)
        self._line = f"{self._stage:<14} step {done}/{total}  {figures}  {left:.0f} s left"
        if self._live is not None:
            self._live.update(Text(self._line, overflow="ellipsis", no_wrap=True))
        elif self._verbosity >= Verbosity.VERBOSE and done % 10 == 0:
            self._console.print(self._line, highlight=False)

    def end(self) -> None:
        """The steps of the stage are over, or the run is being stopped."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._verbosity >= Verbosity.NORMAL and self._line:
            self._console.print(self._line.rsplit("  ", 1)[0], highlight=False, soft_wrap=True)
        self._line = ""


def _figure(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
