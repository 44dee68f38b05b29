r"""Mathematical answers: the same mathematical object. For workers only, as what it calls may never end.

The kinds are compared first, since math-verify takes a pair, an open interval and a set of two for the same.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from vergence.grading.expressions import UnreadableError, parsed, same
from vergence.grading.latex import tidy
from vergence.grading.leaves import plainly
from vergence.grading.numbers import parse_number
from vergence.grading.structure import Answer, Bag, Leaf, Ratio, Row, has_groups, read_answer
from vergence.grading.times import same_time
from vergence.types import Verdict

_RELATION = re.compile(r"[<>]|\\(?:le|ge)(?![A-Za-z])")
_MOST_PARTS = 64


def compare(gold: str, answer: str, tolerance: float) -> tuple[Verdict, str]:
    """A right answer and the text of a final answer -> the verdict and its reason."""
    if not tidy(gold):
        return Verdict.FAILED, "the right answer is empty"
    if not tidy(answer):
        return Verdict.WRONG, "the final answer says nothing"
    within = Fraction(str(tolerance))
    try:
        for expected in _readings(gold):
            if any(_alike(expected, found, within) for found in _readings(answer)):
                return Verdict.CORRECT, "the same"
    except UnreadableError as error:
        return Verdict.FAILED, f"the right answer {str(error)!r:.80} cannot be read as mathematics"
    return Verdict.WRONG, "something else"


def _readings(text: str) -> list[Answer]:
    """A text as an answer, and as a list too where its commas may separate thousands or numbers."""
    readings = [read_answer(text)]
    if has_groups(text):
        separated = read_answer(text, grouped=False)
        parts = separated.parts if isinstance(separated, Bag) else ()
        if not any(isinstance(part, Leaf) and part.text.startswith("0") and len(part.text) > 1 for part in parts):
            readings.append(separated)
    return readings


def _alike(gold: Answer, other: Answer, within: Fraction) -> bool:
    """Whether two answers are of one kind and have the same parts."""
    if not _names_agree(gold.name, other.name):
        variables = len(gold.name) == 1 and isinstance(gold, Leaf) and isinstance(other, Leaf)
        return variables and _same_text(_equation(gold), _equation(other), within)
    if isinstance(gold, Bag) and isinstance(other, Bag):
        return _same_bags(gold, other, within)
    if isinstance(gold, Row) and isinstance(other, Row):
        brackets = (gold.opening, gold.closing) == (other.opening, other.closing)
        return brackets and _in_order(gold.parts, other.parts, within)
    if isinstance(gold, Leaf) and isinstance(other, Leaf):
        if bool(gold.name) != bool(other.name) and ("=" in gold.text or "=" in other.text):
            return _same_text(_equation(gold), _equation(other), within)
        return _same_text(gold.text, other.text, within)
    if isinstance(gold, Ratio) or isinstance(other, Ratio):
        return _same_ratio(gold, other, within)
    if _coordinates(gold, other):
        return _in_order(_parts(gold), [_unnamed(part) for part in _parts(other)], within)
    if isinstance(gold, Bag) and len(gold.parts) == 1:
        return _alike(gold.parts[0], other, within)
    if isinstance(other, Bag) and len(other.parts) == 1:
        return _alike(gold, other.parts[0], within)
    if _as_sets(gold, other) or _matrix_and_formula(gold, other):
        return _same_text(gold.text, other.text, within)
    _assert_readable(gold)
    return False


def _matrix_and_formula(gold: Answer, other: Answer) -> bool:
    r"""Whether one is a matrix and the other may have one for its value: `\frac12 \begin{pmatrix}...`."""
    kinds = sorted((gold, other), key=lambda answer: isinstance(answer, Row))
    return isinstance(kinds[0], Leaf) and isinstance(kinds[1], Row) and kinds[1].opening == "matrix"


def _same_ratio(gold: Answer, other: Answer, within: Fraction) -> bool:
    """Two ratios, or times, or a ratio of two and a number that may be its value.

    A right answer that may be a time, such as `8:15`, is compared literally: it is not `16:30`.
    """
    if isinstance(gold, Bag) and len(gold.parts) == 1:
        return _alike(gold.parts[0], other, within)
    if isinstance(other, Bag) and len(other.parts) == 1:
        return _alike(gold, other.parts[0], within)
    if isinstance(gold, Ratio) and isinstance(other, Ratio):
        if gold.time:
            return other.time is not None and same_time(gold.time, other.time)
        if gold.to and other.to:
            return _in_order(gold.parts, other.parts, within)
        return _proportional(gold.parts, other.parts)
    ratio, value = (gold, other) if isinstance(gold, Ratio) else (other, gold)
    if not (isinstance(ratio, Ratio) and isinstance(value, Leaf)) or len(ratio.parts) != 2:
        _assert_readable(gold)
        return False
    if ratio is gold and ratio.time:
        above, below = (part.text for part in ratio.parts)
        literally = rf"\\frac\s*\{{?{above}\}}?\s*\{{{below}\}}|{above}\s*/\s*{below}"
        return re.fullmatch(literally, value.text) is not None
    quotient = rf"\frac{{{ratio.parts[0].text}}}{{{ratio.parts[1].text}}}"
    texts = (quotient, value.text) if ratio is gold else (value.text, quotient)
    return _same_text(*texts, within)


def _proportional(mine: Sequence[Leaf], theirs: Sequence[Leaf]) -> bool:
    """Whether a_i b_j = a_j b_i for all terms; not all of them may be zero."""
    if len(mine) != len(theirs):
        for part in mine:
            _assert_readable(part)
        return False
    one, other = _terms(mine), _terms(theirs)
    if one is not None and other is not None:
        crossed = all(one[i] * other[j] == one[j] * other[i] for i in range(len(one)) for j in range(i))
        return crossed and any(one) and any(other)
    if any(terms is not None and not any(terms) for terms in (one, other)):
        return False
    products = [
        (rf"({mine[0].text}) \cdot ({theirs[i].text})", rf"({mine[i].text}) \cdot ({theirs[0].text})")
        for i in range(1, len(mine))
    ]
    return all(_same_text(*pair, Fraction(0)) for pair in products)


def _terms(parts: Sequence[Leaf]) -> list[Fraction] | None:
    """Plain numbers in units of one dimension; None where a term is no number, or the units cannot be compared."""
    numbers = [parse_number(part.text) for part in parts]
    found = [number for number in numbers if number is not None]
    units = {number.unit.powers if number.unit else None for number in found}
    if len(found) < len(parts) or len(units) > 1:
        return None
    return [number.value * (number.unit.factor if number.unit else 1) for number in found]


def _same_text(gold: str, other: str, within: Fraction) -> bool:
    return same(plainly(gold), plainly(other), within)


def _equation(answer: Answer) -> str:
    return f"{answer.name}={answer.text}" if answer.name else answer.text


def _same_bags(gold: Bag, other: Bag, within: Fraction) -> bool:
    if _distinct_names(gold) and not any(part.name for part in other.parts):
        return _in_order([_unnamed(part) for part in gold.parts], other.parts, within)
    if _distinct_names(other) and not any(part.name for part in gold.parts):
        return _in_order(gold.parts, [_unnamed(part) for part in other.parts], within)
    mine, theirs = list(gold.parts), list(other.parts)
    if max(len(mine), len(theirs)) > _MOST_PARTS:
        return False
    if gold.braced and other.braced:
        mine, theirs = _once(mine, within), _once(theirs, within)
    if _matched(mine, theirs, within):
        return True
    return _as_sets(gold, other) and _same_text(gold.text, other.text, within)


def _matched(mine: Sequence[Answer], theirs: Sequence[Answer], within: Fraction) -> bool:
    """Whether the parts are the same in some order, each as often."""
    if len(mine) != len(theirs):
        for part in mine:
            _assert_readable(part)
        return False
    partner: dict[int, int] = {}  # place in theirs -> place in mine
    known: dict[tuple[int, int], bool] = {}

    def fits(one: int, other: int) -> bool:
        if (one, other) not in known:
            known[one, other] = _alike(mine[one], theirs[other], within)
        return known[one, other]

    def find(one: int, tried: set[int]) -> bool:
        """An augmenting path: within a tolerance the first that fits need not be the one."""
        free = [other for other in range(len(theirs)) if other not in partner and other not in tried]
        taken = [other for other in range(len(theirs)) if other in partner and other not in tried] if within else []
        for other in (*free, *taken):
            if other in tried or not fits(one, other):
                continue
            tried.add(other)
            if other not in partner or find(partner[other], tried):
                partner[other] = one
                return True
        return False

    return all(find(one, set()) for one in range(len(mine)))


def _once(parts: Sequence[Answer], within: Fraction) -> list[Answer]:
    kept: list[Answer] = []
    for part in parts:
        if not any(_alike(one, part, within) for one in kept):
            kept.append(part)
    return kept


def _in_order(mine: Sequence[Answer], theirs: Sequence[Answer], within: Fraction) -> bool:
    return len(mine) == len(theirs) and all(_alike(one, other, within) for one, other in zip(mine, theirs, strict=True))


def _names_agree(one: str, other: str) -> bool:
    """Whether two names may be of the same thing: equal, one missing, or of two kinds, as `y`, `f(x)` and `m_1` are."""
    if not one or not other or one == other:
        return True
    return _kind(one) != _kind(other)


def _kind(name: str) -> str:
    return next((sign for sign in "(_" if sign in name), "")


def _distinct_names(bag: Bag) -> bool:
    """`x = 1, y = 2`: every part has a name of its own."""
    names = [part.name for part in bag.parts]
    return len(names) > 1 and all(names) and len(set(names)) == len(names)


def _coordinates(gold: Answer, other: Answer) -> bool:
    """Whether a point is compared with its coordinates by name, `x = 1, y = 2`."""
    return isinstance(gold, Row) and isinstance(other, Bag) and _distinct_names(other) and gold.opening == "("


def _parts(answer: Answer) -> Sequence[Answer]:
    return () if isinstance(answer, Leaf) else answer.parts


def _unnamed(part: Answer) -> Answer:
    return replace(part, name="")


def _as_sets(gold: Answer, other: Answer) -> bool:
    r"""Whether both are sets of numbers and one is a union: `[0, 1] \cup [1, 2]` is `[0, 2]`."""
    signs = (r"\cup", r"\cap", r"\setminus", r"\mathbb{R}", r"\emptyset")
    has_sign = any(sign in answer.text for sign in signs for answer in (gold, other))
    has_sign |= any(isinstance(answer, Leaf) and _RELATION.search(answer.text) for answer in (gold, other))
    lists = any(isinstance(answer, Bag) and not answer.braced for answer in (gold, other))
    return has_sign and not lists


def _assert_readable(gold: Answer) -> None:
    """Raises UnreadableError where a part of the right answer cannot be read, though the kinds differ already."""
    if isinstance(gold, Leaf):
        leaf = plainly(gold.text)
        if not (leaf.words or leaf.number or parsed(leaf.core) is not None):
            raise UnreadableError(gold.text)
        return
    for part in gold.parts:
        _assert_readable(part)


def readable(gold: str) -> str:
    """Why a right answer cannot be graded; "" where it can."""
    try:
        _assert_readable(read_answer(gold))
    except UnreadableError as error:
        return f"{str(error)!r:.80} cannot be read as mathematics"
    return "" if tidy(gold) else "it is empty"
