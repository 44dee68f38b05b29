r"""Numbers as people and models write them -> exact fractions.

`1,234.5` · `-3/4` · `\frac{3}{4}` · `2\frac12` · `1.5e-3` · `3 \times 10^8` · `\$18.50` · `50\%` · `12 \text{ cm}`
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from vergence.grading.characters import plain_characters
from vergence.grading.markup import bare, without_text_commands
from vergence.grading.numerals import COUNTED, multiple, numeral
from vergence.grading.unit_table import DOLLAR, SYMBOLS, WORDS, Unit
from vergence.grading.units import LONGEST, NONE, measure


@dataclass(frozen=True, slots=True)
class Number:
    """A number, exactly, and what was written around it."""

    value: Fraction
    percent: bool = False
    """Whether a percent sign stands behind it; `value` is what stands before the sign."""
    unit: Unit | None = None
    """The unit or the words behind it, or the currency in front; None where there is none."""
    decimals: int | None = None
    """Places behind the decimal point; None for a fraction."""
    digits: int = 0
    """Significant digits, leading zeros aside; 0 for a fraction."""
    written: str = ""
    """The text that it was read from; in a sentence without its unit."""
    behind: str = ""
    """The unit that follows it in a sentence."""


_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)"
DECIMAL = rf"(?:{_DIGITS}(?:\.[0-9]*)?|\.[0-9]+)"
TEN = r"\s*(?:\\times|\\cdot|\*|x)\s*10\s*\^\s*\{?\s*([-+]?\s*[0-9]{1,4})\s*\}?"
_EXPONENT = rf"(?:[eE]([-+]?[0-9]{{1,4}})|{TEN})?"
_SIGN = r"([-+]?)\s*"
_ENDLESS = re.compile(r"([0-9]*)\.([0-9]*)\\(?:overline|bar|dot)\s*(?:\{\s*([0-9]+)\s*\}|([0-9]))")
_DOTTED = re.compile(r"([0-9]*)\.([0-9]*?)([0-9]{1,6}?)\3{2,}\s*(?:\.\.\.|\\[lc]?dots|\u2026)")
_POWER = re.compile(rf"{_SIGN}10\s*\^\s*\{{?\s*([-+]?[0-9]{{1,4}})\s*\}}?")
_SIMPLE = re.compile(rf"{_SIGN}({DECIMAL}){_EXPONENT}")
_RATIO = re.compile(rf"{_SIGN}({DECIMAL})\s*/\s*(-?)\s*({DECIMAL})")
_ONE_ARGUMENT = rf"(?:\{{\s*(-?)\s*({DECIMAL})\s*\}}|\s*()([0-9]))"
_FRACTION = re.compile(rf"{_SIGN}\\[dtc]?frac\s*{_ONE_ARGUMENT}\s*{_ONE_ARGUMENT}")
_MIXED = re.compile(
    rf"{_SIGN}([0-9]+)\s*\\[dtc]?frac\s*(?:\{{\s*([0-9]+)\s*\}}|\s*([0-9]))\s*(?:\{{\s*([0-9]+)\s*\}}|([0-9]))"
)
_MIXED_PLAIN = re.compile(rf"{_SIGN}([0-9]+)(?:\s+|\s*-\s*|\s+and\s+)([0-9]+)\s*/\s*([0-9]+)")
CURRENCY = re.compile(r"(?:\\\$|US\$|\$|\\textdollar|\\pounds|[€£¥₹₽]|USD|RMB|Rs\.?(?![A-Za-z]))\s*")
_PERCENT = re.compile(r"\s*(?:\\?%|\\?\bper\s?cent\b|\bpercentage\b|\bpct\b)(?:\s*points?)?\s*$", re.IGNORECASE)
SPACED_COMMA = re.compile(r"(?<=[0-9])(?:\{,\}|,\\!|\\,|\\!)\s*(?=[0-9]{3}(?![0-9]))")
_BEHIND = re.compile(
    r"(?<=[0-9.})])(?:\s|~|\\[,;:! ]|\\quad)*"
    r"(?:\\(?:text|mbox|hbox|math(?:rm|bf|sf|it)|mu|Omega|AA|ell|[dt]?frac|degree|deg|cdot)(?![a-z])|\^\s*\{?\s*\\circ|[^\W\d_]|[(€£¥₹₽])"
)
"""Where something begins behind a number that may be its unit."""
_NEVER_TOGETHER = frozenset({"d", "t", "K", "M", "B", "b"})
"""Letters that are no unit directly behind a number: `5M` may be millions."""
_MINUS = re.compile("^负\\s*(?=[0-9.])")
_INTRODUCED = re.compile("(?:大约|约|一共|总共|共有|共|等于|为|是|得|有)\\s*")
_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_BY_WORD = {word: index for index, word in enumerate(_WORDS.split())}


def parse_number(text: str) -> Number | None:
    """The number that all of `text` is, with its unit or a few words behind it; None where it is anything else."""
    written = text = bare(plain_characters(text))
    word = _BY_WORD.get(text.lower())
    if word is not None:
        return Number(Fraction(word), decimals=0, written=written)
    if not text.isascii():
        text = _in_digits(text)
    text = SPACED_COMMA.sub(",", text)
    sign, money = "", None
    while True:  # of "-$5" and "$-5"
        if text[:1] in "+-" and text:
            sign, text = ("-" if (sign == "-") != (text[0] == "-") else ""), text[1:].lstrip()
        elif currency := CURRENCY.match(text):
            money, text = money or _currency(currency.group()), text[currency.end() :]
        else:
            break
    flat = " ".join(without_text_commands(text).split())
    percent = _PERCENT.search(flat)
    found, unit = _exact(flat[: percent.start()] if percent else flat), money
    if found is None and not percent:
        found, unit = _with_words(text, money)
    if found is None:
        return None
    value = -found.value if sign == "-" else found.value
    return replace(found, value=value, percent=bool(percent), unit=unit, written=written)


def _in_digits(text: str) -> str:
    """Chinese numerals in front as digits, where a unit, a counted thing or nothing follows; no "about" in front."""
    text = _INTRODUCED.sub("", text, count=1) if _INTRODUCED.match(text) else text
    found = numeral(text)
    if found is None:
        return _MINUS.sub("-", text)
    digits, behind = found
    unit = measure(behind)
    if behind and not COUNTED.match(behind) and (unit is None or not unit.known):
        return text
    return f"{digits} {behind}"


def _currency(sign: str) -> Unit | None:
    sign = sign.strip().lstrip("\\").rstrip(".")
    if "$" in sign or sign == "textdollar":
        return DOLLAR
    return SYMBOLS.get(sign.replace("pounds", "£")) or WORDS.get(sign.lower())


def _with_words(text: str, money: Unit | None) -> tuple[Number | None, Unit | None]:
    """A number with a unit or words behind it, such as "5 apples"; "per hour" belongs to a currency in front."""
    for begin in _BEHIND.finditer(text, max(0, len(text) - LONGEST)):
        head, behind = text[: begin.start()], text[begin.start() :]
        core = _exact(" ".join(without_text_commands(head).split()))
        if core is None:
            continue
        unit = measure(behind)
        more = multiple(behind) if unit is None or not unit.known else None
        if more is not None:
            factor, behind = more
            core, unit = replace(core, value=core.value * factor, decimals=0, digits=0), measure(behind)
        together = behind[:1].isalpha()  # "2k" is no number with a unit
        if unit is None or (together and more is None and (not unit.known or behind in _NEVER_TOGETHER)):
            return None, None
        if money is not None:
            unit = _per(money, unit)
        return core, None if unit == NONE else unit
    return None, None


def _per(money: Unit, unit: Unit) -> Unit:
    """`$5 per hour`: what is per hour is the money."""
    rate = unit.known and unit.powers and all(power < 0 for _, power in unit.powers)
    return Unit(tuple(sorted((*money.powers, *unit.powers))), money.factor * unit.factor) if rate else money


def _repeating(whole: str, once: str, again: str) -> Number:
    """`0.1\\overline{6}`: what stands once behind the point, and what is repeated."""
    unit = Fraction(1, 10 ** len(once))
    return Number(Fraction(f"{whole or '0'}.{once or '0'}") + unit * Fraction(int(again), 10 ** len(again) - 1))


def _exact(text: str) -> Number | None:
    """Text that is a number and nothing else; its sign is the caller's."""
    endless = _ENDLESS.fullmatch(text)
    if endless:
        return _repeating(endless.group(1), endless.group(2), endless.group(3) or endless.group(4))
    dotted = _DOTTED.fullmatch(text)
    if dotted:
        return _repeating(*dotted.groups())
    if text[:1] == "(" and text[-1:] == ")" and "," not in text:
        text = text[1:-1].strip()
    simple = _SIMPLE.fullmatch(text)
    if simple:
        return _simple(*simple.groups())
    ten = _POWER.fullmatch(text)
    if ten:
        return Number(_signed(ten.group(1), Fraction(10) ** int(ten.group(2))), decimals=0)
    mixed = _MIXED.fullmatch(text)
    if mixed:
        sign, whole, *parts = mixed.groups()
        above, below = (part for part in parts if part)
        return _mixed(sign, whole, above, below)
    mixed = _MIXED_PLAIN.fullmatch(text)
    if mixed:
        return _mixed(*mixed.groups())
    ratio = _RATIO.fullmatch(text)
    if ratio:
        sign, above, minus, below = ratio.groups()
        return _quotient(sign, above, minus, below)
    fraction = _FRACTION.fullmatch(text)
    if fraction:
        sign, *parts = fraction.groups()
        minus, above = (parts[0], parts[1]) if parts[1] else (parts[2], parts[3])
        minus_below, below = (parts[4], parts[5]) if parts[5] else (parts[6], parts[7])
        return _quotient(sign, above, "-" if bool(minus) != bool(minus_below) else "", below)
    return None


def _simple(sign: str, mantissa: str, exponent: str | None, ten: str | None) -> Number:
    written = mantissa.replace(",", "")
    whole, _, behind = written.partition(".")
    power = int((exponent or ten or "0").replace(" ", ""))
    value = Fraction(f"{whole or '0'}.{behind or '0'}") * Fraction(10) ** power
    digits = len((whole + behind).lstrip("0"))
    return Number(_signed(sign, value), decimals=len(behind) - power, digits=digits)


def _mixed(sign: str, whole: str, above: str, below: str) -> Number | None:
    if int(below) == 0:
        return None
    return Number(_signed(sign, int(whole) + Fraction(int(above), int(below))))


def _quotient(sign: str, above: str, minus: str, below: str) -> Number | None:
    upper, lower = (Fraction("0" + part.replace(",", "")) for part in (above.rstrip("."), below.rstrip(".")))
    if lower == 0:
        return None
    value = upper / lower
    return Number(_signed(sign, -value if minus else value))


def _signed(sign: str, value: Fraction) -> Fraction:
    return -value if sign == "-" else value
