"""Tensors of a checkpoint in its authors' layout, found for the names that they have in a transformers class.

The class says which tensors there must be; an `Origin` says where each of them stands in the files. So a tensor that is
missing, one that nobody asked for and one of another shape are all known, by the names in the files, before anything is
written.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vergence.assembly.stored import Rows, Source
from vergence.errors import ModelError

Shape = tuple[int, ...]
_COMPUTED = ("rotary_emb.inv_freq",)
"""Ends of names of tables that older versions of transformers stored; they follow from the config."""


@dataclass(frozen=True, slots=True)
class Block:
    """Which rows of a packed tensor: `length` at `first`, and again at every `stride`."""

    first: int
    length: int
    stride: int
    rows: int
    """Of the packed tensor."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a tensor stands in the files."""

    name: str
    block: Block | None = None
    """None where it is the whole stored tensor."""


def gathered(
    directory: Path,
    stored: Mapping[str, Source],
    wanted: Mapping[str, Shape],
    origin: Callable[[str], Origin],
    *,
    unread: Callable[[str], bool] = lambda name: False,
) -> dict[str, Source]:
    """Every wanted tensor by its name in the class: name -> shape in, name -> source out.

    `unread` says which stored names may be left over. Raises ModelError, naming tensors as the files do, where one is
    missing, has another shape than the config makes it, or is left over.
    """
    origins = {name: origin(name) for name in wanted}
    missing = sorted({place.name for place in origins.values()} - stored.keys())
    if missing:
        raise ModelError(
            f"{directory}: its files lack {len(missing)} tensors that the config asks for, {_some(missing)}; copy or "
            "download it again"
        )
    found: dict[str, Source] = {}
    for name, shape in wanted.items():
        place, source = origins[name], stored[origins[name].name]
        expected = shape if place.block is None else (place.block.rows, *shape[1:])
        if source.shape != expected:
            raise ModelError(
                f"{directory}: tensor {place.name} has the shape {source.shape} in the files, and the config makes it "
                f"{expected}; one of the two belongs to another model"
            )
        found[name] = source if place.block is None else _rows(source, place.block)
    used = {place.name for place in origins.values()}
    over = sorted(name for name in stored.keys() - used if not name.endswith(_COMPUTED) and not unread(name))
    if over:
        raise ModelError(
            f"{directory}: its files hold {len(over)} tensors that the config does not account for, {_some(over)}; the "
            "model has parts that cannot be converted"
        )
    return found


def _rows(source: Source, block: Block) -> Rows:
    return Rows(source, block.first, block.length, block.stride, block.rows // block.stride)


def _some(names: list[str]) -> str:
    return f"{', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
