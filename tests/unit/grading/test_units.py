"""Units against `sympy.physics.units` and `scipy.constants`, whose figures are not ours."""

from fractions import Fraction

import pytest
import scipy.constants as constants
import sympy
from hypothesis import given
from hypothesis import strategies as st
from sympy.physics import units as si

from tests.unit.grading.problems import asked, boxed
from vergence.grading.judge import judge
from vergence.grading.unit_table import SYMBOLS
from vergence.grading.units import measure, same_dimension, unit_of
from vergence.types import Verdict

BASES = {
    "m": si.meter,
    "kg": si.kilogram,
    "s": si.second,
    "A": si.ampere,
    "K": si.kelvin,
    "mol": si.mole,
    "cd": si.candela,
}
COMPOUND = {
    "N": si.newton,
    "J": si.joule,
    "W": si.watt,
    "Pa": si.pascal,
    "Hz": si.hertz,
    "C": si.coulomb,
    "V": si.volt,
    "F": si.farad,
    "Ω": si.ohm,
    "S": si.siemens,
    "H": si.henry,
    "T": si.tesla,
    "Wb": si.weber,
    "L": si.liter,
    "g": si.gram,
    "eV": si.electronvolt,
    "min": si.minute,
    "h": si.hour,
    "d": si.day,
    "ft": si.foot,
    "in": si.inch,
    "mi": si.mile,
    "km": si.kilometer,
    "nm": si.nanometer,
    "bar": si.bar,
    "kPa": 1000 * si.pascal,
    "km/h": si.kilometer / si.hour,
    "N·m": si.newton * si.meter,
    "J/(kg·K)": si.joule / (si.kilogram * si.kelvin),
    "m s^{-2}": si.meter / si.second**2,
    "kWh": 1000 * si.watt * si.hour,
}


@pytest.mark.parametrize("name", COMPOUND)
def test_a_unit_of_the_si_is_what_sympy_says(name: str) -> None:
    found = unit_of(name)
    assert found is not None
    ours = sympy.Mul(sympy.Rational(found.factor), *(BASES[base] ** power for base, power in found.powers))
    theirs = si.convert_to(COMPOUND[name], list(BASES.values()))
    quotient = sympy.simplify(theirs / ours)
    assert not quotient.free_symbols
    assert not quotient.atoms(si.Quantity)
    assert float(quotient) == pytest.approx(1, rel=1e-8)


CUSTOMARY = {
    "yd": constants.yard,
    "nautical miles": constants.nautical_mile,
    "au": constants.au,
    "light years": constants.light_year,
    "angstroms": constants.angstrom,
    "lb": constants.lb,
    "ounces": constants.oz,
    "tonnes": constants.metric_ton,
    "lbf": constants.lbf,
    "dynes": constants.dyn,
    "erg": constants.erg,
    "hp": constants.hp,
    "BTU": constants.Btu,
    "atm": constants.atm,
    "psi": constants.psi,
    "torr": constants.torr,
    "mmHg": constants.mmHg,
    "hectares": constants.hectare,
    "acres": constants.acre,
    "gallons": constants.gallon,
    "mph": constants.mph,
    "knots": constants.knot,
    "kph": constants.kmh,
    "calories": constants.calorie,
    "eV": constants.eV,
    "weeks": constants.week,
    "years": constants.Julian_year,
}


@pytest.mark.parametrize(("name", "value"), CUSTOMARY.items())
def test_a_customary_unit_is_what_scipy_says(name: str, value: float) -> None:
    found = unit_of(name)
    assert found is not None
    assert float(found.factor) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(
    ("one", "other", "times"),
    [
        ("平方厘米", "mm^2", 100),
        ("千米/小时", "km/h", 1),
        ("千克/立方米", "kg/m^3", 1),
        ("米每秒", "m/s", 1),
        ("公斤", "g", 1000),
        ("斤", "克", 500),
        ("个小时", "分钟", 60),
        ("角", "元", Fraction(1, 10)),
        ("km", "см", 100_000),
        (r"\mu\mathrm{m}", "nm", 1000),
        ("µF", "pF", 10**6),
        (r"\mathrm{k\Omega}", "Ω", 1000),
        ("㎡", "平方米", 1),
        (r"\frac{\text{kg}}{\text{m}^3}", r"\mathrm{g\,cm^{-3}}", Fraction(1, 1000)),
        ("cubic feet", "in^3", 1728),
        ("square units", "units^2", 1),
        ("rpm", "degrees per second", 6),
    ],
)
def test_a_unit_has_many_spellings(one: str, other: str, times: int | Fraction) -> None:
    first, second = unit_of(one), unit_of(other)
    assert first is not None
    assert second is not None
    assert first.powers == second.powers
    assert times == first.factor / second.factor


@pytest.mark.parametrize(
    "text", ["x", "y^2", "+ 3", "squared", "plus 3", "的平方", "倍", "or 7", "= 4", "\\cdot 3", "k"]
)
def test_what_goes_on_with_a_formula_is_no_unit(text: str) -> None:
    assert measure(text) is None


PLAIN = sorted(
    name for name, unit in SYMBOLS.items() if not unit.zero and not unit.pi and name.isascii() and name.isalpha()
)


@given(st.sampled_from(PLAIN), st.sampled_from(PLAIN), st.integers(1, 999))
def test_a_number_of_one_unit_is_one_of_another_only_by_their_factor(one: str, other: str, value: int) -> None:
    """Against arithmetic with the factors alone: the same dimension, the same quantity."""
    first, second = SYMBOLS[one], SYMBOLS[other]
    problem = asked(f"{value} {one}", "numeric")
    same = first.powers == second.powers and first.factor == second.factor
    said = judge(problem, boxed(rf"{value}\text{{ {other}}}"))
    assert (Verdict.CORRECT if same else Verdict.WRONG) is said.verdict
    if first.powers == second.powers:
        times = value * first.factor / second.factor
        exact = judge(problem, boxed(rf"\frac{{{times.numerator}}}{{{times.denominator}}}\text{{ {other}}}"))
        assert Verdict.CORRECT is exact.verdict


THINGS = ("apples", "oranges", "red apples", "blue boxes", "books", "students", "个苹果", "支铅笔", "roses")


@pytest.mark.parametrize("one", THINGS)
@pytest.mark.parametrize("other", THINGS)
def test_two_different_things_are_never_the_same(one: str, other: str) -> None:
    """Only a name that holds the other is: red apples are apples."""
    first, second = measure(one), measure(other)
    assert first is not None
    assert second is not None
    assert (one == other or {one, other} == {"apples", "red apples"}) is same_dimension(first, second)


def test_degrees_of_temperature_have_a_zero_of_their_own() -> None:
    for said in ("32 °F", "0 °C", "0^\\circ\\text{C}", "273.15 K"):
        assert judge(asked("0 °C", "numeric"), boxed(said)).verdict is Verdict.CORRECT
    for said in ("0 °F", "0 K", "273 K", "32 °C"):
        assert judge(asked("0 °C", "numeric"), boxed(said)).verdict is Verdict.WRONG


def test_radians_are_degrees_by_pi_and_not_by_a_decimal() -> None:
    assert judge(asked(r"180^\circ", "math"), boxed(r"\pi\text{ radians}")).verdict is Verdict.CORRECT
    assert judge(asked("180 degrees", "numeric"), boxed("3.14159265358979 radians")).verdict is Verdict.WRONG
    assert (
        judge(asked("180 degrees", "numeric", tolerance=1e-6), boxed("3.14159265358979 rad")).verdict is Verdict.CORRECT
    )
