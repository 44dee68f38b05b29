import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.grading.problems import asked, boxed
from vergence.grading.judge import judge
from vergence.grading.times import same_time, time_of
from vergence.types import Verdict

HOURS, MINUTES = st.integers(0, 23), st.integers(0, 59)


@given(HOURS, MINUTES)
def test_a_time_is_the_same_on_both_clocks(hour: int, minute: int) -> None:
    half = "a.m." if hour < 12 else "p.m."
    long, short = time_of(f"{hour}:{minute:02d}"), time_of(f"{(hour - 1) % 12 + 1}:{minute:02d} {half}")
    assert long is not None
    assert short is not None
    assert same_time(long, short)


@given(HOURS, MINUTES, HOURS, MINUTES)
def test_two_times_that_say_their_half_are_the_same_if_all_is(one: int, first: int, two: int, second: int) -> None:
    def said(hour: int, minute: int) -> str:
        return f"{(hour - 1) % 12 + 1}:{minute:02d} {'AM' if hour < 12 else 'PM'}"

    mine, other = time_of(said(one, first)), time_of(said(two, second))
    assert mine is not None
    assert other is not None
    assert ((one, first) == (two, second)) is same_time(mine, other)


@pytest.mark.parametrize(
    "text", ["3", "3:7", "3:60", "25:00", "13:00 pm", "0:30 am", "1:2:3", "30:60:90", "am", "x:30", "点"]
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert time_of(text) is None


@pytest.mark.parametrize(
    ("text", "hour", "minute"),
    [
        ("下午3点30分", 15, 30),
        ("上午9时", 9, 0),
        ("15时30分", 15, 30),
        ("晚上8点半", 20, 30),
        ("中午12点", 12, 0),
        ("凌晨12:05", 0, 5),
    ],
)
def test_times_are_read_in_chinese(text: str, hour: int, minute: int) -> None:
    found = time_of(text)
    assert found is not None
    assert (hour, minute) == (found.hour, found.minute)


TERMS = st.lists(st.integers(1, 9), min_size=3, max_size=4)


@settings(max_examples=25)
@given(TERMS, st.integers(2, 9), st.data())
def test_proportional_terms_are_one_ratio_and_others_are_not(terms: list[int], times: int, data: st.DataObject) -> None:
    """Against the definition: one factor for all terms."""
    problem = asked(":".join(map(str, terms)), "math")
    multiple = ":".join(str(term * times) for term in terms)
    assert judge(problem, boxed(multiple)).verdict is Verdict.CORRECT
    other = data.draw(st.lists(st.integers(1, 9), min_size=len(terms), max_size=len(terms)))
    same = all(term * other[0] == terms[0] * one for term, one in zip(terms, other, strict=True))
    assert (Verdict.CORRECT if same else Verdict.WRONG) is judge(problem, boxed(":".join(map(str, other)))).verdict
