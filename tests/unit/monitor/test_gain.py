"""What the picture adds to the right answer, by hand."""

import pytest

from vergence.monitor.gain import gain_summary


def test_gain_by_hand() -> None:
    """Gains 1, -0.5, 2 and 0; the right responses stand with the first (3 of 4), the third (1) and the last (4)."""
    metrics = gain_summary([-1.0, -1.0, -1.0, -1.0], [-2.0, -0.5, -3.0, -1.0], [3.0, 0.0, 1.0, 4.0])
    assert pytest.approx(2.5 / 4) == metrics["perception/gain"]
    assert 0.5 == metrics["perception/gain_share"]
    assert 4 / 8 == metrics["perception/seen_share"]


def test_without_a_right_response_there_is_no_share_of_them() -> None:
    assert {"perception/gain": 1.0, "perception/gain_share": 1.0} == gain_summary([-1.0], [-2.0], [0.0])


def test_gold_answers_that_are_out_of_reach_are_left_out() -> None:
    assert {"perception/gain": -1.0, "perception/gain_share": 0.0, "perception/seen_share": 0.0} == gain_summary(
        [-2.0, -20.0, -31.0], [-1.0, -40.0, -99.0], [1.0, 5.0, 5.0]
    )
    assert {} == gain_summary([-21.0], [-2.0], [1.0])
    assert {} == gain_summary([], [], [])
