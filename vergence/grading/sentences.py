"""Numbers within sentences: the one that a sentence begins with, and the only one that it has."""

import re
from dataclasses import replace

from vergence.grading.characters import HAN, plain_characters
from vergence.grading.markup import bare
from vergence.grading.numbers import CURRENCY, DECIMAL, SPACED_COMMA, TEN, Number, parse_number
from vergence.grading.units import leading_unit

_TOKEN = re.compile(
    rf"(?<![\w.])(?:[-+]\s?)?(?:{CURRENCY.pattern})?(?:[-+]\s?)?"
    rf"(?:[0-9]+\s*\\[dtc]?frac\{{[0-9]+\}}\{{[0-9]+\}}|\\[dtc]?frac\{{-?[0-9]+\}}\{{[0-9]+\}}"
    rf"|[0-9]+\s+[0-9]+/[0-9]+|{DECIMAL}\s*/\s*{DECIMAL}|{DECIMAL}(?:[eE][-+]?[0-9]{{1,4}}|{TEN})?)"
    rf"(?:\s*\\?%)?"
)
_A_WORD = re.compile(rf"(?<![\\A-Za-z])[^\W\d_]{{2}}|[{HAN}]")
_LISTED = re.compile(r"[(\[{][^()\[\]{}]*[0-9]\s*,\s*(?![0-9]{3}(?![0-9]))")
_GOES_ON = re.compile(
    r"\s*(?:[-+*/^=<>:_{}()\[\]\\|&~]|,?\s*(?:or|and|to|of|out|through|times|plus|minus|over|x|divided)\b"
    r"|,?\s*[$]?[0-9]|[A-Za-z](?![a-z ])|,?\s*(?:oder|ou|und|et|или|и|até|bis)\b"
    r"|,?\s*[或和与及到至加减乘除比的倍分次か])"
)
_OPERATED = re.compile(r"\s*(?:的(?:平方|立方|一半|相反数|倒数|绝对值|.{0,4}[倍方])|倍|次方|分之)")
"""What makes another number of the one in front of it."""
_OPERATION_OF = re.compile(
    r"\b(?:squares?|cubes?|double|half|halves|twice|triple|reciprocal|factorial|roots?|multiples?|opposite|negative"
    r"|minus)\s+(?:of\s+)?[-\\$]*[0-9]",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"第\s*[0-9]{1,4}\s*[题步页章节行问]")


def leading_number(text: str) -> Number | None:
    """The number that a sentence begins with, where it does not go on as a list, a range or a calculation."""
    text = SPACED_COMMA.sub(",", bare(plain_characters(text)))
    token = _TOKEN.match(text)
    if token is None:
        return None
    found, end = _measured(text, token)
    return None if _GOES_ON.match(text, end) else found


def only_number(text: str) -> Number | None:
    """The number that a sentence has; None where it has none, or several, or one within a pair or a list."""
    if not _A_WORD.search(text) or _LISTED.search(text):
        return None
    if (
        _NUMBERED.search(text)
        or _OPERATION_OF.search(text)
        or any(_OPERATED.match(text, token.end()) for token in _TOKEN.finditer(text))
    ):
        return None
    numbers = numbers_in(text)
    return numbers[0] if len({(number.value, number.percent) for number in numbers}) == 1 else None


def numbers_in(text: str) -> list[Number]:
    """Every number in a sentence, in order; digits that are part of a word ("x2", "H2O") are none."""
    text = SPACED_COMMA.sub(",", plain_characters(text))
    found = []
    for token in _TOKEN.finditer(text):
        number, end = _measured(text, token)
        part_of_word = end == token.end() and end < len(text) and (text[end].isalpha() or text[end] == "_")
        if number is not None and not part_of_word:
            found.append(number)
    return found


def _measured(text: str, token: re.Match[str]) -> tuple[Number | None, int]:
    """A number in a sentence with the unit that follows it, and where the sentence goes on."""
    end = token.end()
    following = leading_unit(text[end : end + 60])
    if following is None:
        return parse_number(token.group()), end
    unit, said = following
    number = parse_number(token.group())
    if number is not None and number.unit is None and not number.percent:
        number = replace(number, unit=unit, behind=said.strip())
    return number, end + len(said)
