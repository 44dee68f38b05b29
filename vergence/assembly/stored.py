"""Tensors that are read from a checkpoint's files piece by piece, so that none of them is ever whole in memory.

A safetensors file is an 8-byte length, a JSON header that says where each tensor lies, and the tensors' bytes. It is
read with plain file reads: a memory-mapped file counts as the process's memory as far as it was touched.
"""

import json
import math
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from vergence.errors import ModelError
from vergence.model.needed_files import weight_files

PIECE = 4 << 20
"""Numbers in one piece: 16 MB of float32."""

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""As safetensors names them."""


@runtime_checkable
class Source(Protocol):
    """One tensor, wherever its numbers are."""

    @property
    def dtype(self) -> torch.dtype:
        """Of its numbers."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Its axes."""
        ...

    def rows(self, start: int, stop: int) -> Tensor:
        """Rows `start` to `stop` of the first axis; a tensor without axes has one row."""
        ...


@dataclass(frozen=True, slots=True)
class InFile:
    """A tensor in a safetensors file."""

    path: Path
    offset: int
    """Of its first byte in the file."""
    dtype: torch.dtype
    shape: tuple[int, ...]

    def rows(self, start: int, stop: int) -> Tensor:
        """Read now, into memory of their own."""
        row = math.prod(self.shape[1:])
        buffer = bytearray((stop - start) * row * self.dtype.itemsize)
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.offset + start * row * self.dtype.itemsize)
            view = memoryview(buffer)
            while view:
                count = file.readinto(view)
                if not count:
                    raise ModelError(f"{self.path}: ends in the middle of a tensor; copy or download it again")
                view = view[count:]
        shape = (stop - start, *self.shape[1:]) if self.shape else ()
        return (
            torch.frombuffer(buffer, dtype=self.dtype).view(shape) if buffer else torch.empty(shape, dtype=self.dtype)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A tensor in memory, or one that torch has mapped."""

    tensor: Tensor

    @property
    def dtype(self) -> torch.dtype:
        """Of its numbers."""
        return self.tensor.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Its axes."""
        return tuple(self.tensor.shape)

    def rows(self, start: int, stop: int) -> Tensor:
        """A view."""
        return self.tensor[start:stop] if self.tensor.ndim else self.tensor


@dataclass(frozen=True, slots=True, eq=False)
class Extended:
    """A matrix with further rows behind its own."""

    base: Source
    more: Tensor

    @property
    def dtype(self) -> torch.dtype:
        """The base's."""
        return self.base.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """With the further rows."""
        return (self.base.shape[0] + len(self.more), *self.base.shape[1:])

    def rows(self, start: int, stop: int) -> Tensor:
        """Of both, one behind the other."""
        own = self.base.shape[0]
        parts = [self.base.rows(start, min(stop, own))] if start < own else []
        parts += [self.more[max(start - own, 0) : stop - own].to(self.dtype)] if stop > own else []
        return torch.cat(parts) if len(parts) > 1 else parts[0]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a tensor that holds several one behind the other: `length` rows at `first`, and again at every `stride`.

    Packed projections are stored so: queries, keys and values of all heads, or of one group of heads after another.
    """

    base: Source
    first: int
    length: int
    stride: int
    count: int
    """How many times."""

    @property
    def dtype(self) -> torch.dtype:
        """The base's."""
        return self.base.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the rows that are taken."""
        return (self.length * self.count, *self.base.shape[1:])

    def rows(self, start: int, stop: int) -> Tensor:
        """Of those that are taken, in order."""
        parts = []
        while start < stop:
            block, offset = divmod(start, self.length)
            taken = min(self.length - offset, stop - start)
            place = self.first + block * self.stride + offset
            parts.append(self.base.rows(place, place + taken))
            start += taken
        return torch.cat(parts) if parts else self.base.rows(0, 0)


def pieces(source: Source) -> Iterator[Tensor]:
    """All of a tensor in order, a bounded number of rows at a time."""
    count = source.shape[0] if source.shape else 1
    step = max(1, PIECE // max(1, math.prod(source.shape[1:])))
    for start in range(0, count, step):
        yield source.rows(start, min(start + step, count))


def whole(source: Source) -> Tensor:
    """All of a tensor at once."""
    return source.rows(0, source.shape[0] if source.shape else 1)


def stored_tensors(directory: Path) -> dict[str, Source]:
    """Every tensor of a checkpoint by its name in the files. Raises ModelError if there is none, or a damaged file."""
    found: dict[str, Source] = {}
    for path in weight_files(directory):
        if not path.is_file():
            raise ModelError(f"{path}: is missing, and the checkpoint's index names it; copy or download it again")
        found |= _in_pickle(path) if path.suffix == ".bin" else _in_safetensors(path)
    return found


def _in_safetensors(path: Path) -> dict[str, Source]:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise ModelError(f"{path}: is no safetensors file, or a part of one; copy or download it again")
        try:
            header: dict[str, Any] = json.loads(file.read(length))
        except ValueError as error:
            raise ModelError(f"{path}: its header cannot be read ({error}); copy or download it again") from error
    found: dict[str, Source] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in DTYPES:
            raise ModelError(
                f"{path}: tensor {name} has the number format {entry['dtype']}; expected one of {', '.join(DTYPES)} "
                "(a quantised checkpoint has to be turned back into 16 or 32 bits first)"
            )
        start, stop = entry["data_offsets"]
        if 8 + length + stop > size:
            raise ModelError(f"{path}: ends before tensor {name} does; copy or download it again")
        found[name] = InFile(path, 8 + length + start, DTYPES[entry["dtype"]], tuple(entry["shape"]))
    return found


def _in_pickle(path: Path) -> dict[str, Source]:
    try:
        tensors: dict[str, Tensor] = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{path}: cannot be read ({reason}); save the model again as safetensors") from error
    return {name: Held(tensor) for name, tensor in tensors.items()}
