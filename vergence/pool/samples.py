"""Sampling a whole data file, chunk by chunk, so that it can be interrupted anywhere and continued to the same bits.

OUT.samples is JSON lines. The first line says what was asked of whom: model, data, sampling. Each further line is one
problem's responses. Chunks are always the same problems together, because what is computed together may differ in
rounding from what is computed apart; a chunk that is not whole is done again.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, final

from vergence.errors import DirectoryError
from vergence.files import check_output, is_stream
from vergence.types import Problem

CHUNK = 64
"""Problems that are sampled together."""
Row = Mapping[str, Any]
SampleChunk = Callable[[Sequence[Problem]], Sequence[Row]]
"""The problems of a chunk -> a row for each, in order."""
Watch = Callable[[int, int], None]
"""(problems done, problems in all): called after each chunk."""


@final
class SampleFile:
    """The file beside an output."""

    def __init__(self, path: Path, head: Row, size: int) -> None:
        """Of `size` problems. Raises DirectoryError if it was made with other settings, or is no such file."""
        self._path = path
        self._head = json.dumps(head) + "\n"
        self._size = size
        self._done = self._recovered()

    @property
    def done(self) -> int:
        """Problems that are sampled."""
        return self._done

    def rows(self) -> Iterator[Row]:
        """What is sampled, in the order of the problems; read line by line, because responses may be long."""
        with self._path.open(encoding="utf-8") as file:
            file.readline()
            for line in file:
                yield json.loads(line)

    def append(self, rows: Sequence[Row]) -> None:
        """A further chunk, flushed to the disk."""
        self._write("".join(json.dumps(row) + "\n" for row in rows))
        self._done += len(rows)

    def _recovered(self) -> int:
        """How many rows are there in whole chunks; whatever follows them is dropped."""
        with self._path.open("rb") as file:
            first = file.readline().decode("utf-8", errors="replace")
            if first != self._head:
                self._check_head(first)
                os.truncate(self._path, 0)
                self._write(self._head)
                return 0
            ends = [len(first.encode())]
            for line in file:
                if line.endswith(b"\n"):  # the last line may be torn
                    ends.append(ends[-1] + len(line))
        count = len(ends) - 1
        whole = count if count == self._size else count // CHUNK * CHUNK
        os.truncate(self._path, ends[whole])
        return whole

    def _check_head(self, first: str) -> None:
        """Nothing, or the beginning of our own first line, is a file that was only just begun."""
        if self._head.startswith(first):
            return
        try:
            there = json.loads(first)
            kind = there["vergence"]
        except (ValueError, TypeError, KeyError):
            kind = None
        here = json.loads(self._head)
        if kind != here["vergence"]:
            raise DirectoryError(f"{self._path}: not a file of {here['vergence']}; choose another --out, or move it")
        raise DirectoryError(
            f"{self._path}: holds samples made with other settings ({_difference('', there, here)}); choose another "
            "--out, repeat those settings, or delete the file to sample anew"
        )

    def _write(self, text: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())


def sample_all(file: SampleFile, problems: Sequence[Problem], sample: SampleChunk, watch: Watch) -> None:
    """Sample what is not done yet."""
    for first in range(file.done, len(problems), CHUNK):
        file.append(sample(problems[first : first + CHUNK]))
        watch(file.done, len(problems))


@contextmanager
def sample_file(out: Path, head: Row, size: int) -> Iterator[SampleFile]:
    """OUT.samples, held until the block ends. Raises DirectoryError if another process holds it.

    Beside a stream there is no place for it: samples then end with the block, and nothing is continued.
    """
    check_output(out)
    if is_stream(out):
        with TemporaryDirectory() as folder:
            path = Path(folder, "samples")
            path.touch()
            yield SampleFile(path, head, size)
        return
    path = samples_path(out)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DirectoryError(f"{path}: another process is working on it; wait for it, or stop it") from None
        yield SampleFile(path, head, size)
    finally:
        os.close(descriptor)  # which also gives the lock back, as does the death of the process


def samples_path(out: Path) -> Path:
    """OUT.samples, beside OUT."""
    return out.with_name(out.name + ".samples")


def _difference(key: str, there: Any, here: Any) -> str:
    """The first key that differs, "inputs.files.data.a.jsonl.sha256" through objects in objects, and its two values."""
    if isinstance(there, dict) and isinstance(here, dict):
        name = next(name for name in [*there, *here] if there.get(name) != here.get(name))
        return _difference(f"{key}.{name}" if key else name, there.get(name), here.get(name))
    return f"{key} = {_shown(there)} there, {_shown(here)} here"


def _shown(value: Any) -> str:
    return "absent" if value is None else f"{value!r:.80}"
