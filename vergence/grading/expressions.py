r"""Whether two expressions are the same mathematical object. Slow, hungry and sometimes endless: for workers only.

Constants are compared by value to 25 digits, expressions with variables by value at several points, equations, sets and
the rest by math-verify. Two plain numbers are compared exactly.
"""

import logging
import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

import sympy
from latex2sympy2_extended import NormalizationConfig, latex2sympy, normalize_latex
from latex2sympy2_extended.latex2sympy2 import ConversionConfig
from math_verify import verify
from sympy import Basic, MatrixBase, MatrixExpr, Symbol

from vergence.grading.leaves import ENOUGH_DIGITS, Plain, cut_short, plainly, same_plainly, with_units
from vergence.grading.unit_table import DEGREE, Unit
from vergence.grading.units import same_dimension
from vergence.grading.values import equal_constants, same_at_points, value_of

logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # says that it has no timeout: the worker has
logging.getLogger("latex2sympy2_extended").setLevel(logging.CRITICAL)

_NORMALISED = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=True, nits=False, boxed="none", equations=False
)
_CONVERSION = ConversionConfig(lowercase_symbols=False)  # or else R^2 - r^2 is 0
_COMPLEX = re.compile(r"(?<![A-Za-z\\])[A-Za-z]?i(?![A-Za-z])|\\(?:imath|mathbb\s*\{C\})")
_SPACED = re.compile(r"[0-9]\s+[0-9]")
_ANGLE = re.compile(r"(?<![0-9.])([0-9]+(?:\.[0-9]+)?)\s*\^\s*(?:\{\s*\\circ\s*\}|\\circ)")
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{5,}|(?<![\\A-Za-z])[A-Za-z]{3,}\s+[A-Za-z]{2,}")


class UnreadableError(Exception):
    """The right answer cannot be read as mathematics; the message says which."""


def same(gold: Plain, other: Plain, tolerance: Fraction) -> bool:
    """Whether `other` is what `gold` is. Raises UnreadableError where `gold` cannot be read."""
    seen = same_plainly(gold, other, tolerance)
    if seen is not None:
        return seen
    gold, other = with_units(gold, other)
    expected = parsed(gold.core)
    if expected is None:
        raise UnreadableError(gold.text)
    if _SPACED.search(other.core) or (_PROSE.search(other.core) and not _PROSE.search(gold.core)):
        return False
    found = parsed(other.core)
    if found is None:
        return False
    return any(_same(expected, reading, gold, other, tolerance) for reading in _readings(found, gold, other))


def _readings(found: Any, gold: Plain, other: Plain) -> list[Any]:
    """What an answer may mean, by its percent sign and its unit; see `same_number`."""
    if gold.unit and other.unit and gold.unit != other.unit:
        return [_converted(found, other.unit, gold.unit)] if same_dimension(gold.unit, other.unit) else []
    if gold.percent and not other.percent and isinstance(found, sympy.Expr):
        return [found, found * 100]
    if other.percent and not gold.percent and isinstance(found, sympy.Expr):
        small = gold.number is not None and abs(gold.number.value) <= 1
        return [found / 100] if small else [found, found / 100]
    return [found]


def _converted(value: Any, unit: Unit, into: Unit) -> Any:
    """The same as `vergence.grading.units.converted`, of any expression."""
    if not unit.known or (DEGREE in (unit, into) and (unit.zero or into.zero)) or not isinstance(value, sympy.Expr):
        return value
    factor, zero, other, other_zero = (
        sympy.Rational(part.numerator, part.denominator) for part in (unit.factor, unit.zero, into.factor, into.zero)
    )
    if unit.zero or into.zero:
        return (value * factor + zero - other_zero) / other
    return value * factor / other * sympy.pi ** (unit.pi - into.pi)


