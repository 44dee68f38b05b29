r"""The options of a multiple choice, and which of them a text names.

`B` · `(B)` · `b)` · `B. 12 cm` · `option B` · `12 cm` · `12` -> the second of `("10 cm", "12 cm")`
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from vergence.grading.characters import plain_characters
from vergence.grading.markup import bare, without_text_commands
from vergence.grading.numbers import Number, parse_number
from vergence.grading.numeric import same_number

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Picked:
    """The option that a text names."""

    place: int
    """From 0; of several options with one text, the first."""


@dataclass(frozen=True, slots=True)
class Several:
    """The options that a text names, more than one."""

    places: frozenset[int]


@dataclass(frozen=True, slots=True)
class Unclear:
    """A text names no option, or two that disagree."""

    reason: str


Naming = Picked | Several | Unclear

_ALONE = re.compile(r"[(\[]?\s*([A-Za-z])\s*\)?\s*[.):\]]?")
_BEFORE_TEXT = re.compile(
    r"(?:\(\s*([A-Za-z])\s*\)|([A-Za-z])\s*[.):\]])\s*(?:[-:]\s+)?(\S.*)|([A-Z])(?:\s+[-:=]\s*|,\s*|\s+)(\S.*)",
    re.DOTALL,
)
_PREFIX = re.compile(
    r"(?:(?:clearly|obviously|certainly|definitely|most likely|likely|probably|simply|indeed)(?=\s)"
    r"|(?:the\s+)?(?:correct\s+)?(?:option|choice|answer)s?(?:\s+is)?\s*[:-]?"
    r"|(?:因此|所以|故|应|我)?\s*(?:正确)?的?\s*(?:答案|选项?|选择)\s*(?:是|为|:)?)\s*(?=[(\[*]|[A-Za-z]\b)",
    re.IGNORECASE,
)
_SUFFIX = re.compile(r"(?<=[A-Za-z)])\s*选?项$")
_ONE = r"(?:\(\s*)?[A-Z](?:\s*\))?"
_JOINED = r"(?:\band\b|\bor\b|和|与|或者?)"
_LIST = re.compile(rf"{_ONE}(?:\s*(?:[;/&+]|,(?:\s*{_JOINED})?|{_JOINED})\s*{_ONE})+")
_GOES_ON = re.compile(rf"(?:[,;/&+]|{_JOINED})\s*{_ONE}(?![A-Za-z'])")
_RUN = re.compile(r"[A-Z]{2,26}")
_ARTICLE = re.compile(r"(?:the|an?)\s+", re.IGNORECASE)
_DOTS = re.compile(r"\.{2,}|\u2026|\\l?dots(?![a-z])")
_SPACING = re.compile(r"\s+")


def letter(place: int) -> str:
    """0 -> A; a number from 1 on beyond Z."""
    return LETTERS[place] if place < len(LETTERS) else str(place + 1)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is compared with, looked at once for all responses to a question."""

    texts: tuple[str, ...]
    shapes: tuple[str, ...]
    numbers: tuple[Number | None, ...]


@lru_cache(maxsize=1024)
def _known(options: tuple[str, ...]) -> _Known:
    return _Known(
        tuple(_tidy(option) for option in options),
        tuple(_shape(option) for option in options),
        tuple(parse_number(option) for option in options),
    )


def naming(text: str, options: Sequence[str]) -> Naming:
    """Which option all of `text` names: by letter, letter with text, text, or value; options may be empty.

    A capital letter that stands for a place is that place, also where some option's text is that letter. Where letter
    and text disagree, the text names nothing.
    """
    known = _known(tuple(options))
    text = _SUFFIX.sub("", _tidy(text))  # B 选项
    count = len(options) or len(LETTERS)
    alone = _ALONE.fullmatch(text)
    if alone and not (text.islower() and text in known.texts):
        place = LETTERS.index(alone.group(1).upper())
        if place < count:
            return Picked(_first_alike(place, known))
    by_text = _by_text(text, known)
    if by_text is not None:
        return by_text
    shorter = _PREFIX.sub("", text, count=1) if _PREFIX.match(text) else text
    if shorter != text and shorter:
        return naming(shorter, options)
    listed = _letters_listed(text, count)
    if listed:
        return Several(frozenset(listed)) if len(listed) > 1 else Picked(_first_alike(min(listed), known))
    return _letter_with_text(text, known, count)


