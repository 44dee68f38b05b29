r"""LaTeX as models write it -> one spelling, and where its parts end. No mathematics is done here."""

import re
from collections.abc import Iterator
from functools import lru_cache

from vergence.grading.characters import plain_characters
from vergence.grading.markup import bare

_GONE = re.compile(
    r"\\(?:left|right|big|Big|bigg|Bigg|bigl|bigr|Bigl|Bigr|biggl|biggr|mathstrut|displaystyle|textstyle|limits|nolimits)"
    r"(?![A-Za-z])\.?|\\!|\\\$|\\textdollar|\\pounds(?![A-Za-z])|\$|^\s*[€£¥₹₽]"
)
_CURRENCY = re.compile(
    r"(\\\$|\\pounds(?![A-Za-z])|[€£¥₹₽])\s*(-?[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?|\\frac\s*\{[0-9]+\}\s*\{[0-9]+\})"
    r"(?=\s*(?:$|[,;)\]}]|\\text|[A-Za-z]{2}))"
)
_CURRENCIES = {r"\$": "dollars", r"\pounds": "£"}
_SPACES = re.compile(r"(?<!\\)\\[,;:> ]|\\(?:quad|qquad|thinspace|hspace\{[^{}]*\}|phantom\{[^{}]*\})|~|\s+")
_THOUSANDS = re.compile(r"(?<=[0-9])(?:\{,\}|,\s*\\!|,\\,|\\,|\\!)\s*(?=[0-9]{3}(?![0-9]))")
_NAMES = (
    (re.compile(r"\\(?:d|t|c)frac(?![A-Za-z])"), r"\\frac"),
    (
        re.compile(
            r"\\(?:mbox|hbox|textrm|textnormal|textsf|texttt|textbf|textit|mathrm|mathbf|mathsf|mathit|rm|bf)(?=\s*\{)"
        ),
        r"\\text",
    ),
    (re.compile(r"\\(?:geqslant|geq|gteq)(?![A-Za-z])|>="), r"\\ge "),
    (re.compile(r"\\(?:leqslant|leq|lteq)(?![A-Za-z])|<="), r"\\le "),
    (re.compile(r"\\neq(?![A-Za-z])|!="), r"\\ne "),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\lbrace(?![A-Za-z])"), r"\\{"),
    (re.compile(r"\\rbrace(?![A-Za-z])"), r"\\}"),
    (re.compile(r"\\lbrack(?![A-Za-z])"), "["),
    (re.compile(r"\\rbrack(?![A-Za-z])"), "]"),
    (re.compile(r"\\(?:lvert|rvert|vert)(?![A-Za-z])"), "|"),
    (re.compile(r"\\(?:tg|tan)(?![A-Za-z])"), r"\\tan "),
    (re.compile(r"\\ctg(?![A-Za-z])"), r"\\cot "),
    (re.compile(r"\\(?:small)?setminus(?![A-Za-z])"), r"\\setminus "),
    (re.compile(r"\\(?:varnothing|emptyset)(?![A-Za-z])"), r"\\emptyset "),
    (
        re.compile(
            r"\\text\s*\{\s*(?:and|or|或者?|和|与|以?及)\s*\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])"
            r"|(?<=[0-9A-Za-z)}\]])\s*(?:或者?|和|与|以?及)\s*(?=[-0-9A-Za-z\\(\[])"
        ),
        ",",
    ),
    (re.compile(r"(?<![0-9])(?:\\[lc]?dots(?![A-Za-z])|\.\.\.|\u2026)"), r"\\text{and so on}"),
    (re.compile(r"\\text\s*\{\s*([,;:])\s*\}"), r"\1"),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"(?<![\\{])\*"), r"\\cdot "),
    (re.compile(r"(?<![A-Za-z\\])(?:pi|Pi|PI)(?![A-Za-z])"), r"\\pi "),
    (re.compile(r"(?<![A-Za-z\\])(?:oo|inf|infty|infinity)(?![A-Za-z])"), r"\\infty "),
    (re.compile(r"\\(?:mathbb|mathbf|Bbb)\s*\{?\s*R\s*\}?"), r"\\mathbb{R}"),
    (re.compile(r"(?<![A-Za-z\\])sqrt(?![A-Za-z])"), r"\\sqrt"),
    (re.compile(r"(?<![A-Za-z\\])cbrt(?![A-Za-z])"), r"\\sqrt[3]"),
    (re.compile(r"\\root\s*\{?\s*([0-9A-Za-z]+)\s*\}?\s*\\of(?![A-Za-z])"), r"\\sqrt[\1]"),
    (re.compile(r"\\sqrt\s*(\[[^\[\]]*\])\s*(?:([0-9A-Za-z])|\(([^()]*)\))"), r"\\sqrt\1{\2\3}"),
    (re.compile(r"(?<![A-Za-z\\])(sin|cos|tan|cot|sec|csc|ln|log|exp|arcsin|arccos|arctan)(?![A-Za-z])"), r"\\\1"),
    (
        re.compile(r"(?<![0-9A-Za-z_.])([0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE]([-+]?[0-9]{1,4})(?![0-9A-Za-z])"),
        r"\1 \\times 10^{\2}",
    ),
)
_UPRIGHT = re.compile(r"\\(?:mathrm|text|rm)\s*\{\s*([eid])\s*\}")
_FACTORIAL = re.compile(r"([0-9]+|[A-Za-z]|\([^()]*\))\s*!\s*\^")
_ROOT_OF = re.compile(r"\\sqrt\s*\(([^()]*)\)")
_POWER_OF = re.compile(r"\^\s*\(([^()]*)\)")
_INTRODUCED = re.compile(
    r"^\\text\s*\{[^{}]*(?:\b(?:is|are|ratio|about|approximately|roughly|around|total)|[:=是为共约]|等于)\s*\}\s*(?=[^\s=])"
)
"""Words in front that say that a value follows."""
_APPROXIMATELY = re.compile(r"\\(?:approx|simeq|doteq)(?![A-Za-z])")

