"""Numbers as Chinese writes them -> digits: `十五` is 15, `三分之二` is 2/3, `百分之五十` is 50%, `二点五` is 2.5."""

import re
from fractions import Fraction

_DIGITS = {digit: value for value, digit in enumerate("〇一二三四五六七八九")} | {"零": 0, "两": 2}
_UNITS = (("亿", 10**8), ("万", 10**4), ("千", 1000), ("百", 100), ("十", 10))
_WHOLE = "[〇零一二两三四五六七八九十百千万亿]{1,30}"
_NUMERAL = re.compile(
    rf"(?P<minus>负)?(?:(?P<half>一半)|百分之(?P<percent>{_WHOLE})|(?P<below>{_WHOLE})分之(?P<above>{_WHOLE})"
    rf"|(?P<whole>{_WHOLE})(?:点(?P<behind>[〇零一二三四五六七八九]{{1,30}}))?)"
)
COUNTED = re.compile("[个只本支枝张条件辆匹头名位棵朵颗块页层间台瓶杯箱袋包根岁人](?!次)")
"""What stands between a numeral and a thing that is counted."""


def numeral(text: str) -> tuple[str, str] | None:
    """The number that a text begins with, in ASCII, and what follows it; None where it begins with none."""
    found = _NUMERAL.match(text)
    if found is None:
        return None
    sign = "-" if found["minus"] else ""
    if found["half"]:
        return f"{sign}1/2", text[found.end() :]
    parts = {name: _value(part) for name, part in found.groupdict().items() if part and name not in ("minus", "behind")}
    if None in parts.values():
        return None
    if "percent" in parts:
        said = f"{parts['percent']}%"
    elif "below" in parts:
        said = f"{parts['above']}/{parts['below']}"
    else:
        behind = "".join(str(_DIGITS[digit]) for digit in found["behind"] or "")
        said = f"{parts['whole']}.{behind}" if behind else f"{parts['whole']}"
    return sign + said, text[found.end() :]


def _value(text: str) -> int | None:
    """A whole number; None where the characters are in no order that makes one."""
    if all(character in _DIGITS for character in text):  # digit by digit: 二〇二四
        return int("".join(str(_DIGITS[digit]) for digit in text))
    sign, unit = next((sign, unit) for sign, unit in _UNITS if sign in text)
    above, _, behind = text.rpartition(sign)
    high = _value(above) if above else 1 if unit == 10 else None
    low = _value(behind) if behind else 0
    if high is None or low is None or low >= unit or (high > 9 and unit < 10**4):
        return None
    if len(behind) == 1 and unit > 10:  # 一千五 is 1500
        low *= unit // 10
    return high * unit + low


MULTIPLES = {
    "hundred": 100,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "dozen": 12,
    "百": 100,
    "千": 1000,
    "万": 10**4,
    "百万": 10**6,
    "千万": 10**7,
    "亿": 10**8,
    "万亿": 10**12,
}
"""Words behind a number that multiply it."""
_MULTIPLE = re.compile(rf"\s*({'|'.join(sorted(MULTIPLES, key=len, reverse=True))})(?![A-Za-z])")


def multiple(text: str) -> tuple[Fraction, str] | None:
    """The factor that a text behind a number begins with, and what follows it: `million people`, `万元`."""
    found = _MULTIPLE.match(text)
    return (Fraction(MULTIPLES[found.group(1)]), text[found.end() :]) if found else None
