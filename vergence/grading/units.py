r"""Units of measurement behind a number: which are the same, and how many of one are in another.

`cm^2` · `square feet` · `km/h` · `miles per hour` · `\mathrm{m\cdot s^{-2}}` · `\mu\text{F}` · `平方厘米` · `apples`
"""

import re
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

from vergence.grading.characters import HAN, plain_characters
from vergence.grading.markup import without_text_commands
from vergence.grading.unit_table import DEGREE, SYMBOLS, WORDS, Unit

NONE = Unit(())
"""Of words that are no unit and no thing, such as "in total"."""
LONGEST = 120
"""Characters of the longest text that is read as a unit."""

_LETTER = r"[^\W\d_]"
_POWER = re.compile(r"\s*\^\s*(?:\{\s*([-+]?\s*[0-9])\s*\}|\(\s*([-+]?\s*[0-9])\s*\)|([-+]?[0-9]))")
_FRACTION = re.compile(r"\\[dtc]?frac\s*\{((?:[^{}]|\{[^{}]*\})*)\}\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_SPELLINGS = (
    (re.compile(r"\\(?:cdot|times|ast)(?![A-Za-z])|\*"), "."),
    (re.compile(r"\\mu(?![A-Za-z])\s*"), "μ"),
    (re.compile(r"\\Omega(?![A-Za-z])\s*"), "Ω"),
    (re.compile(r"\\AA(?![A-Za-z])\s*"), "Å"),
    (re.compile(r"\\ell(?![A-Za-z])\s*"), "l"),
    (re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)\s*|\\(?:degree|deg)(?![A-Za-z])\s*"), "°"),
    (re.compile(r"\\?\bper\b|每", re.IGNORECASE), "/"),
    (re.compile("平方"), " square "),
    (re.compile("立方"), " cubic "),
)
_TOKEN = re.compile(rf"\s*(?:({_LETTER}+(?:-{_LETTER}+)*|°[CF]?|[$€£¥₹₽])|([/.()]))|\^?(-?[0-9])")
_BEFORE = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_BEHIND = {"squared": 2, "cubed": 3}
_FILLED = re.compile(
    r"(?:^|\s+)(?:in (?:total|all)|altogether|total|overall|(?:in )?(?:length|width|height|area|depth|volume)|long|wide"
    r"|tall|high|deep|thick|away|apart|left|remaining|each|more|of them|old|exactly|approximately)$",
    re.IGNORECASE,
)
_WORDING = re.compile(
    rf"{_LETTER}+(?:['\u2019]{_LETTER}+)?\.?(?:(?:\s+|\s*-\s*|\s*/\s*){_LETTER}+(?:['\u2019]{_LETTER}+)?\.?){{0,7}}"
)
_JOINING = frozenset(
    {"plus", "minus", "over", "or", "and", "to", "by", "squared", "cubed", "divided", "mod", "oder", "ou"}
)
_HAN_JOINING = re.compile("[的倍分之加减乘除到至或和与及以不没非错余第比半吗か]|次方|左右|ない|아니|아닙")
_HAN_COPULA = re.compile("(?:です|である|だ|입니다|이다|이에요|예요)$")
_NOT_ALONE = frozenset({"in", "as", "at", "d", "pt", "cup"})
"""Names that are words as well: with others behind them they are no unit, as in "3 in the box"."""


@lru_cache(maxsize=8192)
def measure(text: str) -> Unit | None:
    """What stands behind a number: a unit, words that are none (`known` is False), `NONE` for words that say nothing.

    None where it is neither, but part of a formula.
    """
    if len(text) > LONGEST:
        return None
    text = _spelled(text)
    found = _product(text.removeprefix("个")) or _product(text) if text else NONE
    if found is not None:
        return found
    without = _FILLED.sub("", text)
    if without != text:
        return measure(without)
    if not _WORDING.fullmatch(text):
        return None
    words = text.split()
    for end in range(min(3, len(words) - 1), 0, -1):  # "dollars of profit"
        begin = " ".join(words[:end])
        if len(begin) > 1 and begin not in _NOT_ALONE and (found := _product(begin)) is not None:
            return found
    return _thing(text)


def unit_of(text: str) -> Unit | None:
    """The unit that all of a text names; None if none that is known."""
    found = measure(text)
    return found if found is not None and found.known and found.powers else None


def leading_unit(text: str) -> tuple[Unit, str] | None:
    """The unit that a sentence goes on with, in its first one to five words, and these words."""
    first = _FIRST.match(text)
    if first is None or not (first.group(1) is None or _may_begin(first.group(1))):
        return None
    words = text[:LONGEST].split(" ")[:5]
    for end in range(len(words), 0, -1):
        said = " ".join(words[:end]).rstrip(".,;:!?*")
        if said.strip() and said.strip() not in _NOT_ALONE and (found := _product(_spelled(said))) is not None:
            return found, said
    return None


_FIRST = re.compile(rf"\s*(?:({_LETTER}+)|[°€£¥₹₽\\(/^])")


def _may_begin(word: str) -> bool:
    """Whether a unit can begin with this word."""
    low = word.lower()
    return word in SYMBOLS or low in WORDS or low in _BEFORE or low in _FIRST_OF_TWO or low in _ANY_CASE


