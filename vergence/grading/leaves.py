r"""One leaf of an answer, as far as it can be compared without mathematics: numbers, words, digits of a base."""

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor

from vergence.grading.characters import HAN
from vergence.grading.markup import bare, without_text_commands
from vergence.grading.numbers import Number, parse_number
from vergence.grading.numerals import multiple
from vergence.grading.numeric import same_number
from vergence.grading.structure import Leaf, has_groups, read_answer
from vergence.grading.unit_table import SYMBOLS, Unit
from vergence.grading.units import LONGEST, NONE, measure, same_dimension, unit_of

ENOUGH_DIGITS = 6
"""Significant digits from which on a decimal stands for a number that has no finite one."""

_PERCENT = re.compile(r"\s*(?:\\?%|\\text\s*\{\s*(?:percent|%|\\%)\s*\}|\bpercent)$")
_FUNCTION = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_UNIT = re.compile(
    rf"\s*(?:\\text(?![a-z])|\\mu\s*\\text|\\Omega(?![a-z])|\\AA(?![a-z])|\^\s*\{{?\s*\\circ|\\degree|[{HAN}€£¥₹₽Å]"
    rf"|\(\s*(?:\\text|[{HAN}])|\\frac\s*\{{\s*\\text)"
)
"""Where a unit begins that cannot be a variable."""
_LETTERS = re.compile(r"(?<=[0-9)}\]])\s+(?=[^\W\d_]|\\mu)")
"""Where letters begin behind a number and a blank."""
_MASS_TIMES = re.compile(r"(?<=[0-9)}\]])\s*(?=m[gsVAWNTFHKCJ]$)")
"""Where `m g` begins, mass times something, or milligrams."""
_UNMISTAKABLE = re.compile(r"(?!m[gsVAWNTFHKCJ]$)[^\W\d_]{2}|/|\^\s*\{?\s*-|\\Omega|[^\x00-\x7f]")
"""What makes letters a unit, if they name one: two of them together, a quotient, a negative power."""
_OPEN = re.compile(r"(?:[-+=*/^_(\[{,<>:]|\\(?:cdot|times|le|ge|pm))$")
_BASE = re.compile(r"([0-9A-F]+)\s*_\s*\{?\s*([0-9]{1,2}|[a-z]+)\s*\}?")
_DIGITS = re.compile(r"[0-9A-F]+")
_ONLY_TEXT = re.compile(r"(?:\\text\s*\{[^{}]*\}\s*)+")
_WORDS = re.compile(r"[^\W\d_](?:[^\W\d_]|[ '\u2019\-./&])*")
_TWO_LETTERS = re.compile(rf"[^\W\d_]{{2}}|[{HAN}]")
_FORMULA = re.compile(r"[0-9\\=<>^_+*]")
_HAS_HAN = re.compile(f"[{HAN}]")
_VARIABLE = re.compile(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])")
_TEXT_COMMAND = re.compile(r"\\text\s*\{[^{}]*\}")
_BLANK = re.compile(r"(?<![0-9])\s+|\s+(?![0-9])")
_ARTICLE = re.compile(r"^(?:the|an?)\s+")


@dataclass(frozen=True, slots=True)
class Plain:
    """What a leaf is on its face."""

    text: str
    number: Number | None
    """Where it is one number and no more; "2 t" is none, as t may be a variable, and "2 \\text{ t}" is."""
    words: str
    r"""What it says if it is words, such as `\text{even}`; "" where it is mathematics."""
    core: str
    """The text without percent sign, degrees and unit."""
    percent: bool
    unit: Unit | None
    """The unit or words behind it."""
    other: "tuple[str, Unit] | None" = None
    """The core and the unit, if letters that may be variables are taken for a unit: of `5 m`."""


def plainly(text: str) -> Plain:
    """The text of a leaf, looked at."""
    text = text.strip()
    if _HAS_HAN.match(text) and (number := parse_number(text)):  # 三分之二
        return Plain(text, number, "", str(number.value), number.percent, number.unit)
    without = _PERCENT.sub("", text)
    core, unit, other = _without_unit(without)
    mass = _MASS_TIMES.search(core)
    if mass and unit is None:
        other = core[: mass.start()], SYMBOLS[core[mass.end() :]]
    variable = _VARIABLE.search(_TEXT_COMMAND.sub("", core))
    number = None if variable or (mass and unit is None) else parse_number(text if core == without else core)
    if number is not None and unit is not None and number.unit is None:
        number = replace(number, unit=unit, written=text)
    return Plain(text, number, words_of(text, number is not None), core, without != text, unit, other)


def words_of(text: str, is_number: bool = False) -> str:
    r"""Text in one form if it is words: `\text{ (E) }` -> `E`, `The East` -> `east`; "" for mathematics.

    Chinese text with numbers in it is words as well, but not a number with its unit.
    """
    wrapped = _ONLY_TEXT.fullmatch(text.strip()) is not None
    said = bare(without_text_commands(text)).strip("()[]'\" ")
    said = " ".join(said.split())
    foreign = (
        not said.isascii()
        and not is_number
        and (not _FORMULA.search(said) or (_HAS_HAN.search(said) and "\\" not in said))
    )
    if wrapped or foreign or (_WORDS.fullmatch(said) and _TWO_LETTERS.search(said)):
        return _ARTICLE.sub("", said.casefold()) if len(said) > 1 else said
    return ""


