"""Scores that are remembered, so that no member is scored twice.

A score depends, in its last bits, on what was computed in the same pass. So what is remembered decides the company in
which later members are computed, and a run that goes on from a checkpoint must remember exactly what the run that was
never stopped remembers at that point. Memory is therefore part of a checkpoint. A file needs no such care: each call's
scores are one line of it, so what a killed run left behind is all or nothing of a call that will come again.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

import torch

from vergence.errors import DataError
from vergence.model.recently_used import RecentlyUsed


@runtime_checkable
class Scores(Protocol):
    """Raw scores by member key."""

    def get(self, key: str) -> float | None:
        """The score, or None where it is not remembered."""
        ...

    def put(self, scores: Mapping[str, float]) -> None:
        """Remember the scores of one call."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What later calls depend on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        ...


@final
class Forgetful:
    """Remembers nothing from one call to the next."""

    def get(self, key: str) -> float | None:
        """Never there."""
        return None

    def put(self, scores: Mapping[str, float]) -> None:
        """Forgets them."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing lasts."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing lasts."""


@final
class ScoreMemory:
    """The scores that were used last, at most `capacity` of them."""

    def __init__(self, capacity: int) -> None:
        self._kept: RecentlyUsed[float] = RecentlyUsed(capacity)

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str) -> float | None:
        """The score, which then counts as just used."""
        return self._kept.get(key)

    def put(self, scores: Mapping[str, float]) -> None:
        """Remember, and forget what was not used the longest."""
        for key, score in scores.items():
            self._kept.put(key, score, 1)

    def state_dict(self) -> dict[str, Any]:
        """Keys [N, 16] as bytes and scores [N], the one that was not used the longest first."""
        items = self._kept.items()
        packed = b"".join(bytes.fromhex(key) for key, _ in items)
        return {
            "keys": torch.frombuffer(bytearray(packed), dtype=torch.uint8).view(-1, 16)
            if items
            else torch.empty(0, 16),
            "scores": torch.tensor([score for _, score in items], dtype=torch.float64),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self._kept.clear()
        keys = [bytes(row.tolist()).hex() for row in state["keys"]]
        self.put(dict(zip(keys, state["scores"].tolist(), strict=True)))


@final
class ScoreFile:
    """Scores in a file that outlives the process, one line a call, for one reward model after another.

    A torn last line is what a killed process left; it is dropped whole. Raises DataError where any other line is no
    record of scores.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self._path = path
        self._fingerprint = fingerprint
        self._kept: dict[str, float] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            self._read()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str) -> float | None:
        """The score that this reward model once gave."""
        return self._kept.get(key)

    def put(self, scores: Mapping[str, float]) -> None:
        """Append one line."""
        if not scores:
            return
        self._kept.update(scores)
        line = json.dumps({"model": self._fingerprint, "scores": dict(scores)}) + "\n"
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the file lasts by itself."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing: the file lasts by itself."""

    def _read(self) -> None:
        text = self._path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole != len(text):
            with self._path.open("r+b") as file:
                file.truncate(whole)
        for number, line in enumerate(text[:whole].splitlines(), start=1):
            try:
                record = json.loads(line)
                of_this_model = record["model"] == self._fingerprint
                scores = {str(key): float(score) for key, score in record["scores"].items()}
            except (ValueError, TypeError, KeyError, AttributeError):
                raise DataError(
                    f"{self._path}, line {number}: not a record of scores; delete the file, it will be made again"
                ) from None
            if of_this_model:
                self._kept.update(scores)