def _same(expected: Any, found: Any, gold: Plain, other: Plain, tolerance: Fraction) -> bool:
    if isinstance(expected, MatrixBase) or isinstance(found, MatrixBase):
        return _same_matrix(expected, found, tolerance)
    if not (isinstance(expected, sympy.Expr) and isinstance(found, sympy.Expr)):
        return _verified(expected, found)
    expected, found = _plain(expected), _plain(found)
    if not (expected.free_symbols or found.free_symbols):
        equal = equal_constants(expected, found)
        if equal is not None:
            return equal or _within(value_of(expected), value_of(found), gold, other, tolerance)
        undefined = expected.has(sympy.zoo, sympy.nan) or found.has(sympy.zoo, sympy.nan)
        return not undefined and (bool(expected == found) or _verified(expected, found))
    at_points = same_at_points(expected, found)
    return _verified(expected, found) if at_points is None else at_points


def _verified(expected: Any, found: Any) -> bool:
    return bool(
        verify(
            expected,
            found,
            float_rounding=12,
            numeric_precision=30,
            allow_set_relation_comp=True,
            timeout_seconds=None,
            raise_on_error=False,
        )
    )


def _same_matrix(expected: Any, found: Any, tolerance: Fraction) -> bool:
    if not (isinstance(expected, MatrixBase) and isinstance(found, MatrixBase)) or expected.shape != found.shape:
        return False
    nothing = plainly("")
    pairs = zip(expected, found, strict=True)
    return all(_same(one, other, nothing, nothing, tolerance) for one, other in pairs)


def _plain(expression: Any) -> Any:
    """Symbols without assumptions, and i as the imaginary unit: `i` is read as a symbol."""
    renamed = {
        symbol: sympy.I if symbol.name in ("i", "imath") else Symbol(symbol.name) for symbol in expression.free_symbols
    }
    return expression.xreplace(renamed)


def _within(one: Any, other: Any, gold: Plain, said: Plain, tolerance: Fraction) -> bool:
    """Whether two values are equal within the tolerance, or one is the other's decimal with enough digits."""
    apart = abs(one - other)
    if tolerance and apart <= sympy.Rational(tolerance.numerator, tolerance.denominator):
        return True
    if gold.unit and said.unit and gold.unit != said.unit:
        return False
    for leaf, exact in ((gold, other), (said, one)):
        number = leaf.number
        if number and number.decimals and number.digits >= ENOUGH_DIGITS and 0 < number.decimals <= 30:
            scaled = exact * 10**number.decimals
            if scaled.is_real and cut_short(number, sympy.floor(scaled), sympy.ceiling(scaled), _nearest(scaled)):
                return True
    return False


def _nearest(value: Any) -> int:
    return int(sympy.floor(value + sympy.Rational(1, 2)))


@lru_cache(maxsize=4096)
def parsed(text: str) -> Any:
    """LaTeX as sympy has it; None where it is no mathematics. Raises MemoryError and RecursionError."""
    if not text.strip() or not text.isascii():  # the parser passes over letters that it does not know
        return None
    if ":" in text and r"\{" not in text:  # the parser divides; a ratio or a time has been read before
        return None
    text = _ANGLE.sub(r"\\frac{\1\\pi}{180}", text)  # of a sine; an angle that is the answer itself is bare by now
    try:
        found = latex2sympy(
            normalize_latex(text, _NORMALISED),
            is_real=not _COMPLEX.search(text),
            convert_degrees=False,
            normalization_config=None,
            conversion_config=_CONVERSION,
        )
    except (MemoryError, RecursionError):
        raise
    except Exception:
        return None
    if isinstance(found, MatrixExpr):  # a multiple of a matrix, a sum of two
        found = found.doit()
    if isinstance(found, MatrixBase):
        return found.applyfunc(_exactly)
    return _exactly(found) if isinstance(found, Basic) else None


def _exactly(expression: Any) -> Any:
    """Decimals as fractions."""
    decimals = expression.atoms(sympy.Float)
    return expression.xreplace({one: sympy.Rational(str(one)) for one in decimals}) if decimals else expression