def _letter_with_text(text: str, known: _Known, count: int) -> Naming:
    """`B. 12 cm`, `(B) 12 cm`, `B 12 cm`."""
    found = _BEFORE_TEXT.fullmatch(text)
    if not found:
        return Unclear("names no option")
    marked = found.group(1) or found.group(2)
    place = LETTERS.index((marked or found.group(4)).upper())
    rest = found.group(3) or found.group(5)
    said = _by_text(_tidy(rest), known)
    if place >= count:
        return Unclear(f"names option {letter(place)} of {count}")
    own = _first_alike(place, known)
    if said is None:
        if _letters_listed(_tidy(rest), count) - {place} or _GOES_ON.match(rest):
            return Unclear("names several options")
        if not marked and not _BECAUSE.match(rest) and (text[0] in "AI" or rest[0].isalnum()):
            return Unclear("begins with a word, not with a letter of an option")
        return Picked(own)
    if said == Picked(own):
        return Picked(own)
    return Unclear(f"names {letter(place)} with the text of another option")


_BECAUSE = re.compile(r"(?:because|since|as|which)\b|因为|由于")


def _by_text(text: str, known: _Known) -> Picked | None:
    """The option with this text; else the only one with this value."""
    shape = _shape(text)
    if not shape:
        return None
    if shape in known.shapes:
        return Picked(known.shapes.index(shape))
    number = parse_number(text)
    if number is None:
        return None
    equal = [at for at, other in enumerate(known.numbers) if other and same_number(other, number, Fraction(0))]
    first = {known.shapes.index(known.shapes[at]) for at in equal}
    return Picked(first.pop()) if len(first) == 1 else None


def _letters_listed(text: str, count: int) -> set[int]:
    """The places of `A, C`, `A and C`, `AC`; empty for anything else."""
    if not (_LIST.fullmatch(text) or _RUN.fullmatch(text)):
        return set()
    found = [LETTERS.index(one) for one in re.sub(r"\b(?:and|or)\b", "", text) if one in LETTERS]
    return set(found) if len(set(found)) == len(found) and max(found) < count else set()


def _first_alike(place: int, known: _Known) -> int:
    """The first option with the same text: options that say the same are one."""
    return known.shapes.index(known.shapes[place]) if place < len(known.shapes) else place


def _tidy(text: str) -> str:
    text = bare(without_text_commands(plain_characters(text)).replace("**", ""))
    return _SPACING.sub(" ", text)


def _shape(text: str) -> str:
    """A text without what may differ between two spellings of it: case, blanks, articles, dollar signs, braces."""
    text = _tidy(_DOTS.sub(" ", _tidy(text)))
    if len(text) > 1:
        text = text.lower()
        text = _ARTICLE.sub("", text, count=1) if _ARTICLE.match(text) else text
    alone = _ALONE.fullmatch(text)
    if alone:  # "(A)" and "A)" are "A"
        return alone.group(1)
    text = re.sub(
        r"\\(?:left|right|displaystyle)(?![A-Za-z])|\\(?=[td]frac)",
        lambda cut: "\\" if cut.group() == "\\" else "",
        text,
    )
    text = re.sub(r"\\[td]frac", r"\\frac", text)
    text = re.sub(r"\\(sqrt|frac)\s*([0-9])", r"\\\1{\2}", text)
    text = re.sub(r"(\\frac\{[^{}]*\})\s*([0-9])", r"\1{\2}", text)
    text = re.sub(r"([\^_])\s*([0-9A-Za-z])", r"\1{\2}", text)
    return re.sub(r"[\s$*]|\\cdot(?![a-z])", "", text)
