"""Keys and values while completions grow: a prompt's once, whatever the size of its group; a completion's own in place.

Nothing is copied when a token is added. Rows that have finished are taken out now and then (see `GroupCache.keep`), so
that all copies together stay below a small multiple of one cache.
"""

from dataclasses import dataclass, field
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vergence.model.shared_prefix import SharedPrefix

FIRST_WIDTH = 64
"""Tokens a cache has room for at first; it doubles when they are used up."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Remembering:
    """Attends within prompts, and keeps every layer's keys and values."""

    inner: SharedPrefix
    keys: dict[int, Float[Tensor, "L K d"]] = field(default_factory=dict)
    values: dict[int, Float[Tensor, "L K d"]] = field(default_factory=dict)

    @property
    def kept(self) -> Int[Tensor, "P"]:
        """The prompts' last tokens."""
        return self.inner.kept

    def attend(
        self,
        layer: int,
        query: Float[Tensor, "L H d"],
        key: Float[Tensor, "L K d"],
        value: Float[Tensor, "L K d"],
        scale: float,
    ) -> Float[Tensor, "L H d"]:
        """As the inner pattern."""
        self.keys[layer], self.values[layer] = key, value
        return self.inner.attend(layer, query, key, value, scale)


@final
class GroupCache:
    """The pattern of decoding: R rows, each one new token, attend to their prompts and to what they have written.

    Rows are ordered by prompt. R shrinks when rows are dropped.
    """

    def __init__(self, prompts: Remembering, num_completions: int) -> None:
        packing = prompts.inner.packing
        self._prompts = {
            layer: (
                packing.prompts.spread(key).flatten(0, 1).mT.contiguous(),
                packing.prompts.spread(prompts.values[layer]).flatten(0, 1),
            )
            for layer, key in prompts.keys.items()
        }
        """[P * K, d, S] keys, as the product with queries reads them, and [P * K, S, d] values of each layer."""
        some = next(iter(prompts.keys.values()))
        hidden, device = packing.hidden_prompt_cells(some.dtype), some.device
        self._mask = None if hidden is None else hidden[:, None]
        self._own: dict[int, tuple[Tensor, Tensor]] = {}
        """[R * K, W, d] keys and values of each layer, in use as far as is written."""
        self._written = 0
        self._seats = _Seats.full(packing.prompts.rows, num_completions, device)

    @property
    def kept(self) -> None:
        """Every row's token is asked for."""
        return None

    def attend(
        self,
        layer: int,
        query: Float[Tensor, "R H d"],
        key: Float[Tensor, "R K d"],
        value: Float[Tensor, "R K d"],
        scale: float,
    ) -> Float[Tensor, "R H d"]:
        """As a pattern of the model's own forward pass."""
        return self.attend_scaled(layer, query * scale, key, value)

    def attend_scaled(
        self, layer: int, query: Float[Tensor, "R H d"], key: Float[Tensor, "R K d"], value: Float[Tensor, "R K d"]
    ) -> Float[Tensor, "R H d"]:
        """One softmax over the prompt's keys and the row's own, the new token's included."""
        rows, heads, width = key.shape
        upto = self._written + 1
        own_keys, own_values = self._write(layer, key, value)
        prompt_keys, prompt_values = self._prompts[layer]
        asked = query.view(rows, heads, -1, width)
        repeats, prompt_width = asked.shape[2], prompt_keys.shape[2]
        crossed = torch.bmm(self._seats.spread(asked), prompt_keys)
        if self._mask is not None:
            crossed = crossed + self._mask.repeat_interleave(heads, 0)
        own = torch.bmm(asked.view(rows * heads, repeats, width), own_keys[:, :upto].mT)
        scores = torch.cat([self._seats.gather(crossed, heads, repeats), own.view(rows, heads, repeats, upto)], dim=-1)
        weights = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(scores.dtype)
        of_prompt = torch.bmm(self._seats.spread(weights[..., :prompt_width]), prompt_values)
        own_weights = weights.view(rows * heads, repeats, -1)[..., prompt_width:]
        of_own = torch.bmm(own_weights, own_values[:, :upto]).view(rows, heads, repeats, width)
        return (of_own + self._seats.gather(of_prompt, heads, repeats)).view(rows, heads * repeats, width)

    def advance(self) -> None:
        """All layers have written the new token."""
        self._written += 1

    def keep(self, rows: Int[Tensor, "R2"]) -> None:
        """Drop all other rows, and prompts that have no row left."""
        before = len(self._seats.owner)
        self._own = {
            layer: (_kept(keys, rows, before), _kept(values, rows, before))
            for layer, (keys, values) in self._own.items()
        }
        count = self._seats.prompts
        self._seats, prompts = self._seats.kept(rows)
        if prompts is not None:
            self._prompts = {
                layer: (_kept(keys, prompts, count), _kept(values, prompts, count))
                for layer, (keys, values) in self._prompts.items()
            }
            self._mask = None if self._mask is None else self._mask.index_select(0, prompts)

    def _write(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        rows, heads, width = key.shape
        if layer not in self._own:
            room = (rows * heads, FIRST_WIDTH, width)
            self._own[layer] = (key.new_empty(room), value.new_empty(room))
        elif self._own[layer][0].shape[1] == self._written:
            self._own[layer] = (_doubled(self._own[layer][0]), _doubled(self._own[layer][1]))
        keys, values = self._own[layer]
        keys.view(rows, heads, -1, width).select(2, self._written).copy_(key)
        values.view(rows, heads, -1, width).select(2, self._written).copy_(value)
        return keys, values


@dataclass(frozen=True, slots=True, eq=False)
class _Seats:
    """Rows at the table of their prompt: [R] <-> [P, C]."""

    owner: Int[Tensor, "R"]
    prompts: int
    width: int
    """C, the most rows that a prompt has."""
    cells: Int[Tensor, "R"] | None
    """Row -> its cell; None if every prompt has as many rows as any other."""

    @staticmethod
    def full(prompts: int, rows: int, device: torch.device) -> "_Seats":
        return _Seats(torch.arange(prompts, device=device).repeat_interleave(rows), prompts, rows, None)

    def kept(self, rows: Tensor) -> tuple["_Seats", Tensor | None]:
        """The seats that are left, and the prompts that are left, if fewer."""
        remaining, owner, counts = self.owner[rows].unique_consecutive(return_inverse=True, return_counts=True)
        width = int(counts.max())
        firsts = counts.cumsum(0) - counts
        seat = torch.arange(len(rows), device=rows.device) - firsts[owner]
        cells = None if len(rows) == len(remaining) * width else owner * width + seat
        return _Seats(owner, len(remaining), width, cells), None if len(remaining) == self.prompts else remaining

    def spread(self, rows: Float[Tensor, "R K r x"]) -> Float[Tensor, "PK X x"]:
        if self.cells is None:
            seated = rows
        else:
            seated = rows.new_zeros(self.prompts * self.width, *rows.shape[1:]).index_copy_(0, self.cells, rows)
        _, heads, repeats, width = rows.shape
        grouped = seated.view(self.prompts, self.width, heads, repeats, width).transpose(1, 2)
        return grouped.reshape(self.prompts * heads, self.width * repeats, width)

    def gather(self, seated: Float[Tensor, "PK X x"], heads: int, repeats: int) -> Float[Tensor, "R K r x"]:
        grouped = seated.view(self.prompts, heads, self.width, repeats, -1).transpose(1, 2)
        rows = grouped.reshape(self.prompts * self.width, heads, repeats, -1)
        return rows if self.cells is None else rows.index_select(0, self.cells)


def _doubled(room: Float[Tensor, "RK W d"]) -> Float[Tensor, "RK W2 d"]:
    wider = room.new_empty(room.shape[0], 2 * room.shape[1], room.shape[2])
    wider[:, : room.shape[1]] = room
    return wider


def _kept(blocks: Float[Tensor, "nK W d"], kept: Int[Tensor, "m"], count: int) -> Float[Tensor, "mK W d"]:
    """Of `count` blocks of K heads each, those that are named."""
    some: Tensor = blocks.unflatten(0, (count, -1)).index_select(0, kept).flatten(0, 1)
    return some
