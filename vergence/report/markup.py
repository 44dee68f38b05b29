"""HTML as values: every string is escaped unless it is `Html` already, so forgetting something is harmless."""

from collections.abc import Iterable
from html import escape

_VOID = frozenset({"img", "meta"})


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def join(parts: Iterable[str]) -> Html:
    """One after the other; what is not `Html` is escaped."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def tag(name: str, /, *children: str, **attributes: str | int | float | None) -> Html:
    """An element.

    `class_="x"` writes the attribute class, `stroke_width=1` writes stroke-width, and an attribute that is None is left
    out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{given}>") if name in _VOID else Html(f"<{name}{given}>{join(children)}</{name}>")


def section(anchor: str, title: str, *children: str) -> Html:
    """A part of the page with its heading; nothing where there is nothing to say."""
    inside = join(children)
    return tag("section", tag("h2", title), inside, id=anchor) if inside else inside


def table(head: Iterable[Html], rows: Iterable[Html], **attributes: str | None) -> Html:
    """A table from the cells of its head and its finished rows."""
    return tag("table", tag("thead", tag("tr", join(head))), tag("tbody", join(rows)), **attributes)
