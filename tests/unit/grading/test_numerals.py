import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.grading.numbers import parse_number
from vergence.grading.numerals import numeral

DIGITS = "零一二三四五六七八九"


def written(value: int) -> str:
    """A whole number below 10^12 in Chinese, by the rules of school: four digits at a time."""
    if value == 0:
        return "零"
    said = ""
    for unit, sign in ((10**8, "亿"), (10**4, "万"), (1, "")):
        part = value // unit % 10**4
        if not part:
            said += "零" if said and unit > 1 and not said.endswith("零") else ""
            continue
        four = f"{part:04d}"
        words = "".join(
            (DIGITS[int(digit)] + place if digit != "0" else "零")
            for digit, place in zip(four, ("千", "百", "十", ""), strict=True)
        )
        while "零零" in words:
            words = words.replace("零零", "零")
        words = words.rstrip("零")
        said += (words if said else words.lstrip("零")) + sign
    while "零零" in said:
        said = said.replace("零零", "零")
    return said.rstrip("零")


@given(st.integers(0, 10**12 - 1))
def test_a_numeral_is_the_number_that_it_writes(value: int) -> None:
    assert (str(value), "") == numeral(written(value))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("十五", "15"),
        ("二〇二四", "2024"),
        ("两百", "200"),
        ("一千五", "1500"),
        ("三分之二", "2/3"),
        ("负三", "-3"),
        ("二点五", "2.5"),
        ("百分之五十", "50%"),
        ("一半", "1/2"),
    ],
)
def test_fractions_decimals_and_percent_are_read(text: str, value: str) -> None:
    assert (value, "") == numeral(text)


@pytest.mark.parametrize("text", ["", "百", "万一", "圆形", "三三十", "点五", "分之一"])
def test_what_is_no_numeral_is_none(text: str) -> None:
    assert numeral(text) is None


@pytest.mark.parametrize("text", ["三角形", "四边形", "一样", "一次函数", "十字路口", "十二的平方", "一二三四" * 20])
def test_a_word_that_begins_with_a_numeral_is_no_number(text: str) -> None:
    assert parse_number(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5万", 50_000),
        ("1.5亿", 150_000_000),
        ("3 million", 3_000_000),
        ("2 dozen", 24),
        ("12 hundred", 1200),
        ("十二个", 12),
    ],
)
def test_words_that_multiply_do(text: str, value: int) -> None:
    found = parse_number(text)
    assert found is not None
    assert value == found.value