def same_dimension(one: Unit, other: Unit) -> bool:
    """Whether numbers of two units can be compared: units of one dimension, or words that go together."""
    if one.known != other.known:
        return False
    if one.known:
        return one.powers == other.powers or (DEGREE in (one, other) and bool(one.zero or other.zero))
    mine, theirs = one.powers[0][0], other.powers[0][0]
    if re.search(f"[{HAN}]", mine + theirs):
        return mine in theirs or theirs in mine
    return set(mine.split()) <= set(theirs.split()) or set(theirs.split()) <= set(mine.split())


def converted(value: Fraction, unit: Unit, into: Unit, pi: Fraction) -> Fraction:
    r"""A number of one unit as a number of another of the same dimension; `pi` stands for \pi where it is needed."""
    if unit == into or not unit.known or (DEGREE in (unit, into) and (unit.zero or into.zero)):
        return value
    if unit.zero or into.zero:
        return (value * unit.factor + unit.zero - into.zero) / into.factor
    return value * unit.factor / into.factor * pi ** (unit.pi - into.pi)


def _spelled(text: str) -> str:
    """LaTeX and signs -> letters, `^2`, `/`, `.` and blanks."""
    text = plain_characters(text)
    text = _POWER.sub(lambda power: "^" + "".join(filter(None, power.groups())).replace(" ", "").lstrip("+"), text)
    for pattern, sign in _SPELLINGS:
        text = pattern.sub(sign, text)
    text = without_text_commands(_FRACTION.sub(r"(\1)/(\2)", text))
    text = re.sub(r"(?<=[μ°]) (?=[A-Za-zΩ])", "", " ".join(re.sub(r"[{}\"]", "", text).split()))
    if text.startswith("(") and text.find(")") == len(text) - 1:
        text = text[1:-1]
    return _HAN_COPULA.sub("", text.strip(" .,;")).strip()


def _product(text: str) -> Unit | None:
    """`kg.m/s^2` -> the unit; None where a name is not known. What follows "/" stands below it up to the end."""
    powers: Counter[str] = Counter()
    whole = Unit((), Fraction(1))
    zero, sign, grouped, place, raised, names = Fraction(0), 1, False, 0, 1, 0
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            return None
        place = token.end()
        name, mark, _ = token.groups()
        if mark:
            grouped = (mark == "(" and sign < 0) or (grouped and mark != ")")
            sign = -1 if mark == "/" else 1 if mark == ")" and not grouped else sign
            continue
        if name is None:
            return None
        if name.lower() in _BEFORE:
            raised = _BEFORE[name.lower()]
            continue
        found, place = _known(name, text, place)
        if found is None:
            return None
        behind = _TOKEN.match(text, place)
        if behind and (behind.group(3) or (behind.group(1) or "") in _BEHIND):
            raised *= int(behind.group(3) or _BEHIND[behind.group(1)])
            place = behind.end()
        power, raised, names, zero = sign * raised, 1, names + 1, found.zero
        for base, its in found.powers:
            powers[base] += its * power
        whole = replace(whole, factor=whole.factor * found.factor**power, pi=whole.pi + found.pi * power)
        zero = found.zero if power == 1 else Fraction(0)
    if not names or raised != 1:
        return None
    powers_left = tuple(sorted((base, power) for base, power in powers.items() if power))
    return replace(whole, powers=powers_left, zero=zero if names == 1 else Fraction(0))


def _known(name: str, text: str, place: int) -> tuple[Unit | None, int]:
    """The unit with this name, or with this word and the next, and where the text goes on."""
    following = _TOKEN.match(text, place)
    if following and following.group(1):
        long = WORDS.get(f"{name}-{following.group(1)}".lower())
        if long is not None:
            return long, following.end()
    return SYMBOLS.get(name) or WORDS.get(name.lower()) or _ANY_CASE.get(name.lower()), place


def _unmistakable() -> dict[str, Unit]:
    """Symbols of three letters and more that are one unit in whatever case, such as "kpa"; "mpa" is two."""
    cases = Counter(symbol.lower() for symbol in SYMBOLS)
    return {symbol.lower(): unit for symbol, unit in SYMBOLS.items() if len(symbol) > 2 and cases[symbol.lower()] == 1}


_ANY_CASE = _unmistakable()
_FIRST_OF_TWO = frozenset(word.split("-")[0] for word in WORDS if "-" in word) | {"平方", "立方", "每", "per"}


def _thing(text: str) -> Unit | None:
    """Words that are no unit, in one form: `Apples` and `apple` are the same; None for a letter, as of `7 x`."""
    words = re.split(r"[\s\-/]+", text.lower())
    if words[0] in _JOINING or (re.search(f"[{HAN}]", text) and _HAN_JOINING.search(text)):
        return None
    if len(text) == 1 and not re.match(f"[{HAN}]", text):
        return None
    kept = [_singular(word.rstrip(".")) for word in words if word not in ("the", "a", "an", "of")]
    return Unit(((" ".join(kept), 1),), known=False) if kept else NONE


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("xes", "ches", "shes", "sses")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word
