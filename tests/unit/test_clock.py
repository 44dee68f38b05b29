"""Seconds by phase: nothing counted twice, nothing kept after it was taken."""

import time

import pytest

from vergence.clock import Clock


def test_phases_add_up_and_inner_ones_are_taken_out_of_outer_ones() -> None:
    clock = Clock()
    with clock.phase("outer"):
        time.sleep(0.02)
        with clock.phase("inner"):
            time.sleep(0.05)
    with clock.phase("inner"):
        time.sleep(0.01)
    taken = clock.take()
    assert set(taken) == {"seconds/outer", "seconds/inner"}
    assert 0.02 <= taken["seconds/outer"] < 0.05 <= taken["seconds/inner"] - 0.01
    assert clock.take() == {}


def test_a_phase_that_fails_is_counted_and_the_clock_goes_on() -> None:
    clock = Clock()
    with pytest.raises(ValueError, match="broken"), clock.phase("outer"), clock.phase("inner"):
        raise ValueError("broken")
    with clock.phase("next"):
        pass
    assert set(clock.take()) == {"seconds/outer", "seconds/inner", "seconds/next"}
