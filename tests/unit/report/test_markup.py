"""HTML that is escaped, and numbers as the report prints them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vergence.report.markup import Html, tag
from vergence.report.numerals import duration, figure, percent, signed

from .pages import NASTY, parsed


@example(NASTY)
@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\0"), max_size=60))
def test_text_and_attributes_come_back_as_they_went_in(text: str) -> None:
    element = parsed(tag("p", text, title=text)).one("p")
    assert element.text == text
    assert element.attributes["title"] == text


def test_only_html_is_left_as_it_is() -> None:
    assert tag("p", "<b>", tag("i", "x")) == "<p>&lt;b&gt;<i>x</i></p>"
    assert tag("p", str(Html("<b>") + "")) == "<p>&lt;b&gt;</p>"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.5, "1,234"),
        (0.021826, "0.0218"),
        (0.9999, "1.00"),
        (18.0, "18"),
        (-0.5, "\N{MINUS SIGN}0.500"),
        (1e-5, "1.0e\N{MINUS SIGN}05"),
        (0.0, "0"),
    ],
)
def test_figures(value: float, text: str) -> None:
    assert figure(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(9.18, "9.2 s"), (258.3, "4 min 18 s"), (3738.0, "1 h 2 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_shares_and_signs() -> None:
    assert percent(0.7292) == "72.9"
    assert percent(None) == ""
    assert [signed(value) for value in (0.5, -0.5, 0.0, None)] == ["+0.50", "\N{MINUS SIGN}0.50", "0.00", ""]