def same_plainly(gold: Plain, other: Plain, tolerance: Fraction) -> bool | None:
    """Whether two leaves are the same, where that can be seen on their face; None where it takes mathematics."""
    if squeezed(gold.text) == squeezed(other.text):
        return True
    base = _same_base(gold.text, other.text)
    if base is not None:
        return base
    if gold.words:
        if gold.words == (other.words or words_of(rf"\text{{{other.text}}}")):
            return True
        if len(gold.words) > 3 or " " in gold.words or not gold.words.isascii() or gold.text.startswith(r"\text"):
            return False
    gold, other = with_units(gold, other)
    if gold.number and other.number:
        return same_number(gold.number, other.number, tolerance) or _rounded(gold.number, other.number)
    return None


def with_units(gold: Plain, other: Plain) -> tuple[Plain, Plain]:
    """Two leaves, letters of one taken for its unit where the other has a unit; of both, if they can be converted."""
    both = gold.other and other.other and same_dimension(gold.other[1], other.other[1])
    mine = gold.other if gold.other and (other.unit or both) else None
    theirs = other.other if other.other and (gold.unit or both) else None
    return _measured(gold, mine), _measured(other, theirs)


def _measured(leaf: Plain, measure: tuple[str, Unit] | None) -> Plain:
    if measure is None:
        return leaf
    core, unit = measure
    number = parse_number(core)
    return replace(leaf, core=core, unit=unit, number=number and replace(number, unit=unit), other=None)


def squeezed(text: str) -> str:
    """Without text commands, and without blanks but those between two digits."""
    return _BLANK.sub("", without_text_commands(text)).strip()


def _rounded(gold: Number, other: Number) -> bool:
    """Whether one is a decimal with enough digits of the other, a fraction without a finite decimal."""
    for decimal, fraction in ((gold, other), (other, gold)):
        if not decimal.decimals or decimal.digits < ENOUGH_DIGITS or fraction.decimals is not None:
            continue
        if decimal.unit and fraction.unit and decimal.unit != fraction.unit:
            continue
        if decimal.percent != fraction.percent or _terminates(fraction.value) or decimal.decimals > 1000:
            continue
        scaled = fraction.value * 10**decimal.decimals
        if cut_short(decimal, floor(scaled), ceil(scaled), floor(scaled + Fraction(1, 2))):
            return True
    return False


def cut_short(decimal: Number, below: int, above: int, nearest: int) -> bool:
    """Whether a decimal is a number rounded or cut off after its last place.

    The number is given in units of that place: the whole numbers below and above it, and the nearest.
    """
    places = decimal.decimals or 0
    toward_zero = below if decimal.value >= 0 else above
    return decimal.value * 10**places in (toward_zero, nearest)


def _terminates(value: Fraction) -> bool:
    below = value.denominator
    for prime in (2, 5):
        while below % prime == 0:
            below //= prime
    return below == 1


def _without_unit(text: str) -> tuple[str, Unit | None, tuple[str, Unit] | None]:
    r"""`9\sqrt{2} \text{ cm}^2` -> `9\sqrt{2}` and the unit; the third is what `5 m` is, if m is no variable.

    Words in a text command behind mathematics go, whatever they say.
    """
    angle = _FUNCTION.search(text) is not None  # degrees of a sine are its own
    for begin in _UNIT.finditer(text, max(0, len(text) - LONGEST)):
        head = text[: begin.start()].strip()
        if not head or _OPEN.search(head) or head.count("{") != head.count("}") or (angle and "circ" in begin.group()):
            continue
        unit = measure(text[begin.start() :])
        if unit is not None and not unit.known and multiple(without_text_commands(text[begin.start() :])):
            return text, None, None  # millions are no unit
        if unit is not None:
            return head, None if unit == NONE else unit, None
    for begin in _LETTERS.finditer(text, max(0, len(text) - LONGEST)):
        head, behind = text[: begin.start()], text[begin.end() :]
        unit = unit_of(behind) if head.count("{") == head.count("}") else None
        if unit is not None and not _OPEN.search(head):
            sure = _UNMISTAKABLE.search(behind.replace(r"\mu", ""))
            return (head, unit, None) if sure else (text, None, (head, unit))
    return text, None, None


def _same_base(gold: str, other: str) -> bool | None:
    """`52_8`: the same digits, and the same base where both name one; None where neither is such a number."""
    one, two = _BASE.fullmatch(gold.strip()), _BASE.fullmatch(other.strip())
    if one is None and two is None:
        return None
    if one and two:
        return one.groups() == two.groups()
    named, bare_one = (one, other) if one else (two, gold)
    assert named is not None
    if not _DIGITS.fullmatch(bare_one.strip()):
        return None if not re.fullmatch(r"[0-9]+", named.group(1)) else False
    return named.group(1) == bare_one.strip()


def compare_plainly(gold: str, answer: str, tolerance: float) -> bool | None:
    """The same for two whole answers: none where they are no leaves, or their commas may mean two things."""
    if has_groups(gold) or has_groups(answer):
        return None
    mine, theirs = read_answer(gold), read_answer(answer)
    if not (isinstance(mine, Leaf) and isinstance(theirs, Leaf)) or (mine.name and theirs.name) or not mine.text:
        return None
    one, other = plainly(mine.text), plainly(theirs.text)
    if not ((one.number and other.number) or (one.words and other.words)):
        return None
    return same_plainly(one, other, Fraction(str(tolerance)))
