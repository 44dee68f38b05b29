"""Pictures that come as bytes, kept as files once: a folder in which a file's name is the SHA-256 of its content."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import final

from vergence.errors import DataError
from vergence.types import ImageRef, Problem

_ENDINGS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif", b"RIFF": ".webp", b"BM": ".bmp"}


def cache_folder() -> Path:
    """Where what can be made again is kept: `VERGENCE_CACHE`, or `vergence` in the user's cache folder."""
    named = os.environ.get("VERGENCE_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vergence"


@final
class ImageStore:
    """A folder of pictures by their content.

    Nothing is ever deleted from it: samples of a run that is continued point at its files. It may be deleted between
    runs; pictures are written again when their rows are read again.
    """

    def __init__(self, folder: Path, *, limit_bytes: int) -> None:
        self.folder = folder
        self._limit = limit_bytes
        self._size = -1

    def reference(self, content: bytes) -> ImageRef:
        """What the picture is called here, whether it is here yet or not."""
        digest = sha256(content).hexdigest()
        ending = next((name for begin, name in _ENDINGS.items() if content.startswith(begin)), ".bin")
        return ImageRef(str(self.folder / digest[:2] / f"{digest}{ending}"), digest)

    def keep(self, content: bytes) -> ImageRef:
        """Write the picture if it is not here yet.

        Raises DataError if the folder cannot be written, or would hold more than its limit.
        """
        image = self.reference(content)
        path = Path(image.path)
        try:
            if not path.is_file() or path.stat().st_size != len(content):  # another size was torn by a crash
                self._make_room(len(content))
                write_once(path, content)
        except OSError as error:
            raise DataError(
                f"{path}: a picture cannot be written ({error}); name another folder in VERGENCE_CACHE"
            ) from None
        return image

    def _make_room(self, wanted: int) -> None:
        if self._size < 0:
            self._size = sum(path.stat().st_size for path in self.folder.glob("??/*"))
        self._size += wanted
        if self._size > self._limit:
            raise DataError(
                f"{self.folder}: pictures of this data set would take more than {self._limit:,} bytes there; "
                "raise data.store_mb, empty the folder, or give pictures as files"
            )


def write_once(path: Path, content: bytes) -> None:
    """Write a file under another name and rename it, so that it is whole or absent, whoever else writes it too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(temporary).chmod(0o644)  # mkstemp's is for its owner alone
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def noted(store: ImageStore, contents: dict[str, bytes], content: bytes) -> ImageRef:
    """What the picture is called in the store, which stays as it is; `contents` gets its bytes under that path."""
    image = store.reference(content)
    contents[image.path] = content
    return image


@contextmanager
def laid_out(problem: Problem, contents: Mapping[str, bytes]) -> Iterator[Problem]:
    """The problem with pictures that are bytes as files, for as long as the block lasts."""
    if not contents:
        yield problem
        return
    with tempfile.TemporaryDirectory() as folder:
        images = []
        for image in problem.images:
            path = Path(folder, Path(image.path).name) if image.path in contents else Path(image.path)
            if image.path in contents:
                path.write_bytes(contents[image.path])
            images.append(replace(image, path=str(path)))
        yield replace(problem, images=tuple(images))


DEFAULT_STORE_MB = 102_400


def default_store() -> ImageStore:
    """The store in the cache folder, of at most 102 billion bytes."""
    return ImageStore(cache_folder() / "images", limit_bytes=DEFAULT_STORE_MB * 1_000_000)
