"""Both implementations of a piece of attention against a softmax written out in double precision."""

import pytest
import torch
from torch import Tensor

from vergence.model.pieces import Fused, Piece, Products, piece_for

EACH = pytest.mark.parametrize("piece", [Fused(), Products()], ids=["fused", "products"])
SCALE = 0.4
NEVER = 1e30


def drawn(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def hiding(lengths: list[int], width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """[R, 1, 1, M] -inf behind each row's own number of keys."""
    behind = torch.arange(width) >= torch.tensor(lengths)[:, None]
    return torch.zeros(behind.shape, dtype=dtype).masked_fill_(behind, float("-inf"))[:, None, None]


def written_out(query: Tensor, key: Tensor, value: Tensor, *, causal: bool, mask: Tensor | None) -> tuple[Tensor, ...]:
    """Output and normaliser, one row, head and query at a time."""
    rows, heads, width, _ = query.shape
    outputs, logs = [], []
    for row in range(rows):
        for head in range(heads):
            for place in range(width):
                seen = [
                    other
                    for other in range(key.shape[2])
                    if not (causal and other > place) and (mask is None or mask[row, 0, 0, other] == 0)
                ]
                scores = SCALE * torch.stack(
                    [(query[row, head, place] * key[row, head, other]).sum() for other in seen]
                )
                outputs.append(scores.softmax(0) @ value[row, head, seen])
                logs.append(scores.logsumexp(0))
    return torch.stack(outputs).view(rows, heads, width, -1), torch.stack(logs).view(rows, heads, width)


def inputs(causal: bool, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Query, key, value and the gradient of the output: 2 rows, 3 heads, 5 queries, 5 or 7 keys, 8 wide."""
    keys = 5 if causal else 7
    sizes = ((2, 3, 5, 8), (2, 3, keys, 8), (2, 3, keys, 8), (2, 3, 5, 8))
    query, key, value, gradient = (drawn(*size, seed=seed, dtype=dtype) for seed, size in enumerate(sizes))
    return query, key, value, gradient


CASES = pytest.mark.parametrize(
    ("causal", "mask"),
    [(False, None), (True, None), (False, hiding([7, 3], 7))],
    ids=["all keys", "causal", "some keys hidden"],
)


@EACH
@CASES
def test_output_and_normaliser(piece: Piece, causal: bool, mask: Tensor | None) -> None:
    assert isinstance(piece, Piece)
    query, key, value, _ = inputs(causal)
    output, log = piece.forward(query, key, value, causal=causal, mask=mask, scale=SCALE)
    expected, expected_log = written_out(query.double(), key.double(), value.double(), causal=causal, mask=mask)
    assert log.dtype == torch.float32
    torch.testing.assert_close(output.double(), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(log.double(), expected_log, atol=1e-6, rtol=1e-5)


@EACH
@CASES
def test_gradients(piece: Piece, causal: bool, mask: Tensor | None) -> None:
    query, key, value, gradient = inputs(causal)
    output, log = piece.forward(query, key, value, causal=causal, mask=mask, scale=SCALE)
    ours = piece.backward(gradient, query, key, value, output, log, causal=causal, mask=mask, scale=SCALE)
    exact = [one.double().requires_grad_(True) for one in (query, key, value)]
    theirs = torch.autograd.grad(written_out(*exact, causal=causal, mask=mask)[0], exact, gradient.double())
    for mine, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.double(), expected, atol=2e-6, rtol=1e-5)


@EACH
def test_given_the_normaliser_of_a_larger_softmax_the_gradients_are_this_pieces_share(piece: Piece) -> None:
    """Ten keys as pieces of 4 and 6: shares of the query's gradient add up, those of keys and values lie side by side.

    The second piece hides two keys of one row.
    """
    query, gradient = drawn(2, 3, 5, 8, seed=0), drawn(2, 3, 5, 8, seed=3)
    key, value = drawn(2, 3, 10, 8, seed=1), drawn(2, 3, 10, 8, seed=2)
    parts = [(slice(0, 4), None), (slice(4, 10), hiding([6, 4], 6))]
    forward = [
        piece.forward(query, key[:, :, cut], value[:, :, cut], causal=False, mask=mask, scale=SCALE)
        for cut, mask in parts
    ]
    joined = torch.logaddexp(forward[0][1], forward[1][1])
    output = sum((log - joined).exp()[..., None] * one for one, log in forward)

    exact = [one.double().requires_grad_(True) for one in (query, key, value)]
    expected, expected_log = written_out(*exact, causal=False, mask=hiding([10, 8], 10))
    torch.testing.assert_close(output.double(), expected.detach(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(joined.double(), expected_log.detach(), atol=1e-6, rtol=1e-5)
    theirs = torch.autograd.grad(expected, exact, gradient.double())
    shares = [
        piece.backward(
            gradient, query, key[:, :, cut], value[:, :, cut], output, joined, causal=False, mask=mask, scale=SCALE
        )
        for cut, mask in parts
    ]
    ours = (
        shares[0][0] + shares[1][0],
        torch.cat([share[1] for share in shares], 2),
        torch.cat([share[2] for share in shares], 2),
    )
    for mine, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.double(), right, atol=2e-6, rtol=1e-5)


@EACH
@pytest.mark.parametrize("causal", [False, True], ids=["all keys", "causal"])
def test_padding_cells_get_and_give_no_gradient(piece: Piece, causal: bool) -> None:
    """Cells with a gradient of zero and an infinite normaliser, as a grid fills them: the others stay exact."""
    query, key, value, gradient = inputs(causal)
    output, log = piece.forward(query, key, value, causal=causal, mask=None, scale=SCALE)
    gradient[1, :, 3:] = 0.0
    expected = piece.backward(gradient, query, key, value, output, log, causal=causal, mask=None, scale=SCALE)
    log[1, :, 3:] = NEVER
    query[1, :, 3:], output[1, :, 3:] = 50.0, -50.0
    padded = piece.backward(gradient, query, key, value, output, log, causal=causal, mask=None, scale=SCALE)
    assert all(bool(one.isfinite().all()) for one in padded)
    assert not bool(padded[0][1, :, 3:].any())
    for mine, right in zip(padded, expected, strict=True):
        torch.testing.assert_close(mine, right, atol=1e-6, rtol=1e-5)


@EACH
@CASES
def test_half_precision_is_close(piece: Piece, causal: bool, mask: Tensor | None) -> None:
    """bfloat16 carries 8 bits, so about 1 part in 100 of the largest value; the normaliser stays fp32."""
    query, key, value, gradient = inputs(causal, torch.bfloat16)
    low = None if mask is None else mask.bfloat16()
    output, log = piece.forward(query, key, value, causal=causal, mask=low, scale=SCALE)
    ours = piece.backward(gradient, query, key, value, output, log, causal=causal, mask=low, scale=SCALE)
    exact = [one.double().requires_grad_(True) for one in (query, key, value)]
    expected, expected_log = written_out(*exact, causal=causal, mask=mask)
    theirs = torch.autograd.grad(expected, exact, gradient.double())
    assert log.dtype == torch.float32
    torch.testing.assert_close(log.double(), expected_log.detach(), atol=2e-2, rtol=1e-2)
    for mine, right in zip((output, *ours), (expected.detach(), *theirs), strict=True):
        assert mine.dtype == torch.bfloat16
        assert float((mine.double() - right).abs().max()) < 0.02 * float(right.abs().max())


def test_the_kernel_of_torch_is_for_cpus_alone() -> None:
    assert isinstance(piece_for(torch.device("cpu")), Fused)
    assert isinstance(piece_for(torch.device("cuda")), Products)
