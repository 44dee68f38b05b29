"""The adaptive entropy weight: by hand over a few updates, and its limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.loss.entropy import adapted_weight, applied_weight


def test_a_few_updates_by_hand() -> None:
    """Target 0.2: up while below, down at or above it, never below 0 nor above 0.003."""
    weight, seen = 0.0, []
    for entropy in (0.3, 0.1, 0.15, 0.1, 0.1, 0.2, 0.25, 0.1):
        weight = adapted_weight(weight, entropy, target=0.2, step=0.001, largest=0.003)
        seen.append(weight)
    assert pytest.approx([0.0, 0.001, 0.002, 0.003, 0.003, 0.002, 0.001, 0.002]) == seen


def test_it_counts_only_below_the_target() -> None:
    assert 0.004 == applied_weight(0.004, 0.19, target=0.2)
    assert 0.0 == applied_weight(0.004, 0.2, target=0.2)
    assert 0.0 == applied_weight(0.004, 0.5, target=0.2)


@given(weight=st.floats(0, 1), entropy=st.floats(0, 5), step=st.floats(1e-6, 2.0))
def test_it_moves_by_one_step_within_its_limits(weight: float, entropy: float, step: float) -> None:
    moved = adapted_weight(weight, entropy, target=0.2, step=step, largest=1.0)
    assert 0.0 <= moved <= 1.0
    assert abs(moved - weight) <= step * (1 + 1e-9)
    assert moved >= weight if entropy < 0.2 else moved <= weight
