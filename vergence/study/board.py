"""What a person sees while a study goes on: one live line, or a line for each finished run when nobody is watching."""

import time
from typing import final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from vergence.study.plan import Job
from vergence.study.processes import Standing


@final
class Board:
    """Shows where a study is."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._begun = time.monotonic()
        self._last = ""
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        if console.is_terminal and not quiet:
            self._live.start()

    def __call__(self, standing: Standing, finished: Job | None) -> None:
        """Standing has changed; `finished` has just ended well, if it is a job."""
        if finished is not None:
            self._last = finished.name
        line = standing_line(standing) + (f"  last: {self._last}" if self._last else "")
        if self._live.is_started:
            self._live.update(Text(line, overflow="ellipsis", no_wrap=True))
        elif finished is not None and not self._quiet:
            minutes = (time.monotonic() - self._begun) / 60
            self._console.print(f"{minutes:6.1f} min  {line}", highlight=False, soft_wrap=True)

    def end(self) -> None:
        """Take the live line away."""
        self._live.stop()


def standing_line(standing: Standing) -> str:
    """For instance `done 3 of 10  left 7  running none, seed 1`."""
    left = standing.total - standing.done - standing.failed
    failed = f"  failed {standing.failed}" if standing.failed else ""
    names = ", ".join(job.name for job in standing.running)
    return f"done {standing.done} of {standing.total}{failed}  left {left}  running {names or 'nothing'}"
