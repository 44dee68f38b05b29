"""Numbers as the report prints them."""

from collections.abc import Sequence
from statistics import fmean

MINUS = "\N{MINUS SIGN}"


def spelled(share: float) -> str:
    """A share within a sentence, where the sign must not part from the number: 72.9 %."""
    return f"{percent(share)}\N{NO-BREAK SPACE}%"


def percent(share: float | None) -> str:
    """A share as the stage table on the terminal prints it: 0.7292 -> 72.9; "" where there is none."""
    return "" if share is None else f"{100 * share:.1f}".replace("-", MINUS)


def figure(value: float) -> str:
    """About three digits that matter: 1234.5 -> 1,234 and 0.021826 -> 0.0218."""
    size = abs(value)
    if size >= 100 or value == round(value):
        text = f"{value:,.0f}"
    elif size >= 0.001:
        text = f"{value:#.3g}".rstrip(".")
    else:
        text = f"{value:.1e}"
    return text.replace("-", MINUS)


def fixed(value: float | None, places: int = 2) -> str:
    """The same number of places throughout a column: 1.5 -> 1.50; "" for null, which stands for what is not finite."""
    return "" if value is None else f"{value:.{places}f}".replace("-", MINUS)


def signed(value: float | None) -> str:
    """With its sign, also where it is positive; zero has none."""
    return f"+{fixed(value)}" if value is not None and value > 0 else fixed(value)


def duration(seconds: float) -> str:
    """Wall seconds for a reader: 258.3 -> 4 min 18 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"


def first_tenth(values: Sequence[float]) -> float:
    """Mean over the first tenth, at least one value: the window of the stage table."""
    return fmean(values[: max(1, len(values) // 10)])


def last_tenth(values: Sequence[float]) -> float:
    """Mean over the last tenth, at least one value."""
    return fmean(values[-max(1, len(values) // 10) :])
