r"""What kind of answer a LaTeX text is, before any mathematics is done: a tuple is no set, and an interval no list.

\{1, 2\}   1, 2   1 \text{ or } 2     a Bag: order does not matter
(1, 2)   [0, 1)   a < x < b           a Row: order matters, and so do the brackets
1:2:3   3:30   9 a.m.                 a Ratio, or a time of day, or what may be both
x = 5   f(x) = x + 1   x \in [0, 1]   the same with a name
anything else                         a Leaf
"""

import re
from dataclasses import dataclass, replace

from vergence.grading.latex import outside, split_outside, tidy, wrapped
from vergence.grading.times import Time, time_of


@dataclass(frozen=True, slots=True)
class Leaf:
    """One expression, equation, matrix, word or number."""

    text: str
    name: str = ""
    """What the text says it is the value of: `x` of `x = 5`; "" where it does not say."""


@dataclass(frozen=True, slots=True)
class Row:
    """A tuple, a point, a vector or an interval; a matrix is a row of its rows, between "matrix" and ""."""

    parts: "tuple[Answer, ...]"
    opening: str
    closing: str
    text: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Bag:
    """A set, or a list of which the order says nothing."""

    parts: "tuple[Answer, ...]"
    braced: bool
    """Whether it was written as a set: what is in it twice counts once."""
    text: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Ratio:
    """What stands between colons, a time of day, or both: `3:30` does not say which of the two it is."""

    parts: "tuple[Leaf, ...]"
    """Terms of the ratio; none of a time that is no ratio, such as `9 a.m.`"""
    time: Time | None
    to: bool
    """Whether it is written `3 \\text{ to } 2`, which may be a range."""
    text: str
    name: str = ""


Answer = Leaf | Row | Bag | Ratio

_COMMA = frozenset({",", ";"})
_UNION = frozenset({r"\cup"})
_EQUALS = frozenset({"="})
_IN = frozenset({r"\in"})
_COLON = frozenset({":", r"\colon"})
_RELATION = frozenset({"=", "<", ">", r"\le", r"\ge", r"\to", r"\in", r"\mid", "|", r"\rightarrow", r"\mapsto"})
_TO = re.compile(
    r"\s*\\text\s*\{\s*to\s*\}\s*|(?<=[0-9A-Za-z)}])\s+to\s+(?=[0-9A-Za-z(\\])|(?<=[0-9])\s*比\s*(?=[0-9])"
)
_LONG_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{4,}|[^\x00-\x7f]")
_MATRIX = re.compile(
    r"\\begin\s*\{([pbB]?matrix|array)\}(?:\s*\{[lcr|@ ]*\})?((?:(?!\\begin|\\end).)*)\\end\s*\{\1\}", re.DOTALL
)
_ROWS, _CELLS = frozenset({r"\\"}), frozenset({"&"})
_LESS, _MORE = frozenset({"<", r"\le"}), frozenset({">", r"\ge"})
_GROUPED = re.compile(r"(?<![0-9.])([1-9][0-9]{0,2})((?:,[0-9]{3})+)(?![0-9])(?=\.[0-9]|[^,.0-9]|$|\.$|,\s)")
_VARIABLE = r"(?:\\?[A-Za-z]+(?:\s*'|\s*_\s*(?:\{[^{}]*\}|[A-Za-z0-9]))?)"
_POINT = r"\(\s*[A-Za-z](?:\s*,\s*[A-Za-z]){1,5}\s*\)"
_NAMES_OF_TERMS = r"[A-Za-z]{1,3}(?:\s*(?::|\\colon)\s*[A-Za-z]{1,3}){1,5}"
_NAME = re.compile(rf"\\text\s*\{{[^{{}}]*\}}|{_VARIABLE}(?:\s*\(\s*[^()]{{1,20}}\s*\))?|{_POINT}|{_NAMES_OF_TERMS}")
_LETTER = re.compile(r"(?:[A-Za-z]|\\(?:theta|alpha|beta|gamma|lambda|mu|phi))(?:\s*_\s*(?:\{[^{}]*\}|[A-Za-z0-9]))?")


def read_answer(text: str, *, grouped: bool = True) -> Answer:
    """A text as an answer. `grouped` takes the commas of `1,000` for thousands, else for separators."""
    text = tidy(text)
    if grouped:
        text = _without_groups(text)
    return _read(text, 0)


def has_groups(text: str) -> bool:
    """Whether a comma of the text may separate thousands."""
    return _without_groups(tidy(text)) != tidy(text)


def _without_groups(text: str) -> str:
    """`1,000` -> `1000`, outside brackets alone: `(1,200)` is a pair."""
    bracketed = [place for place, _ in outside(text)]
    free = set(bracketed)
    return _GROUPED.sub(
        lambda found: found.group().replace(",", "") if found.start() in free else found.group(),
        text,
    )


def _read(text: str, depth: int) -> Answer:
    text = text.strip()
    if depth > 20:
        return Leaf(text)
    parts = [part.strip() for part in split_outside(text, _COMMA)]
    parts = [part for part in parts if part]
    if len(parts) > 1:
        return Bag(_flat(tuple(_read(part, depth + 1) for part in parts)), braced=False, text=text)
    text = parts[0] if parts else ""
    return (
        _named(text, depth)
        or _bracketed(text, depth)
        or _matrix(text, depth)
        or _ratio(text)
        or _interval(text)
        or _union(text, depth)
        or _either(text)
    )


