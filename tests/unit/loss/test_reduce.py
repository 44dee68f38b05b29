"""The three reductions against numbers worked out by hand; neither micro-batches nor padding may change them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vergence.loss.reduce import Reduction, constant_length, sequence_mean, token_mean

TERMS = torch.tensor([[1.0, 2.0, 3.0], [4.0, 100.0, 100.0], [6.0, 8.0, 100.0]])
MASK = torch.tensor([[True, True, True], [True, False, False], [True, True, False]])
EACH = pytest.mark.parametrize("reduce", [token_mean, sequence_mean, constant_length(6)])


def test_token_mean_counts_every_token_the_same() -> None:
    """(1 + 2 + 3 + 4 + 6 + 8) / 6."""
    assert pytest.approx(4.0) == token_mean(TERMS, MASK, 6, 3).item()


def test_sequence_mean_counts_every_sequence_the_same() -> None:
    """(2 + 4 + 7) / 3."""
    assert pytest.approx(13 / 3) == sequence_mean(TERMS, MASK, 6, 3).item()


def test_a_constant_length_counts_a_token_the_same_in_every_batch() -> None:
    """24 / (3 * 6), and half of it with as many idle sequences; the number of tokens has no say."""
    reduce = constant_length(6)
    assert pytest.approx(24 / 18) == reduce(TERMS, MASK, 6, 3).item() == reduce(TERMS, MASK, 60, 3).item()
    assert pytest.approx(24 / 36) == reduce(TERMS, MASK, 6, 6).item()


def test_the_counts_come_from_outside() -> None:
    """Twice the tokens or the sequences: half the loss."""
    assert pytest.approx(2.0) == token_mean(TERMS, MASK, 12, 3).item()
    assert pytest.approx(13 / 6) == sequence_mean(TERMS, MASK, 6, 6).item()


def ragged(lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(lengths)
    terms = torch.arange(len(lengths) * width, dtype=torch.float64).view(len(lengths), width).cos()
    return terms, torch.arange(width) < torch.tensor(lengths)[:, None]


@EACH
@given(lengths=st.lists(st.integers(1, 6), min_size=2, max_size=8), data=st.data())
def test_micro_batches_that_know_the_whole_count_add_up_to_the_whole(
    reduce: Reduction, lengths: list[int], data: st.DataObject
) -> None:
    terms, mask = ragged(lengths)
    cut = data.draw(st.integers(1, len(lengths) - 1))
    tokens, sequences = sum(lengths), len(lengths)
    parts = [reduce(terms[part], mask[part], tokens, sequences) for part in (slice(0, cut), slice(cut, None))]
    assert pytest.approx(reduce(terms, mask, tokens, sequences).item()) == sum(part.item() for part in parts)


@EACH
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=6), extra=st.integers(1, 5))
def test_padding_changes_nothing(reduce: Reduction, lengths: list[int], extra: int) -> None:
    terms, mask = ragged(lengths)
    wider = torch.cat([terms, torch.full((len(lengths), extra), 1e6, dtype=torch.float64)], dim=1)
    wider_mask = torch.cat([mask, torch.zeros(len(lengths), extra, dtype=torch.bool)], dim=1)
    expected = reduce(terms, mask, sum(lengths), len(lengths)).item()
    assert pytest.approx(expected) == reduce(wider, wider_mask, sum(lengths), len(lengths)).item()


@EACH
def test_padding_gets_no_gradient(reduce: Reduction) -> None:
    terms = TERMS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(reduce(terms, MASK, 6, 3), terms)
    assert MASK.tolist() == (gradient != 0).tolist()


@EACH
def test_a_row_without_tokens_counts_nothing(reduce: Reduction) -> None:
    assert 0.0 == reduce(torch.ones(1, 2), torch.zeros(1, 2, dtype=torch.bool), 0, 0).item()
