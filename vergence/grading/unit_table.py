# ruff: noqa: RUF001 - Greek and Cyrillic letters are meant
"""Units of measurement by name: what each is in base units.

The bases are those of the SI, the degree, the bit and each currency, and the units that the SI tells from others of the
same dimension (becquerel and hertz, sievert and gray, lumen and candela); `tests/unit/grading/test_units.py` holds the
factors against `sympy.physics.units` and `scipy.constants`. Customary units are the international yard and pound and
the US gallon. A pound is a mass and `¥` is yuan: where a name means two things, the one with the other symbol is
missing (`£`, `yen`).
"""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of measurement, or words that are none that is known."""

    powers: tuple[tuple[str, int], ...]
    """Base units with their powers, sorted: `(("kg", 1), ("m", 1), ("s", -2))` is a newton."""
    factor: Fraction = Fraction(1)
    """How many of the product of base units it is."""
    pi: int = 0
    r"""The power of \pi in that factor: a radian is 180 \pi^{-1} degrees."""
    zero: Fraction = Fraction(0)
    """Where its zero lies, in kelvins: 273.15 for degrees Celsius."""
    known: bool = True
    """False where `powers` holds words instead, such as `apples`."""


_PREFIXES = {"f": -15, "p": -12, "n": -9, "μ": -6, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12}
_SMALL_PREFIXES = {"c": -2, "d": -1, "h": 2}
"""In use with metres, grams, litres and pascals."""
_PREFIX_WORDS = {
    "femto": -15,
    "pico": -12,
    "nano": -9,
    "micro": -6,
    "milli": -3,
    "centi": -2,
    "deci": -1,
    "hecto": 2,
    "kilo": 3,
    "mega": 6,
    "giga": 9,
    "tera": 12,
}
_HAN_PREFIXES = {"纳": -9, "微": -6, "毫": -3, "厘": -2, "分": -1, "千": 3, "兆": 6}

_WITH_PREFIXES = """
m: 1 m: meter metre: 米 м
g: 1/1000 kg: gram gramme: 克 г
s: 1 s: second sec: 秒 с
A: 1 A: ampere amp: 安 安培
K: 1 K: kelvin: 开尔文
mol: 1 mol: mole: 摩尔
cd: 1 cd: candela
N: 1 kg m s-2: newton: 牛 牛顿
J: 1 kg m2 s-2: joule: 焦 焦耳
W: 1 kg m2 s-3: watt: 瓦 瓦特
Pa: 1 kg m-1 s-2: pascal: 帕 帕斯卡
Hz: 1 s-1: hertz: 赫 赫兹
C: 1 A s: coulomb: 库 库仑
V: 1 kg m2 s-3 A-1: volt: 伏 伏特
F: 1 kg-1 m-2 s4 A2: farad: 法拉
Ω: 1 kg m2 s-3 A-2: ohm: 欧 欧姆
S: 1 kg-1 m-2 s3 A2: siemens
H: 1 kg m2 s-2 A-2: henry: 亨利
T: 1 kg s-2 A-1: tesla: 特斯拉
Wb: 1 kg m2 s-2 A-1: weber: 韦伯
Bq: 1 Bq: becquerel
Gy: 1 m2 s-2: gray
Sv: 1 Sv: sievert
lm: 1 lm: lumen
lx: 1 lm m-2: lux
L: 1/1000 m3: liter litre: 升 л
l: 1/1000 m3:
bar: 100000 kg m-1 s-2: bar
eV: 1602176634/10000000000000000000000000000 kg m2 s-2: electronvolt
cal: 4184/1000 kg m2 s-2: calorie: 卡
Wh: 3600 kg m2 s-2: watt-hour watthour: 瓦时
M: 1000 mol m-3: molar
B: 8 bit: byte
bps: 1 bit s-1:
bit: 1 bit: bit
"""
_WITHOUT_PREFIXES = """
min: 60 s: minute min: 分钟 мин
h: 3600 s: hour hr: 小时 时 钟头 時間 ч
d: 86400 s: day: 天 日
wk: 604800 s: week: 周 星期
mo: 2629800 s: month: 月 个月
yr: 31557600 s: year yr: 年 岁
in: 127/5000 m: inch inches: 英寸
ft: 381/1250 m: foot feet: 英尺
yd: 1143/1250 m: yard: 码
mi: 201168/125 m: mile: 英里
nmi: 1852 m: nautical-mile: 海里
micron: 1/1000000 m: micron
Å: 1/10000000000 m: angstrom
au: 149597870700 m: astronomical-unit: 天文单位
ly: 9460730472580800 m: light-year lightyear: 光年
公里: 1000 m:
公分: 1/100 m:
里: 500 m:
公斤: 1 kg:
斤: 1/2 kg:
t: 1000 kg: ton tonne: 吨
lb: 45359237/100000000 kg: pound lbs
oz: 28349523125/1000000000000 kg: ounce: 盎司
lbf: 44482216152605/10000000000000 kg m s-2: pound-force
dyn: 1/100000 kg m s-2: dyne
erg: 1/10000000 kg m2 s-2: erg
hp: 37284993579113511/50000000000000 kg m2 s-3: horsepower: 马力
Cal: 4184 kg m2 s-2:
BTU: 52752792631/50000000 kg m2 s-2: btu
atm: 101325 kg m-1 s-2: atmosphere: 标准大气压 大气压
psi: 8896443230521/1290320000 kg m-1 s-2: psi
torr: 20265/152 kg m-1 s-2: torr
mmHg: 26664477483/200000000 kg m-1 s-2:
ha: 10000 m2: hectare: 公顷
acre: 316160658/78125 m2: acre: 英亩
亩: 2000/3 m2:
cc: 1/1000000 m3: cc
gal: 473176473/125000000000 m3: gallon: 加仑
qt: 473176473/500000000000 m3: quart
pt: 473176473/1000000000000 m3: pint
cup: 473176473/2000000000000 m3: cup
mph: 1397/3125 m s-1: mph
kph: 5/18 m s-1: kph kmh
fps: 381/1250 m s-1:
kn: 463/900 m s-1: knot
rpm: 6 degree s-1: rpm
rev: 360 degree: revolution turn
degree: 1 degree: degree deg: 度
arcmin: 1/60 degree: arcminute
arcsec: 1/3600 degree: arcsecond
dB: 1 dB: decibel: 分贝
unit: 1 unit: unit: 单位
KB: 8000 bit:
Kg: 1 kg:
Km: 1000 m:
dollar: 1 dollar: dollar usd us-dollar: 美元
cent: 1/100 dollar: cent: 美分
€: 1 euro: euro eur: 欧元
£: 1 sterling: gbp: 英镑
¥: 1 yuan: yuan rmb cny renminbi: 元 元钱 块 块钱 人民币 元人民币
角: 1/10 yuan:
yen: 1 yen: jpy: 日元 円
₹: 1 rupee: rupee inr rs: 卢比
won: 1 won: krw: 韩元 원
₽: 1 ruble: rouble: 卢布 руб
"""
CELSIUS = Unit((("K", 1),), zero=Fraction(27315, 100))
FAHRENHEIT = Unit((("K", 1),), Fraction(5, 9), zero=Fraction(45967, 180))
RADIAN = Unit((("degree", 1),), Fraction(180), pi=-1)
DEGREE = Unit((("degree", 1),))
DOLLAR = Unit((("dollar", 1),))
PEOPLE = Unit((("people", 1),))


def _dimension(text: str) -> tuple[tuple[str, int], ...]:
    """`kg m2 s-2` -> its powers."""
    found = []
    for part in text.split():
        name = part.rstrip("-0123456789")
        found.append((name, int(part[len(name) :] or 1)))
    return tuple(sorted(found))


def _rows(text: str) -> list[tuple[str, Unit, list[str], list[str]]]:
    """(symbol, unit, words, words in other alphabets) of every line."""
    found = []
    for line in text.strip().splitlines():
        symbol, what, names, others = ([part.strip() for part in line.split(":")] + ["", ""])[:4]
        factor, _, dimension = what.partition(" ")
        found.append((symbol, Unit(_dimension(dimension), Fraction(factor)), names.split(), others.split()))
    return found


def _times(unit: Unit, power: int) -> Unit:
    return Unit(unit.powers, unit.factor * Fraction(10) ** power)


def _plural(name: str) -> str:
    return name if name.endswith(("s", "x", "z")) else f"{name}s"


def _tables() -> tuple[dict[str, Unit], dict[str, Unit]]:
    """Units by symbol, in which case matters, and by word, in which it does not."""
    symbols: dict[str, Unit] = {}
    words: dict[str, Unit] = {}
    for symbol, unit, names, others in _rows(_WITH_PREFIXES):
        small = _SMALL_PREFIXES if symbol in ("m", "g", "L", "l", "Pa") else {}
        symbols |= {prefix + symbol: _times(unit, power) for prefix, power in (_PREFIXES | small).items()}
        for name in names:
            prefixed = {prefix + name: _times(unit, power) for prefix, power in _PREFIX_WORDS.items()}
            words |= prefixed | {_plural(long): one for long, one in prefixed.items()}
        for name in others:
            han = {prefix + name: _times(unit, power) for prefix, power in _HAN_PREFIXES.items()}
            cyrillic = {"м": -3, "с": -2, "д": -1, "к": 3, "мк": -6, "н": -9}
            words |= han | {prefix + name: _times(unit, power) for prefix, power in cyrillic.items()}
    for symbol, unit, names, others in _rows(_WITH_PREFIXES) + _rows(_WITHOUT_PREFIXES):
        symbols[symbol] = unit
        words |= dict.fromkeys([*names, *map(_plural, names), *others], unit)
    words |= dict.fromkeys(("radian", "radians", "弧度"), RADIAN)
    words |= dict.fromkeys(("people", "person", "persons", "人", "名", "位"), PEOPLE)
    words |= dict.fromkeys(
        ("celsius", "centigrade", "degree-celsius", "degrees-celsius", "degrees-c", "摄氏度"), CELSIUS
    )
    words |= dict.fromkeys(("fahrenheit", "degree-fahrenheit", "degrees-fahrenheit", "degrees-f", "华氏度"), FAHRENHEIT)
    symbols |= {"°": DEGREE, "rad": RADIAN, "°C": CELSIUS, "°F": FAHRENHEIT, "$": DOLLAR}
    return symbols, words


SYMBOLS, WORDS = _tables()
