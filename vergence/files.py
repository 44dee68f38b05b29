"""Files that commands write: a regular file is whole or absent, and what is no file is written into.

A regular file is written under another name beside it and renamed, so that whoever looks sees the old one or the new
one. A device, a FIFO or a pipe (`/dev/null`, `/dev/stdout`, `>(gzip)`) has a reader or a meaning of its own that a
rename would take away: it is opened and written into.
"""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from vergence.errors import DirectoryError, RunError

TEMPORARY = ".tmp-"
"""How names of files begin that are not whole yet."""
_LINKS = 40
"""Symbolic links that are followed, as in Linux."""


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """What is written in the block becomes the file when the block ends well, or goes straight into a stream.

    A symbolic link stays, and its target is written. Raises DirectoryError for a place that cannot be written, and
    RunError where writing fails.
    """
    check_output(path)
    try:
        if is_stream(path):
            with os.fdopen(_opened(path), "wb") as stream:
                yield stream
            return
        target = Path(os.path.realpath(path))
        temporary = target.with_name(f"{TEMPORARY}{os.getpid()}-{target.name}")
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror or error})") from None


def write_whole(path: Path, text: str) -> None:
    """Replace a file by its new text in one step, or write the text into a stream."""
    write_whole_bytes(path, text.encode())


def write_whole_bytes(path: Path, content: bytes) -> None:
    """Replace a file by its new content in one step, or write the content into a stream."""
    with whole_file(path) as file:
        file.write(content)


def is_stream(path: Path) -> bool:
    """Whether there is something that is written into: no regular file, or a descriptor of this process.

    `/dev/stdout` is one also where the shell has sent it into a file: that file is the shell's to name.
    """
    return _own_descriptor(path) is not None or (path.exists() and not path.is_file())


def check_output(path: Path) -> None:
    """Raises DirectoryError if nothing can be written there; said before any work is done."""
    if path.is_dir():
        raise DirectoryError(f"{path}: is a directory; name a file")
    if path.is_socket():
        raise DirectoryError(f"{path}: is a socket, which cannot be written into; name a file or a FIFO")
    folder = Path(os.path.realpath(path)).parent
    if is_stream(path):
        return
    if not folder.is_dir():
        raise DirectoryError(f"{path}: the directory {folder} does not exist; create it first, or name another file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DirectoryError(f"{path}: the directory {folder} may not be written; name another file")


def seen_from(out: Path, path: str) -> str:
    """A path as lines of `out` name it: relative to the folder of the file; absolute in a stream, which has none."""
    return os.path.abspath(path) if is_stream(out) else os.path.relpath(path, Path(os.path.realpath(out)).parent)


def _opened(path: Path) -> int:
    """A descriptor to write into a stream. Never creates a file, should the stream have gone meanwhile."""
    own = _own_descriptor(path)
    if own is None:
        return os.open(path, os.O_WRONLY)
    sys.stdout.flush()  # what was printed before comes before
    return os.dup(own)


def _own_descriptor(path: Path) -> int | None:
    """The number of the descriptor of this process that `/dev/stdout`, `/dev/fd/N` and the like stand for (Linux).

    Opening such a name anew would start a file from its beginning, over what was written before.
    """
    place = os.path.abspath(path)
    for _ in range(_LINKS):
        folder, name = os.path.split(place)
        folder = os.path.realpath(folder)
        place = os.path.join(folder, name)
        if folder == f"/proc/{os.getpid()}/fd" and name.isdigit():
            return int(name)
        if not os.path.islink(place):
            return None
        place = os.path.join(folder, os.readlink(place))
    return None