OPENING, CLOSING = "([{", ")]}"


@lru_cache(maxsize=2048)
def tidy(text: str) -> str:
    r"""One spelling for what LaTeX writes in many ways: `\dfrac`, `\left(`, `\geqslant`, `1e3`, `sqrt(2)`."""
    text = bare(plain_characters(text))
    text = _THOUSANDS.sub("", text)
    text = _UPRIGHT.sub(r" \1 ", text)
    if "matrix" not in text:
        text = re.sub(r"\\\\(?=[A-Za-z])", r"\\", text)  # doubled by whoever wrote the file
    text = _CURRENCY.sub(lambda one: rf"{one[2]}\text{{{_CURRENCIES.get(one[1], one[1])}}}", text)
    text = _GONE.sub("", text)
    for pattern, replacement in _NAMES:
        text = pattern.sub(replacement, text)
    text = _INTRODUCED.sub("", text)
    text = _FACTORIAL.sub(r"(\1!)^", text)
    text = _ROOT_OF.sub(r"\\sqrt{\1}", text)
    text = _POWER_OF.sub(r"^{\1}", text)
    text = _SPACES.sub(" ", text).strip()
    exact = _APPROXIMATELY.split(text, maxsplit=1)
    text = next((part for part in exact if part.strip()), "")  # what stands left of "about equal" is exact
    return bare(text)


def deepest(text: str) -> int:
    """How deep brackets of any kind are nested."""
    depth = most = 0
    for character in text:
        if character in OPENING:
            depth += 1
            most = max(most, depth)
        elif character in CLOSING:
            depth -= 1
    return most


def outside(text: str) -> Iterator[tuple[int, str]]:
    r"""(place, character) of what lies within no bracket and no environment; `\{` counts as a bracket."""
    depth, place = 0, 0
    while place < len(text):
        character = text[place]
        if character == "\\":
            command = re.compile(r"\\(?:[A-Za-z]+|.)?", re.DOTALL).match(text, place)
            word = command.group() if command else character
            if word in (r"\{", r"\begin", r"\langle", r"\lfloor", r"\lceil"):
                depth += 1
            elif word in (r"\}", r"\end", r"\rangle", r"\rfloor", r"\rceil"):
                depth -= 1
            elif depth == 0:
                yield place, word
            place += len(word)
            continue
        if character in OPENING:
            depth += 1
        elif character in CLOSING:
            depth -= 1
        elif depth == 0:
            yield place, character
        place += 1


def split_outside(text: str, separators: frozenset[str]) -> list[str]:
    """Parts of a text between separators that lie within no bracket."""
    parts, begin = [], 0
    for place, token in outside(text):
        if token in separators:
            parts.append(text[begin:place])
            begin = place + len(token)
    return [*parts, text[begin:]]


_PAIRS = (
    (r"\{", r"\}"),
    (r"\langle", r"\rangle"),
    ("(", ")"),
    ("[", "]"),
    ("(", "]"),
    ("[", ")"),
    ("]", "["),
    ("]", "]"),
    ("[", "["),
)


def wrapped(text: str) -> tuple[str, str, str] | None:
    """(opening, inner, closing) where one pair of brackets is around all of the text; half-open intervals count."""
    for opening, closing in _PAIRS:
        if text.startswith(opening) and text.endswith(closing) and len(text) >= len(opening + closing):
            inner = text[len(opening) : len(text) - len(closing)]
            if _level(inner):
                return opening, inner.strip(), closing
    return None


def _level(inner: str) -> bool:
    """Whether the brackets of a text close what they open, in kind and order; only `(1,2]` may mix two kinds."""
    open_ones: list[str] = []
    for character in inner:
        if character in OPENING:
            open_ones.append(character)
        elif character in CLOSING:
            if not open_ones:
                return False
            other = open_ones.pop()
            if (other == "{") != (character == "}"):
                return False
    return not open_ones
