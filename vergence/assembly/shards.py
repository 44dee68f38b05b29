"""Writing a checkpoint's weights as safetensors files of bounded size, without ever holding one of them.

Where each tensor will lie follows from shapes and number formats alone, so a file's header is written first and the
numbers follow, piece by piece.
"""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from vergence.assembly.stored import DTYPES, Source, pieces, stored_tensors
from vergence.errors import DirectoryError

GIGABYTE = 10**9

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """One tensor as it is to be written."""

    name: str
    """In the files."""
    source: Source
    dtype: torch.dtype
    """What its numbers are turned into."""

    @property
    def nbytes(self) -> int:
        """In the file."""
        return math.prod(self.source.shape) * self.dtype.itemsize


def write_shards(directory: Path, tensors: Sequence[Written], shard_bytes: int) -> list[Path]:
    """Write `model.safetensors`, or numbered files of at most `shard_bytes` each (a larger tensor has one to itself)
    with their index. Gives the files.
    """
    groups = shards(tensors, shard_bytes)
    count = len(groups)
    names = [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
    names = names if count > 1 else ["model.safetensors"]
    for name, group in zip(names, groups, strict=True):
        _write(directory / name, group)
    if count > 1:
        index = {
            "metadata": {
                "total_parameters": sum(math.prod(tensor.source.shape) for tensor in tensors),
                "total_size": sum(tensor.nbytes for tensor in tensors),
            },
            "weight_map": {tensor.name: name for name, group in zip(names, groups, strict=True) for tensor in group},
        }
        (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
    return [directory / name for name in names]


def check_room(target: Path, nbytes: int) -> None:
    """Raises DirectoryError if the disk on which `target` will lie has no room for so many bytes."""
    place = next(folder for folder in (target, *target.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if free < nbytes:
        raise DirectoryError(
            f"{target.parent}: the checkpoint takes {nbytes / GIGABYTE:.1f} GB, and {free / GIGABYTE:.1f} GB are "
            "free; choose a place on a larger disk"
        )


def shards(tensors: Sequence[Written], shard_bytes: int) -> list[list[Written]]:
    """The tensors in order, cut where the next one would not fit any more."""
    groups: list[list[Written]] = [[]]
    used = 0
    for tensor in tensors:
        if groups[-1] and used + tensor.nbytes > shard_bytes:
            groups.append([])
            used = 0
        groups[-1].append(tensor)
        used += tensor.nbytes
    return groups


def unequal(directory: Path, tensors: Sequence[Written]) -> list[str]:
    """Names of tensors whose bytes in the files are not those of their sources, read piece by piece; empty is good."""
    found = stored_tensors(directory)
    wrong = sorted(found.keys() ^ {tensor.name for tensor in tensors})
    for tensor in tensors:
        stored = found.get(tensor.name)
        if stored is None:
            continue
        same = stored.shape == tensor.source.shape and stored.dtype == tensor.dtype
        if not same or not all(
            torch.equal(_bits(ours), _bits(theirs.to(tensor.dtype)))
            for ours, theirs in zip(pieces(stored), pieces(tensor.source), strict=True)
        ):
            wrong.append(tensor.name)
    return wrong


def _write(path: Path, group: Sequence[Written]) -> None:
    # wide numbers first, so that all of them begin at a multiple of their size
    ordered = sorted(group, key=lambda tensor: -tensor.dtype.itemsize)
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for tensor in ordered:
        end = offset + tensor.nbytes
        shape = list(tensor.source.shape)
        header[tensor.name] = {"dtype": _NAMES[tensor.dtype], "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for tensor in ordered:
            for piece in pieces(tensor.source):
                file.write(_bits(piece.to(tensor.dtype)).numpy().data)


def _bits(piece: torch.Tensor) -> torch.Tensor:
    return piece.contiguous().reshape(-1).view(torch.uint8)
