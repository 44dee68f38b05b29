"""The check of one picture: which fault it has, and what is done to it before a model sees it."""

from dataclasses import dataclass

from vergence.data.decoding import Conversion
from vergence.data.images import Picture, TooLargeError, check_header, check_present, check_whole
from vergence.data.lint.finding import Fault
from vergence.errors import DataError

LONGEST_SHAPE = 200
"""How much longer than wide a picture may be; image processors refuse more (Qwen-VL's does)."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a picture says."""

    fault: tuple[Fault, str] | None
    """The first fault, from the cheapest question to the dearest; None if the picture is whole."""
    conversions: tuple[Conversion, ...] = ()


def look(picture: Picture) -> Look:
    """Decode the picture once. Raises nothing."""
    fault = Fault.MISSING
    try:
        check_present(picture, "")
        fault = Fault.BROKEN
        width, height = check_header(picture, "")
        if max(width, height) > LONGEST_SHAPE * min(width, height):
            text = f"{width} x {height} pixels: more than {LONGEST_SHAPE} times as long as wide"
            return Look((Fault.ABSURD, text))
        fault = Fault.TRUNCATED
        return Look(None, check_whole(picture, ""))
    except TooLargeError as error:
        return Look((Fault.ABSURD, str(error)))
    except DataError as error:
        return Look((fault, str(error)))
