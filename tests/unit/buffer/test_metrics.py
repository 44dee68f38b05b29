"""Figures of a selection, by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.buffer.metrics import AGE_EDGES, USE_EDGES, selection_metrics, shares
from vergence.buffer.selection import Sampled, Selected
from vergence.types import Draw, Origin

from ..builders import sample


def replay(age: int, uses: int) -> Draw:
    return Draw(sample(), Origin.REPLAY, age, uses)


FRESH = Draw(sample(), Origin.FRESH, 0)
SAMPLED = Sampled(batches=3, groups=6, groups_used=2, samples=24, effective_samples=9)


def test_metrics_by_hand() -> None:
    """A batch of 8 got 5 samples, two of them replayed, 3 and 8 versions old, for the first and the third time."""
    draws = (FRESH, FRESH, FRESH, replay(3, 1), replay(8, 3))
    metrics = selection_metrics(Selected(draws, (), 8, 17, SAMPLED), 8)
    expected = {
        "rollout/batches": 3.0,
        "rollout/groups": 6.0,
        "rollout/groups_used": 2.0,
        "effective/fresh_samples": 9 / 24,
        "effective/batch": 5 / 8,
        "buffer/replay_share": 2 / 5,
        "buffer/age_mean": 5.5,
        "buffer/age_max": 8.0,
        "buffer/size": 17.0,
    }
    assert expected == {name: metrics[name] for name in expected}
    binned = {name: value for name, value in metrics.items() if name not in expected and value > 0}
    assert binned == {"buffer/age_2_3": 0.5, "buffer/age_8_15": 0.5, "buffer/uses_1": 0.5, "buffer/uses_2_3": 0.5}


@pytest.mark.parametrize("draws", [(), (FRESH,)])
def test_metrics_of_an_empty_batch_and_of_one_without_replay_are_zeros(draws: tuple[Draw, ...]) -> None:
    metrics = selection_metrics(Selected(draws, (), 8, 0, SAMPLED), 8)
    assert len(draws) / 8 == metrics["effective/batch"]
    assert [0.0, 0.0, 0.0] == [metrics[f"buffer/{name}"] for name in ("replay_share", "age_mean", "age_max")]
    assert not any(name.startswith(("buffer/uses_", "buffer/age_0")) for name in metrics)


def test_bins_are_named_after_what_they_hold() -> None:
    values = [0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 999]
    assert ["0", "1", "2_3", "4_7", "8_15", "16_31", "32_63", "64_up"] == list(shares(values, AGE_EDGES))
    counts = [round(14 * share) for share in shares(values, AGE_EDGES).values()]
    assert [1, 1, 2, 2, 2, 2, 2, 2] == counts
    assert {"1": 0.25, "2_3": 0.25, "4_7": 0.25, "8_up": 0.25} == shares([1, 3, 4, 8], USE_EDGES)


@given(st.lists(st.integers(1, 500), min_size=1))
def test_shares_add_up_to_one(values: list[int]) -> None:
    for edges in (AGE_EDGES, USE_EDGES):
        assert pytest.approx(1.0) == sum(shares(values, edges).values())
