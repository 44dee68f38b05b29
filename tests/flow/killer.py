"""Runs `vergence` in a child process and, if asked to, kills it (SIGKILL) at a chosen moment.

line        after the COUNT-th line was appended to a log
torn-line   in the middle of the COUNT-th line
torn-state  in the middle of writing the COUNT-th checkpoint's state
flush       while the COUNT-th file is flushed inside an atomic write
rename      right before the COUNT-th atomic write takes its final name
renamed     right after it did
"""

import io
import json
import os
import signal
import sys
from pathlib import Path

import torch

from vergence.cli import main
from vergence.run import checkpoint, journal


def run_and_die(arguments: list[str], out: str, error: str, place: str, count: int) -> None:
    """The child: output to files, the fatal moment armed, then the real entry point."""
    for name, number in ((out, 1), (error, 2)):
        os.dup2(os.open(name, os.O_CREAT | os.O_WRONLY, 0o600), number)
    if place:
        _arm(place, count)
    sys.exit(main(arguments))


def _arm(place: str, count: int) -> None:
    seen = 0

    def due(where: str) -> bool:
        nonlocal seen
        seen += where == place
        return where == place and seen == count

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    append, save, flush, rename = journal.Journal.append, torch.save, checkpoint._flush, Path.rename

    def killing_append(self, row) -> None:
        if due("torn-line"):
            with self._path.open("a") as file:
                file.write(json.dumps({"stage": "torn"})[:9])
            die()
        append(self, row)
        if due("line"):
            die()

    def killing_save(state, path) -> None:
        if due("torn-state"):
            whole = io.BytesIO()
            save(state, whole)
            Path(path).write_bytes(whole.getvalue()[: whole.tell() // 2])
            die()
        save(state, path)

    def killing_flush(path) -> None:
        if due("flush"):
            die()
        flush(path)

    def killing_rename(self, target):
        if due("rename"):
            die()
        renamed = rename(self, target)
        if due("renamed"):
            die()
        return renamed

    journal.Journal.append = killing_append
    torch.save = killing_save
    checkpoint._flush = killing_flush
    Path.rename = killing_rename
