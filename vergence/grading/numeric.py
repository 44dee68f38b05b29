"""Numeric answers: the same number, within a tolerance."""

import re
from fractions import Fraction

from vergence.grading.characters import plain_characters
from vergence.grading.markup import bare
from vergence.grading.numbers import Number, parse_number
from vergence.grading.read import NEGATION, Located, Missing, Place, locate
from vergence.grading.sentences import leading_number, numbers_in, only_number
from vergence.grading.units import converted, same_dimension
from vergence.types import Grade, Grading, Verdict

_ABOUT = re.compile(r"(?:\\approx|\\sim|~|=|about|approximately|roughly|around)\s*", re.IGNORECASE)
_HUNDRED = Fraction(100)
_PI = Fraction("3.14159265358979323846264338327950288419716939937510")


def grade_numeric(grading: Grading, answer: str, text: str) -> Grade:
    """Whether the one number of the final answer is the right one, within `grading.tolerance`."""
    gold = parse_number(answer)
    if gold is None:
        return Grade(Verdict.FAILED, None, f"the right answer {answer!r:.60} is no number")
    found = locate(text)
    if isinstance(found, Missing):
        return Grade(Verdict.WRONG, None, found.reason)
    number = number_of(found)
    if number is None:
        return Grade(Verdict.WRONG, bare(found.text)[:200], "the final answer is not one number")
    extracted = f"{number.written} {number.behind}".rstrip()
    if same_number(gold, number, Fraction(str(grading.tolerance))):
        return Grade(Verdict.CORRECT, extracted, "the same number")
    return Grade(Verdict.WRONG, extracted, "another number")


def read_number(text: str) -> Number | None:
    """The one number that the final answer of a response is; None where there is none, or several."""
    found = locate(text)
    return None if isinstance(found, Missing) else number_of(found)


def number_of(found: Located) -> Number | None:
    """The number of a final answer: all of it, what follows its last "=", or the only one in it."""
    text = bare(plain_characters(found.text))
    about = _ABOUT.match(text)
    text = text[about.end() :] if about else text
    whole = parse_number(text)
    if whole is not None:
        return whole
    _, equals, right = bare(text).rpartition("=")
    if equals:
        behind = parse_number(right)
        if behind is not None:
            return behind
        text = right if len(numbers_in(right)) == 1 else text
    if found.place is Place.BOXED and not _is_prose(text):
        return None  # a formula, an interval or a list: its only number is not its value
    if NEGATION.search(text):
        return None
    leading = leading_number(text) if found.place is Place.NAMED else None
    if leading is not None:
        return leading
    return only_number(text)


def same_number(gold: Number, number: Number, tolerance: Fraction) -> bool:
    """Whether two numbers are equal within the tolerance, percent signs and units considered.

    With a percent sign on one side only, the sign may be a unit (`50%` is 50) or hundredths (`50%` is 0.5); it is
    hundredths alone where the right answer has no sign and is at most 1.
    """
    if gold.unit and number.unit and gold.unit != number.unit:
        if not same_dimension(gold.unit, number.unit):
            return False
        return abs(gold.value - converted(number.value, number.unit, gold.unit, _PI)) <= tolerance
    if (gold.percent and number.unit) or (number.percent and gold.unit):
        return False
    readings = {number.value}
    if gold.percent and not number.percent:
        readings = {number.value, number.value * _HUNDRED}
    elif number.percent and not gold.percent:
        hundredths = number.value / _HUNDRED
        readings = {hundredths} if abs(gold.value) <= 1 else {number.value, hundredths}
    return any(abs(gold.value - reading) <= tolerance for reading in readings)


def _is_prose(text: str) -> bool:
    """Whether a text is words with a number among them, and no formula."""
    return not any(sign in text for sign in "^_{}+*/<>()[]|") and "," not in text
