"""Attention of a packed row against one softmax for each token, written as a loop over sequences."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vergence.model.attention import Pattern
from vergence.model.packing import pack
from vergence.model.pieces import Fused, Piece, Products
from vergence.model.shared_prefix import SharedPrefix, shared_prefix

CPU = torch.device("cpu")
EACH = pytest.mark.parametrize("piece", [Fused(), Products()], ids=["fused", "products"])
SCALE = 0.3


def sequences(prompts: list[int], owner: list[int], lengths: list[int]) -> list[tuple[list[int], list[int]]]:
    """(places of the keys, places of the queries) of each sequence in a row that is laid out by prompt."""
    ends = torch.tensor(prompts).cumsum(0).tolist()
    places = [list(range(end - length, end)) for end, length in zip(ends, prompts, strict=True)]
    found = [(place, place) for place in places]
    start = sum(prompts)
    for index in range(len(prompts)):
        for of, length in zip(owner, lengths, strict=True):
            if of == index:
                own = list(range(start, start + length))
                found.append((places[index] + own, own))
                start += length
    return found


def slow(query: Tensor, key: Tensor, value: Tensor, row: list[tuple[list[int], list[int]]]) -> Tensor:
    """Token by token and head by head: a query sees the keys of its sequence up to itself."""
    heads, repeats = query.shape[1], query.shape[1] // key.shape[1]
    out: dict[int, Tensor] = {}
    for keys, queries in row:
        for place in queries:
            seen = keys[: keys.index(place) + 1]
            out[place] = torch.stack(
                [
                    (SCALE * key[seen, head // repeats] @ query[place, head]).softmax(0) @ value[seen, head // repeats]
                    for head in range(heads)
                ]
            )
    return torch.stack([out[place] for place in range(len(query))])


def compare(
    piece: Piece, prompts: list[int], owner: list[int], lengths: list[int], *, heads: int = 4, key_heads: int = 2
) -> None:
    """Outputs and the three gradients, for random queries, keys, values and a random gradient of the output."""
    packing, _ = pack(prompts, owner, lengths, CPU)
    count = sum(prompts) + sum(lengths)
    rng = torch.Generator().manual_seed(count)
    given_ = [torch.randn(count, width, 8, generator=rng) for width in (heads, key_heads, key_heads)]
    gradient = torch.randn(count, heads, 8, generator=rng)
    ours = [one.clone().requires_grad_(True) for one in given_]
    output = SharedPrefix(packing, piece).attend(0, *ours, SCALE)
    exact = [one.double().requires_grad_(True) for one in given_]
    expected = slow(*exact, sequences(prompts, owner, lengths))
    torch.testing.assert_close(output.double(), expected, atol=1e-6, rtol=1e-5)
    mine = torch.autograd.grad(output, ours, gradient)
    theirs = torch.autograd.grad(expected, exact, gradient.double())
    for one, right in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one.double(), right, atol=3e-6, rtol=1e-5)


LAYOUTS = {
    "equal lengths": ([4, 4], [0, 0, 1, 1], [3, 3, 3, 3]),
    "one prompt": ([5], [0, 0, 0], [2, 4, 1]),
    "ragged everywhere": ([3, 6, 2], [0, 0, 1, 1, 1, 2], [2, 5, 1, 3, 3, 4]),
    "ragged prompts alone": ([3, 6], [0, 0, 1, 1], [3, 3, 3, 3]),
    "a prompt that nobody asks": ([3, 5, 4], [2, 0, 2], [3, 2, 1]),
    "the longest prompt is not asked": ([3, 9, 3], [0, 2], [2, 2]),
    "the last prompt is not asked": ([2, 4, 3], [0, 1], [2, 3]),
    "completions of no token": ([4, 3], [0, 0, 1, 1], [0, 3, 2, 0]),
    "a prompt whose completions have no token": ([4, 3, 5], [0, 1, 1, 2], [3, 0, 0, 2]),
    "completions out of order": ([3, 4, 2], [2, 0, 1, 0, 2, 1], [4, 1, 3, 2, 2, 5]),
    "nothing but prompts": ([3, 5], [], []),
    "no completion has a token": ([3, 5], [1, 0], [0, 0]),
    "prompts of one token": ([1, 1], [0, 1, 1], [1, 2, 1]),
}


@EACH
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_every_layout(piece: Piece, layout: tuple[list[int], list[int], list[int]]) -> None:
    compare(piece, *layout)


@EACH
@pytest.mark.parametrize(("heads", "key_heads"), [(1, 1), (4, 4), (4, 1), (6, 2)])
def test_every_grouping_of_heads(piece: Piece, heads: int, key_heads: int) -> None:
    compare(piece, *LAYOUTS["ragged everywhere"], heads=heads, key_heads=key_heads)


@given(st.data())
def test_any_layout(data: st.DataObject) -> None:
    prompts = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    members = data.draw(st.lists(st.tuples(st.integers(0, len(prompts) - 1), st.integers(0, 3)), max_size=4))
    compare(Fused(), prompts, [owner for owner, _ in members], [length for _, length in members], heads=2, key_heads=1)


def test_two_implementations_agree_in_half_precision() -> None:
    """To about 1 part in 100, which is what bfloat16 carries; and with the exact values."""
    prompts, owner, lengths = LAYOUTS["ragged everywhere"]
    packing, _ = pack(prompts, owner, lengths, CPU)
    rng = torch.Generator().manual_seed(0)
    given_ = [torch.randn(packing.num_tokens, width, 8, generator=rng).bfloat16() for width in (4, 2, 2)]
    expected = slow(*(one.double() for one in given_), sequences(prompts, owner, lengths))
    for piece in (Fused(), Products()):
        output = SharedPrefix(packing, piece).attend(0, *given_, SCALE)
        assert output.dtype == torch.bfloat16
        assert float((output.double() - expected).abs().max()) < 0.02 * float(expected.abs().max())


def test_no_key_is_repeated_for_the_completions_of_a_prompt() -> None:
    """The keys that completions attend to are the prompt's own, once, however many completions there are."""

    class Spy(Products):
        def __init__(self) -> None:
            self.cross: list[tuple[int, ...]] = []

        def forward(self, query: Tensor, key: Tensor, value: Tensor, **how):  # type: ignore[no-untyped-def]
            if not how["causal"]:
                self.cross.append((tuple(query.shape), tuple(key.shape)))  # type: ignore[arg-type]
            return super().forward(query, key, value, **how)

    spy = Spy()
    packing, _ = pack([7, 7], [0] * 16 + [1] * 16, [3] * 32, CPU)
    row = [torch.randn(14 + 96, heads, 8) for heads in (4, 2, 2)]
    SharedPrefix(packing, spy).attend(0, *row, SCALE)
    assert spy.cross == [((2, 2, 16 * 3 * 2, 8), (2, 2, 7, 8))]


def test_the_pattern_of_a_device() -> None:
    packing, _ = pack([2], [0], [1], CPU)
    pattern = shared_prefix(packing, CPU)
    assert isinstance(pattern, Pattern)
    assert pattern.packing is packing
