"""DAPO's soft length penalty by its three pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.reward.length import soft_overlong


@pytest.mark.parametrize(
    ("length", "loss"),
    [(1, 0.0), (16, 0.0), (17, -0.25), (18, -0.5), (19, -0.75), (20, -1.0), (21, -1.0), (400, -1.0)],
)
def test_limit_20_margin_4(length: int, loss: float) -> None:
    assert pytest.approx(loss) == soft_overlong(length, 20, 4)


@given(limit=st.integers(1, 500), share=st.floats(0.01, 1.0), length=st.integers(0, 600))
def test_it_falls_with_length_from_0_to_minus_1(limit: int, share: float, length: int) -> None:
    margin = max(1, round(share * limit))
    now, longer = soft_overlong(length, limit, margin), soft_overlong(length + 1, limit, margin)
    assert -1.0 <= longer <= now <= 0.0
    assert (now == 0.0) == (length <= limit - margin)
    assert (now == -1.0) == (length >= limit)
