from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.grading.problems import asked
from vergence.grading.judge import judge
from vergence.grading.numbers import parse_number
from vergence.grading.sentences import numbers_in, only_number
from vergence.grading.units import unit_of
from vergence.types import Verdict


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234.5", "1234.5"),
        ("1,000,000", "1000000"),
        (r"10,\!080", "10080"),
        (r"12{,}345", "12345"),
        ("-3/4", "-3/4"),
        (r"\frac{3}{4}", "3/4"),
        (r"-\frac34", "-3/4"),
        (r"\frac{-3}{4}", "-3/4"),
        (r"\frac{3}{-4}", "-3/4"),
        (r"2\frac12", "5/2"),
        ("-2 1/2", "-5/2"),
        ("1.5e-3", "0.0015"),
        (r"3 \times 10^{-8}", "3e-8"),
        (r"10^{6}", "1000000"),
        (r"0.1\overline{6}", "1/6"),
        ("0.333...", "1/3"),
        (".5", "1/2"),
        ("seven", "7"),
        (r"\$18.50", "18.5"),
        ("$-5", "-5"),
        (r"12 \text{ cm}^2", "12"),
        ("5 apples", "5"),
        (r"90^\circ", "90"),
        ("(5)", "5"),
        ("½", "1/2"),
    ],
)
def test_a_number_is_read_exactly(text: str, value: str) -> None:
    found = parse_number(text)
    assert found is not None
    assert Fraction(value) == found.value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "2k",
        "3x",
        "5 or 7",
        "(1,2)",
        "1,00",
        "1 000",
        "1/0",
        r"\frac{1}{0}",
        "5!",
        "3 - 4",
        "1.2.3",
        "1e999999",
    ],
)
def test_what_is_no_plain_number_is_none(text: str) -> None:
    assert parse_number(text) is None


@given(st.integers(-(10**12), 10**12), st.integers(0, 6))
def test_a_decimal_is_the_fraction_that_it_writes(digits: int, places: int) -> None:
    written = f"{'-' if digits < 0 else ''}{abs(digits) // 10**places}"
    if places:
        written += f".{abs(digits) % 10**places:0{places}d}"
    found = parse_number(written)
    assert found is not None
    assert Fraction(digits, 10**places) == found.value


@given(st.integers(0, 10**15))
def test_thousands_separators_change_nothing(value: int) -> None:
    found = parse_number(f"{value:,}")
    assert found is not None
    assert value == found.value


def test_a_sentence_has_a_number_only_if_it_has_one() -> None:
    assert [Fraction(18)] == [number.value for number in numbers_in("She makes $18 every day.")]
    assert only_number("between 3 and 4") is None
    assert only_number("H2O has x2") is None
    assert only_number("The point is (7, 7).") is None
    assert only_number("(7, 7)") is None


@pytest.mark.parametrize(
    ("one", "other", "times"),
    [
        ("cm", "mm", 10),
        ("m^2", "cm^2", 10_000),
        ("square feet", "inches^2", 144),
        ("km/h", "miles per hour", Fraction(1000 * 125, 201168)),
        ("hours", "minutes", 60),
        ("dollars", "cents", 100),
    ],
)
def test_units_of_one_dimension_differ_by_a_factor(one: str, other: str, times: Fraction) -> None:
    first, second = unit_of(one), unit_of(other)
    assert first is not None
    assert second is not None
    assert first.powers == second.powers
    assert times == first.factor / second.factor


@given(st.integers(-1000, 1000), st.integers(-1000, 1000), st.integers(0, 50))
def test_two_numbers_are_the_same_up_to_the_tolerance(gold: int, said: int, hundredths: int) -> None:
    problem = asked(f"{gold / 100:.2f}", "numeric", tolerance=hundredths / 100)
    expected = Verdict.CORRECT if abs(gold - said) <= hundredths else Verdict.WRONG
    assert expected is judge(problem, rf"\boxed{{{said / 100:.2f}}}").verdict


@given(st.text(max_size=60))
def test_no_text_breaks_the_graders_that_work_in_this_process(text: str) -> None:
    problems = [
        asked("7", "numeric"),
        asked("yes", "yesno"),
        asked("7", "exact"),
        asked("B", "choice", options=("5", "7", text)),
    ]
    for problem in problems:
        for response in (text, rf"\boxed{{{text}}}", f"The answer is {text}"):
            assert judge(problem, response).verdict in (Verdict.CORRECT, Verdict.WRONG)
