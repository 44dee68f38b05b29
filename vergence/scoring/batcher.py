"""Requests that come at about the same time are computed together."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import final

from vergence.scoring.form import Asked

Compute = Callable[[Sequence[Asked]], Sequence[float]]
"""Responses [N] -> scores [N]; called by one thread at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    asked: Sequence[Asked]
    answer: "Future[list[float]]" = field(default_factory=Future)


@final
class Batcher:
    """One thread computes; any number of threads ask and wait.

    After a first request it waits `wait` seconds for others, up to `limit` responses, and computes them in one call.
    With `wait` 0 every request is computed by itself, and its scores do not depend on who else is asking.
    """

    def __init__(self, compute: Compute, *, wait: float, limit: int = 256) -> None:
        self._compute = compute
        self._wait = wait
        self._limit = limit
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="scores", daemon=True)
        self._thread.start()

    def scores(self, asked: Sequence[Asked]) -> list[float]:
        """Blocks until they are computed; raises what computing them raised."""
        waiting = _Waiting(asked)
        self._queue.put(waiting)
        return waiting.answer.result()

    def close(self) -> None:
        """Compute what is waiting, then end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        ended = False
        while not ended:
            first = self._queue.get()
            if first is None:
                return
            batch, ended = self._gathered(first)
            self._answer(batch)

    def _gathered(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        """A batch, and whether the end was found behind it."""
        batch, count = [first], len(first.asked)
        until = time.monotonic() + self._wait
        while count < self._limit and (left := until - time.monotonic()) > 0:
            try:
                waiting = self._queue.get(timeout=left)
            except queue.Empty:
                break
            if waiting is None:
                return batch, True
            batch.append(waiting)
            count += len(waiting.asked)
        return batch, False

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        try:
            scores = list(self._compute([one for waiting in batch for one in waiting.asked]))
        except BaseException as error:
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
            else:  # one request must not fail for another's mistake
                for waiting in batch:
                    self._answer([waiting])
            return
        place = 0
        for waiting in batch:
            waiting.answer.set_result(scores[place : place + len(waiting.asked)])
            place += len(waiting.asked)