def _named(text: str, depth: int) -> Answer | None:
    r"""`x = 5`, `f(x) = x + 1`, `x \in S`; of `a = b = 5` the first name and the last value."""
    members = split_outside(text, _IN)
    if len(members) == 2 and _NAME.fullmatch(members[0].strip()) and members[1].strip():
        return _with_name(_read(members[1], depth + 1), members[0])
    sides = split_outside(text, _EQUALS)
    if len(sides) >= 2 and _NAME.fullmatch(sides[0].strip()) and sides[-1].strip():
        return _with_name(_read(sides[-1], depth + 1), sides[0])
    return None


def _with_name(answer: Answer, name: str) -> Answer:
    return replace(answer, name=re.sub(r"[\s{}]|\\text", "", name))


def _bracketed(text: str, depth: int) -> Answer | None:
    found = wrapped(text)
    if found is None:
        return None
    opening, inner, closing = found
    pieces = [piece for piece in split_outside(inner, _COMMA) if piece.strip()]
    if len(pieces) < 2 and opening not in (r"\{", r"\langle"):
        return _read(inner, depth + 1) if (opening, closing) == ("(", ")") and inner else None
    if opening == r"\{" and _has_condition(inner):
        return None
    parts = tuple(_read(piece, depth + 1) for piece in pieces)
    if opening == r"\{":
        return Bag(_flat(parts), braced=True, text=text)
    if opening == r"\langle":
        return Row(parts, "(", ")", text)
    if opening == "]" or closing == "[":  # ]a, b[ is (a, b)
        opening, closing = "(" if opening == "]" else opening, ")" if closing == "[" else closing
    return Row(parts, opening, closing, text)


def _matrix(text: str, depth: int) -> Answer | None:
    found = _MATRIX.fullmatch(text.strip("[] ") if text.startswith("[") and text.endswith("]") else text)
    if found is None:
        return None
    lines = [line for line in split_outside(found.group(2), _ROWS) if line.strip()]
    rows = tuple(
        Row(tuple(_read(cell, depth + 1) for cell in split_outside(line, _CELLS)), "", "", line) for line in lines
    )
    return Row(rows, "matrix", "", text) if rows else None


def _ratio(text: str) -> Answer | None:
    """`2:3`, `3 \\text{ to } 2`, `3:30 p.m.`; no "f: A \\to B" and no "x: x > 0"."""
    time = time_of(text)
    if time is not None and time.half:
        return Ratio((), time, to=False, text=text)
    found = [token for _, token in outside(text) if token in _COLON or token in _RELATION]
    to = not found and _TO.search(text) is not None
    if not to and (not found or any(token in _RELATION for token in found)):
        return Ratio((), time, to=False, text=text) if time is not None else None
    parts = [part.strip() for part in (_TO.split(text) if to else split_outside(text, _COLON))]
    if not all(parts) or len(parts) < 2 or any(_LONG_WORD.search(_TEXT.sub("", part)) for part in parts):
        return None
    return Ratio(tuple(Leaf(part) for part in parts), time, to=to, text=text)


_TEXT = re.compile(r"\\text\s*\{[^{}]*\}")


def _has_condition(inner: str) -> bool:
    """Whether braces hold a rule, `x : x > 0`, and no list."""
    return any(token in (":", "|", r"\mid") for _, token in outside(inner))


def _interval(text: str) -> Answer | None:
    """`a < x \\le b` and `x > a` as intervals, where x is a letter that the bounds do not contain."""
    for signs in (_LESS, _MORE):
        found = [token for _, token in outside(text) if token in signs]
        sides = [side.strip() for side in split_outside(text, signs)]
        if not found or not all(sides):
            continue
        if signs is _MORE:
            found, sides = found[::-1], sides[::-1]
        opening, closing = "(", ")"
        if len(sides) == 3 and _is_letter(sides[1], sides[0], sides[2]):
            low, name, high = sides
            opening = "(" if found[0] in "<>" else "["
            closing = ")" if found[1] in "<>" else "]"
        elif len(sides) == 2 and _is_letter(sides[0], sides[1]):
            low, name, high = r"-\infty", sides[0], sides[1]
            closing = ")" if found[0] in "<>" else "]"
        elif len(sides) == 2 and _is_letter(sides[1], sides[0]):
            low, name, high = sides[0], sides[1], r"\infty"
            opening = "(" if found[0] in "<>" else "["
        else:
            return None
        return Row((Leaf(low), Leaf(high)), opening, closing, text, name=re.sub(r"[\s{}]", "", name))
    return None


def _is_letter(text: str, *bounds: str) -> bool:
    return _LETTER.fullmatch(text) is not None and not any(
        text in re.sub(r"\\[A-Za-z]+", "", bound) for bound in bounds
    )


def _union(text: str, depth: int) -> Answer | None:
    parts = split_outside(text, _UNION)
    if len(parts) < 2:
        return None
    read = tuple(_read(part, depth + 1) for part in parts)
    return Bag(read, braced=True, text=text)


def _either(text: str) -> Answer:
    r"""`1 \pm 2` is two answers."""
    if r"\pm" not in text and r"\mp" not in text:
        return Leaf(text)
    above = re.sub(r"\\pm(?![A-Za-z])", "+", re.sub(r"\\mp(?![A-Za-z])", "-", text))
    below = re.sub(r"\\pm(?![A-Za-z])", "-", re.sub(r"\\mp(?![A-Za-z])", "+", text))
    return Bag((Leaf(above.lstrip("+ ")), Leaf(below)), braced=False, text=text)


def _flat(parts: tuple[Answer, ...]) -> tuple[Answer, ...]:
    r"""A list within a list is one list: `3 \pm 1, 7`."""
    flat: list[Answer] = []
    for part in parts:
        if isinstance(part, Bag) and not part.braced and not part.name:
            flat.extend(part.parts)
        else:
            flat.append(part)
    return tuple(flat)
