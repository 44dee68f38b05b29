"""The normal band of a signal and its two-sided alarm."""

import math
from dataclasses import replace
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.monitor.alarms import Alarms
from vergence.monitor.bands import Band, Rule, Side, Watched, band_of, calm, learn_band, read

from ..builders import through_a_file

BOTH = frozenset(Side)
OPEN = Band(-math.inf, math.inf)
RULE = Rule(
    signal="perception/kl",
    sides=BOTH,
    learn=4,
    spread=2.0,
    absolute=0.0,
    relative=0.0,
    limits=OPEN,
    patience=3,
)
VALUES = st.floats(-1e6, 1e6)


def fed(rule: Rule, values: list[float], watched: Watched | None = None) -> tuple[Watched, list[int]]:
    """The state after some readings, and the places of those that raised an alarm."""
    watched, raised = watched or Watched(), []
    for place, value in enumerate(values):
        reading = read(rule, watched, float(value))
        watched = reading.watched
        raised += [place] if reading.alarm else []
    return watched, raised


# ── the band ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_band_by_hand() -> None:
    """1, 2, 3, 4: mean 2.5, variance 5/3."""
    half = 2 * math.sqrt(5 / 3)
    band = learn_band([1.0, 2.0, 3.0, 4.0], spread=2.0, absolute=0.0, relative=0.0)
    assert (pytest.approx(2.5 - half), pytest.approx(2.5 + half)) == (band.low, band.high)


@pytest.mark.parametrize(
    ("absolute", "relative", "half"),
    [(0.5, 0.0, 0.5), (0.0, 0.1, 1.0), (0.5, 0.1, 1.0), (3.0, 0.1, 3.0), (0.0, 0.0, 0.0)],
)
def test_readings_that_are_all_alike_leave_the_floor_of_the_width(
    absolute: float, relative: float, half: float
) -> None:
    assert Band(-10 - half, -10 + half) == learn_band([-10.0] * 4, spread=4.0, absolute=absolute, relative=relative)


def test_one_reading_has_no_spread() -> None:
    assert Band(1.75, 2.25) == learn_band([2.0], spread=9.0, absolute=0.25, relative=0.0)


@given(st.lists(VALUES, min_size=2, max_size=20), st.floats(0, 5), st.floats(0, 5), st.floats(0, 2))
def test_the_band_holds_the_mean_and_is_as_wide_as_each_of_its_three_reasons(
    values: list[float], spread: float, absolute: float, relative: float
) -> None:
    band = learn_band(values, spread=spread, absolute=absolute, relative=relative)
    mean = fmean(values)
    slack = 1e-6 * (1 + max(map(abs, values)))
    assert band.low - slack <= mean <= band.high + slack
    half = (band.high - band.low) / 2
    assert half == pytest.approx(max(spread * stdev(values), absolute, relative * abs(mean)), rel=1e-6, abs=slack)


# ── readings ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_band_is_learnt_from_the_first_readings_and_from_no_later_one() -> None:
    watched, raised = fed(RULE, [1, 2, 3, 4])
    assert [] == raised
    half = 2 * math.sqrt(5 / 3)
    assert pytest.approx(2.5 + half) == band_of(RULE, watched).high
    later, _ = fed(RULE, [2.6, 2.4, 4.9], watched)
    assert (1, 2, 3, 4) == watched.learnt == later.learnt


def test_while_the_band_is_learnt_nothing_is_outside() -> None:
    assert OPEN == band_of(RULE, fed(RULE, [1, 100, -100])[0])


@pytest.mark.parametrize(("value", "side"), [(99.0, Side.HIGH), (-99.0, Side.LOW)])
def test_an_alarm_takes_as_many_readings_in_a_row_as_patience_says(value: float, side: Side) -> None:
    watched, _ = fed(RULE, [1, 2, 3, 4])
    for count in (1, 2):
        reading = read(RULE, watched, value)
        watched = reading.watched
        assert reading.outside
        assert reading.alarm is None
        assert count == (watched.above if side is Side.HIGH else watched.below)
    alarm = read(RULE, watched, value).alarm
    assert alarm is not None
    assert (side, value, 3, "perception/kl") == (alarm.side, alarm.value, alarm.readings, alarm.signal)


def test_the_next_alarm_takes_as_many_again() -> None:
    assert [6, 9] == fed(RULE, [1, 2, 3, 4, 99, 99, 99, 99, 99, 99, 99])[1]


def test_a_reading_inside_breaks_the_row() -> None:
    assert [] == fed(RULE, [1, 2, 3, 4, 99, 99, 2, 99, 99, 2, 99, 99])[1]


def test_the_two_edges_have_rows_of_their_own() -> None:
    assert [] == fed(RULE, [1, 2, 3, 4, 99, -99, 99, -99, 99, -99])[1]


def test_only_the_watched_side_is_bad() -> None:
    low = replace(RULE, sides=frozenset({Side.LOW}))
    assert [] == fed(low, [1, 2, 3, 4, 99, 99, 99, 99])[1]
    assert [6] == fed(low, [1, 2, 3, 4, -99, -99, -99])[1]


