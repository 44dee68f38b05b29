"""A reward model in a process of its own: its memory is its own, and its failures are not the run's.

python -m vergence.scoring.child DESCRIPTOR     (started by `ChildScorer`, talks over that descriptor)
"""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, final

import numpy as np

from vergence.errors import RunError, VergenceError
from vergence.pairs.comparisons import Member
from vergence.types import Doubles


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds after which a child counts as lost."""

    start: float = 600.0
    """From its beginning until the model is loaded."""
    request: float = 300.0
    """For the scores of one call."""


DEFAULT_DEADLINES = Deadlines()
"""Ten minutes to load, five to score."""


class _LostError(Exception):
    """The child gave no answer; the message says why."""


@final
class ChildScorer:
    """A `RawScorer` that asks another process; `load` (picklable) makes the reward model there.

    A child that dies or lets a deadline pass is started again once for each call. If that fails as well, RunError names
    the reason. An error of the reward model itself is raised here as it was raised there.
    """

    def __init__(self, load: Any, deadlines: Deadlines) -> None:
        self._load = load
        self._deadlines = deadlines
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._words: IO[bytes] | None = None

    def raw(self, members: Sequence[Member]) -> Doubles:
        """Members [N] -> raw scores [N]."""
        reasons = []
        for _ in range(2):
            try:
                found: Doubles = np.asarray(self._asked(list(members)), dtype=np.float64)
            except _LostError as lost:
                self.close()
                reasons.append(str(lost))
            else:
                return found
        raise RunError(
            f"the reward model's process failed and failed again: {'; '.join(dict.fromkeys(reasons))}; run again to "
            'continue, with [scores] place = "here" to have it in the same process'
        )

    def close(self) -> None:
        """End the child, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        for open_end in (self._connection, self._words):
            if open_end is not None:
                open_end.close()
        self._process = self._connection = self._words = None

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is none."""
        return self._process.pid if self._process else None

    def __del__(self) -> None:
        self.close()

    def _asked(self, members: list[Member]) -> Any:
        if self._process is None:
            self._start()
            self._exchange(self._load, self._deadlines.start, "loading the reward model")
        return self._exchange(members, self._deadlines.request, f"scoring {len(members)} responses")

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        package = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vergence.scoring.child", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._words,
            stderr=self._words,
            env=os.environ | {"PYTHONPATH": path},
        )
        theirs.close()
        self._connection = Connection(ours.detach())

    def _exchange(self, question: Any, deadline: float, what: str) -> Any:
        assert self._connection is not None
        try:
            self._connection.send(question)
            if not self._connection.poll(deadline):
                raise _LostError(f"{what} took more than {deadline:g} s")
            kind, answer = self._connection.recv()
        except (EOFError, OSError):
            raise _LostError(f"{what}: {self._last_words()}") from None
        if kind == "error":
            raise answer
        return answer

    def _last_words(self) -> str:
        """How the child ended, and the last line that it wrote."""
        assert self._process is not None
        assert self._words is not None
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "the connection was lost"
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").strip().splitlines()
        ended = f"it was killed by signal {-code}" if code < 0 else f"it ended with exit code {code}"
        return f"{ended}, {lines[-1][:200]}" if lines else ended


def attend(connection: Connection) -> None:
    """The child's life: take what makes the reward model, then answer until nobody asks any more."""
    scorer: Any = None
    while True:
        try:
            question = connection.recv()
        except EOFError:
            return
        try:
            if scorer is None:
                scorer, answer = question(), None
            else:
                answer = scorer.raw(question)
            reply: tuple[str, Any] = ("answer", answer)
        except VergenceError as error:
            reply = ("error", error)
        except Exception as error:
            reply = ("error", RunError(f"the reward model's process: {type(error).__name__}: {_one_line(error)}"))
        connection.send(reply)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


if __name__ == "__main__":
    attend(Connection(int(sys.argv[1])))
