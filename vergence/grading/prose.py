"""The mathematics within a sentence: what of a located answer is the answer."""

import re
from itertools import pairwise

from vergence.grading.characters import HAN
from vergence.grading.markup import bare
from vergence.grading.numbers import Number, parse_number
from vergence.grading.read import NEGATION, Located, Place
from vergence.grading.sentences import leading_number, numbers_in, only_number

_SEGMENT = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_JOINED = "and|or|或者?|和|与|以?及|、"
_BETWEEN = re.compile(rf"\s*(?:,|;|{_JOINED}|,\s*and|,\s*or)?\s*")
_WORD = re.compile(rf"(?<![\\A-Za-z])[A-Za-z]{{3,}}|[{HAN}]+")
_FUNCTIONS = frozenset({"sqrt", "cbrt", "sin", "cos", "tan", "cot", "sec", "csc", "log", "exp", "infinity"})
_CONNECTIVES = frozenset({"and", "或", "或者", "和", "与", "及", "以及"})
_SHORT_WORD = re.compile(rf"(?<![\\A-Za-z{HAN}])(?!(?:{_JOINED})(?![A-Za-z{HAN}]))(?:[A-Za-z]{{2,}}|[{HAN}])")
_COLONS = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:\s*:\s*[0-9]+(?:\.[0-9]+)?)+(?:\s*[ap]\.?\s*m\b\.?)?", re.IGNORECASE)
"""A ratio or a time."""
_FORMULA_WITHIN = re.compile(
    rf"[{HAN}\s,:]*(?<=[是为得即有:])\s*([^{HAN}]+?(?:\s*(?:{_JOINED})\s*[^{HAN}]+?)*)[\s.。]*"
)
"""A formula behind the verb of a Chinese sentence, which it ends."""
_COMMAND_TEXT = re.compile(r"\\[A-Za-z]+\s*(?:\{[A-Za-z ]*\})?|\$[^$]*\$")


def mathematics_of(found: Located) -> str | None:
    """The answer within a located text; None where a sentence holds several candidates, or denies one."""
    text = found.text
    if found.place in (Place.BOXED, Place.TAGGED) or not is_prose(text):
        return bare(text)
    if NEGATION.search(_SEGMENT.sub("", text)) and re.search(r"[0-9A-Za-z]", text):
        return None
    segments = list(_SEGMENT.finditer(text))
    if segments:
        return _of_segments(text, segments, found.place)
    ratios = list(_COLONS.finditer(text))
    if ratios:
        alone = len(ratios) == 1 and not re.search(r"[0-9]", _COLONS.sub("", text))
        return ratios[0].group() if alone else None
    leading = leading_number(text) if found.place is Place.NAMED else None
    if leading is not None:
        return _measured(leading)
    formula = _FORMULA_WITHIN.fullmatch(text)
    if formula:
        return bare(formula.group(1))
    _, equals, right = bare(text).rpartition("=")
    if equals and parse_number(right) is not None:
        return bare(right)
    only = only_number(text)
    if only is not None:
        return _measured(only)
    return None if numbers_in(text) else bare(text)


def _measured(number: Number) -> str:
    """A number of a sentence with its unit, which cannot be a variable there."""
    return rf"{number.written} \text{{{number.behind}}}" if number.behind else number.written


def is_prose(text: str) -> bool:
    """Whether a text has words outside mathematics: two, or one beside mathematics; "and" and "or" are none."""
    if _SEGMENT.search(text):
        return bool(_SHORT_WORD.search(_SEGMENT.sub(" ", text)))
    if _COLONS.search(text) and re.search(r"(?:^|\s)[A-Za-z][a-z]+\s", _COLONS.sub(" ", text)):
        return True
    words = [word for word in _WORD.findall(_COMMAND_TEXT.sub(" ", text)) if word not in _FUNCTIONS | _CONNECTIVES]
    among = "[0-9A-Za-z]" if any(not word.isascii() for word in words) else "[0-9]"
    return len(words) >= 2 or bool(words and re.search(among, text))


def _of_segments(text: str, segments: list[re.Match[str]], place: Place) -> str | None:
    """The only piece of mathematics; a list of them; or what an answer begins with."""
    pieces = [bare(next(filter(None, segment.groups()))) for segment in segments]
    if len(pieces) == 1:
        around = text[: segments[0].start()] + text[segments[0].end() :]
        return pieces[0] if place is Place.NAMED or not re.search(r"[0-9]", around) else None
    between = [text[one.end() : other.start()] for one, other in pairwise(segments)]
    if all(_BETWEEN.fullmatch(gap) and gap.strip() for gap in between):
        return ", ".join(pieces)
    first_alone = not (_BETWEEN.fullmatch(between[0]))
    starts = not text[: segments[0].start()].strip(" *:")
    return pieces[0] if place is Place.NAMED and starts and first_alone else None
