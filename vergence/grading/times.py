"""Times of day as they are written: `3:30`, `15:30:00`, `3:30 p.m.`, `9 a.m.`, `下午3点30分`."""

import re
from dataclasses import dataclass

from vergence.grading.markup import without_text_commands


@dataclass(frozen=True, slots=True)
class Time:
    """A time of day."""

    hour: int
    minute: int
    second: int
    half: str
    """"a" or "p" where it says which half of the day it is in, else ""; `hour` is then from 0 to 23."""


_COLONS = re.compile(r"([0-9]{1,2})\s*:\s*([0-5][0-9])(?:\s*:\s*([0-5][0-9]))?")
_HALF = re.compile(r"\s*([ap])\s*\.?\s*m\s*\.?$", re.IGNORECASE)
_HOUR = re.compile(r"[0-9]{1,2}")
_HAN = re.compile(
    r"(凌晨|清晨|早上|早晨|上午|中午|下午|傍晚|晚上)?\s*([0-9]{1,2})\s*(?:[点时]\s*(?:([0-9]{1,2})\s*分?|(半)|整)?|:\s*([0-9]{2}))"
)
_MORNING = ("凌晨", "清晨", "早上", "早晨", "上午")


def time_of(text: str) -> Time | None:
    """The time that all of a text is; None where it is none. `3:30` is one and may be a ratio as well."""
    text = without_text_commands(text).strip()
    if not text.isascii():
        return _han(text)
    half = _HALF.search(text)
    text = text[: half.start()] if half else text
    colons = _COLONS.fullmatch(text)
    if colons:
        hour, minute, second = (int(part or 0) for part in colons.groups())
    elif half and _HOUR.fullmatch(text):
        hour, minute, second = int(text), 0, 0
    else:
        return None
    return _checked(hour, minute, second, half.group(1).lower() if half else "")


def _han(text: str) -> Time | None:
    found = _HAN.fullmatch(text)
    if found is None or (found[5] and not found[1]):  # 3:30 without a word is none of Chinese
        return None
    half = "" if not found[1] else "a" if found[1] in _MORNING else "p"
    minute = 30 if found[4] else int(found[3] or found[5] or 0)
    hour = int(found[2])
    return _checked(hour, minute, 0, "" if hour > 12 else half) if minute < 60 else None


def _checked(hour: int, minute: int, second: int, half: str) -> Time | None:
    if half and not 1 <= hour <= 12:
        return None
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    return Time(hour, minute, second, half) if hour <= 24 else None


def same_time(one: Time, other: Time) -> bool:
    """The same time; where one alone says in which half of the day, the other may be on a clock of 12 hours."""
    if (one.minute, one.second) != (other.minute, other.second):
        return False
    if one.hour == other.hour:
        return True
    unsaid = other if one.half and not other.half else one if other.half and not one.half else None
    return unsaid is not None and 1 <= unsaid.hour <= 12 and one.hour % 12 == other.hour % 12
