"""The places of a packed row, by hand and against a list that names every token."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from vergence.model.packing import Grid, pack

CPU = torch.device("cpu")
Shape = tuple[list[int], list[int], list[int]]
"""(prompt lengths, owner of each completion, run tokens of each completion)"""


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """Ragged, with prompts that nobody asks and completions of no token, in any order."""
    prompts = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    members = draw(st.lists(st.tuples(st.integers(0, len(prompts) - 1), st.integers(0, 4)), max_size=7))
    return prompts, [owner for owner, _ in members], [length for _, length in members]


def named_row(shape: Shape) -> list[tuple[str, int, int]]:
    """What stands where: prompts, then the completions of prompt 0, of prompt 1, ..., each in the order given."""
    prompts, owner, lengths = shape
    row = [("prompt", index, place) for index, length in enumerate(prompts) for place in range(length)]
    for index in range(len(prompts)):
        for member, (of, length) in enumerate(zip(owner, lengths, strict=True)):
            row += [("completion", member, place) for place in range(length) if of == index]
    return row


def rows_of(grid: Grid, count: int) -> list[list[int]]:
    """Which token lies in each cell, -1 in padding."""
    cells = grid.spread(torch.arange(count, dtype=torch.float32)[:, None], -1.0)
    assert cells.shape == (grid.rows, 1, grid.width)
    return [[int(one) for one in row[0]] for row in cells]


def padded(rows: list[list[int]]) -> list[list[int]]:
    width = max(map(len, rows), default=0)
    return [row + [-1] * (width - len(row)) for row in rows]


def test_two_prompts_and_three_completions_by_hand() -> None:
    """Prompts of 3 and 2 tokens; completions of 2, 1 and 0 tokens belong to prompts 1, 0 and 1.

    row     0  1  2  3  4  5  6  7
            a  a  a  b  b  y  x  x        y, completion 1 of prompt a, comes before x, completion 0 of prompt b
    """
    packing, order = pack([3, 2], [1, 0, 1], [2, 1, 0], CPU)
    assert order.tolist() == [1, 0, 2]
    assert (packing.num_prompt_tokens, packing.num_completion_tokens, packing.num_tokens) == (5, 3, 8)
    assert packing.kept.tolist() == [2, 4, 5, 6, 7], "the last token of each prompt, and all of the completions"
    assert packing.completion_start.tolist() == [3, 2, 5], "among the kept ones"
    assert rows_of(packing.prompts, 5) == [[0, 1, 2], [3, 4, -1]]
    assert rows_of(packing.own, 3) == [[0, -1], [1, 2]]
    assert rows_of(packing.cross, 3) == [[0, -1], [1, 2]]
    assert packing.cross_prompts is None
    assert packing.ragged_prompts


def test_prompts_without_completions_have_no_row_of_queries() -> None:
    packing, _ = pack([2, 2, 2], [2, 0, 0], [3, 1, 1], CPU)
    assert packing.cross_prompts is not None
    assert packing.cross_prompts.tolist() == [0, 2]
    assert packing.cross.lengths.tolist() == [2, 3]
    assert rows_of(packing.own, 5) == [[0, -1, -1], [1, -1, -1], [2, 3, 4]]
    assert not packing.ragged_prompts


def test_prompts_alone() -> None:
    packing, order = pack([4, 1], (), (), CPU)
    assert order.tolist() == []
    assert (packing.num_completion_tokens, packing.own.rows, packing.cross.rows) == (0, 0, 0)
    assert packing.completion_start.tolist() == []
    assert packing.kept.tolist() == [3, 4]


def test_nothing_is_moved_where_nothing_is_padded() -> None:
    """The grids of equal lengths are views of the row."""
    packing, _ = pack([3, 3], [0, 0, 1, 1], [2, 2, 2, 2], CPU)
    for grid, count in ((packing.prompts, 6), (packing.own, 8), (packing.cross, 8)):
        flat = torch.rand(count, 2, 5)
        assert grid.source is None
        assert grid.cells is None
        assert grid.spread(flat).data_ptr() == flat.data_ptr()
        assert torch.equal(grid.gather(grid.spread(flat)), flat)


@given(shapes())
def test_every_token_is_where_the_list_of_names_has_it(shape: Shape) -> None:
    prompts, owner, lengths = shape
    row = named_row(shape)
    packing, order = pack(prompts, owner, lengths, CPU)
    assert packing.num_tokens == len(row)
    assert packing.num_prompt_tokens == sum(prompts)
    kept = [row[place] for place in packing.kept.tolist()]
    assert kept[: len(prompts)] == [("prompt", index, length - 1) for index, length in enumerate(prompts)]
    assert len(kept) == len(prompts) + sum(lengths)
    for member, length in enumerate(lengths):
        start = int(packing.completion_start[member])
        assert kept[start : start + length] == [("completion", member, place) for place in range(length)]
    assert order.tolist() == _sorted(owner)
    assert packing.ragged_prompts == (len(set(prompts)) > 1)


@given(shapes())
def test_the_grids_hold_prompts_completions_and_all_completions_of_a_prompt(shape: Shape) -> None:
    prompts, owner, lengths = shape
    packing, _ = pack(prompts, owner, lengths, CPU)
    behind = named_row(shape)[sum(prompts) :]
    ends = np.cumsum(prompts)
    members = [member for member in _sorted(owner) if lengths[member] > 0]
    own = [[place for place, name in enumerate(behind) if name[1] == member] for member in members]
    asked = sorted({owner[member] for member in members})
    cross = [[place for place, name in enumerate(behind) if owner[name[1]] == index] for index in asked]
    assert rows_of(packing.prompts, sum(prompts)) == padded(
        [list(range(end - length, end)) for end, length in zip(ends.tolist(), prompts, strict=True)]
    )
    assert rows_of(packing.own, len(behind)) == padded(own)
    assert rows_of(packing.cross, len(behind)) == padded(cross)
    attends_to = list(range(len(prompts))) if packing.cross_prompts is None else packing.cross_prompts.tolist()
    assert attends_to == asked


@given(shapes())
def test_spreading_and_gathering_gives_the_row_back(shape: Shape) -> None:
    prompts, owner, lengths = shape
    packing, _ = pack(prompts, owner, lengths, CPU)
    for grid, count in (
        (packing.prompts, sum(prompts)),
        (packing.own, sum(lengths)),
        (packing.cross, sum(lengths)),
    ):
        for tail in ((2,), (2, 3)):
            flat = torch.rand(count, *tail)
            for filling in (None, 7.0):
                spread = grid.spread(flat, filling)
                assert spread.shape == (grid.rows, 2, grid.width, *tail[1:])
                assert torch.equal(grid.gather(spread), flat)


def _sorted(owner: list[int]) -> list[int]:
    """Members by prompt, each prompt's in the order given."""
    return [member for index in sorted(set(owner)) for member, of in enumerate(owner) if of == index]
