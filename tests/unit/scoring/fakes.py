"""Reward models that need no weights, for tests of everything around them. Picklable, so that a child can have one."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vergence.errors import DataError
from vergence.pairs.comparisons import Member
from vergence.types import Doubles


class Counting:
    """Scores a response by its text and its prompt's pictures, and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def raw(self, members: Sequence[Member]) -> Doubles:
        self.calls.append([completion.text for _, completion in members])
        return np.array([score(member) for member in members])


def score(member: Member) -> float:
    """Anything that tells members apart."""
    prompt, completion = member
    letters = "".join([prompt.problem.question, *(image.sha256 for image in prompt.problem.images), completion.text])
    return sum(ord(letter) * (place + 1) for place, letter in enumerate(letters)) / 1000


class InCompany:
    """Scores whose last digits depend on how many members are scored together, as those of a real model do."""

    def raw(self, members: Sequence[Member]) -> Doubles:
        return np.array([score(member) + 1e-9 * len(members) for member in members])


@dataclass(frozen=True)
class Making:
    """What a child is handed: makes a fake there."""

    kind: str
    folder: str

    def __call__(self) -> "Behaving":
        if self.kind == "cannot load":
            raise DataError("there is no such model; name another")
        with (Path(self.folder) / "started").open("a") as file:
            file.write(f"{os.getpid()}\n")
        return Behaving(self.kind, self.folder)


@dataclass(frozen=True)
class Behaving:
    """Well, or badly in a chosen way."""

    kind: str
    folder: str

    def raw(self, members: Sequence[Member]) -> Doubles:
        started = len((Path(self.folder) / "started").read_text().splitlines())
        match self.kind:
            case "dies":
                print("out of memory, as it were", flush=True)
                os._exit(9)
            case "dies once" if started == 1:
                os._exit(9)
            case "sleeps":
                time.sleep(60)
            case "complains":
                raise DataError("picture 7 is broken; replace it")
            case "errs":
                raise ZeroDivisionError("two\nlines")
        return np.array([score(member) for member in members])