def test_an_edge_itself_is_inside() -> None:
    rule = replace(RULE, learn=0, limits=Band(0.0, 1.0), patience=1)
    assert [2, 3] == fed(rule, [0.0, 1.0, -1e-9, 1 + 1e-9])[1]


def test_limits_hold_while_the_band_is_learnt_and_keep_bad_readings_out_of_it() -> None:
    rule = replace(RULE, limits=Band(-math.inf, 10.0), patience=2)
    watched, raised = fed(rule, [1, 50, 50, 2, 3, 4])
    assert [2] == raised
    assert (1, 2, 3, 4) == watched.learnt


def test_limits_and_band_together_leave_what_is_inside_both() -> None:
    watched, _ = fed(RULE, [1, 2, 3, 4])
    learnt = band_of(RULE, watched)
    assert Band(learnt.low, 3.0) == band_of(replace(RULE, limits=Band(-50.0, 3.0)), watched)


def test_what_is_not_a_number_is_neither_outside_nor_learnt_from() -> None:
    watched, raised = fed(replace(RULE, patience=1), [1, math.nan, 2, 3, 4, math.nan])
    assert [] == raised
    assert (1, 2, 3, 4) == watched.learnt


def test_an_infinite_reading_is_outside_and_not_learnt_from() -> None:
    watched, raised = fed(replace(RULE, patience=1), [1, math.inf, 2, 3, 4, math.inf])
    assert [5] == raised
    assert (1, 2, 3, 4) == watched.learnt


def test_calm_forgets_rows_and_keeps_the_band() -> None:
    watched, _ = fed(RULE, [1, 2, 3, 4, 99, 99])
    assert 2 == watched.above
    assert Watched((1.0, 2.0, 3.0, 4.0)) == calm(watched)


@given(st.lists(VALUES, min_size=5, max_size=40))
def test_alarms_are_as_many_as_complete_rows(values: list[float]) -> None:
    """Counted again by a plain loop over the readings after the learning."""
    _, raised = fed(RULE, values)
    band = learn_band(values[:4], spread=2.0, absolute=0.0, relative=0.0)
    row, last, expected = 0, 0, 0
    for value in values[4:]:
        side = -1 if value < band.low else 1 if value > band.high else 0
        row = row + 1 if side and side == last else int(side != 0)
        last = side
        if row == 3:
            row, last, expected = 0, 0, expected + 1
    assert expected == len(raised)


@given(st.lists(st.floats(0.4, 0.6), min_size=1, max_size=60))
def test_a_signal_that_stays_within_its_floor_never_raises_an_alarm(values: list[float]) -> None:
    assert [] == fed(replace(RULE, absolute=0.2, patience=1), values)[1]


# ── all signals together ─────────────────────────────────────────────────────────────────────────────────────────


def two_signals() -> Alarms:
    other = replace(RULE, signal="rollout/truncated", sides=frozenset({Side.HIGH}), learn=2, patience=1)
    return Alarms([RULE, other])


def test_a_step_asks_the_rules_of_the_signals_that_it_logged() -> None:
    alarms = two_signals()
    assert (0, 0) == (alarms.watch({"loss": 1.0}).read, alarms.watch({}).learning)
    first = alarms.watch({"rollout/truncated": 0.1, "perception/kl": 1.0, "loss": 3.0})
    assert (2, 2, ()) == (first.read, first.learning, first.outside)
    second = alarms.watch({"rollout/truncated": 0.1})
    assert (1, 0) == (second.read, second.learning)
    (learnt,) = second.learnt
    assert ("rollout/truncated", Band(-math.inf, 0.1), 2) == (learnt.signal, learnt.band, learnt.readings)
    third = alarms.watch({"rollout/truncated": 0.2})
    assert ["rollout/truncated"] == [alarm.signal for alarm in third.alarms]
    assert ("rollout/truncated",) == third.outside


def test_alarms_are_settled_where_no_row_has_begun() -> None:
    alarms = two_signals()
    for value in (1, 2, 3, 4):
        alarms.watch({"perception/kl": float(value)})
    assert alarms.settled
    alarms.watch({"perception/kl": 99.0})
    assert not alarms.settled
    alarms.watch({"rollout/truncated": 0.0})  # another signal does not make it well
    assert not alarms.settled
    alarms.calm()
    assert alarms.settled


def test_two_rules_for_one_signal_are_refused() -> None:
    with pytest.raises(AssertionError, match="one rule for each signal"):
        Alarms([RULE, RULE])


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.integers(0, 30))
def test_restored_alarms_go_on_as_if_nothing_had_happened(values: list[float], cut: int) -> None:
    straight, first = two_signals(), two_signals()
    expected = [straight.watch({"perception/kl": value}) for value in values]
    begun = [first.watch({"perception/kl": value}) for value in values[:cut]]
    second = two_signals()
    second.load_state_dict(through_a_file(first.state_dict()))
    assert expected == begun + [second.watch({"perception/kl": value}) for value in values[cut:]]


def test_an_alarm_reads_as_a_sentence() -> None:
    watched, _ = fed(replace(RULE, patience=1), [1, 1, 1, 1])
    alarm = read(replace(RULE, patience=1), watched, 0.25).alarm
    assert "perception/kl = 0.25, below 1 for 1 readings in a row" == str(alarm)
