r"""The kinds of answers, told apart before any mathematics is done."""

import pytest

from vergence.grading.latex import deepest, tidy
from vergence.grading.structure import Bag, Leaf, Row, has_groups, read_answer


@pytest.mark.parametrize(
    ("text", "other"),
    [
        (r"\dfrac{1}{2}", r"\frac{1}{2}"),
        (r"\left( 1, 2 \right)", "( 1, 2 )"),
        (r"x \geqslant 2", r"x \ge 2"),
        ("1e3", r"1 \times 10^{3}"),
        ("2*pi", r"2\cdot \pi"),
        ("sqrt(2)", r"\sqrt{2}"),
        ("x**2", "x^2"),
        (r"11,\! 111,\! 100", "11111100"),
        (r"\$32,\!348", r"32348\text{dollars}"),
        (r"\frac{1}{3} \approx 0.33", r"\frac{1}{3}"),
    ],
)
def test_one_spelling_for_what_is_written_in_many_ways(text: str, other: str) -> None:
    assert other == tidy(text)


@pytest.mark.parametrize("text", ["1, 2", r"\{1, 2\}", r"1 \text{ or } 2", "1 and 2", "x=1, x=2", r"3 \pm 1", "1; 2"])
def test_sets_and_lists_are_bags(text: str) -> None:
    found = read_answer(text)
    assert isinstance(found, Bag)
    assert len(found.parts) == 2


@pytest.mark.parametrize(
    ("text", "brackets"),
    [
        ("(1, 2)", "()"),
        ("[1, 2)", "[)"),
        ("]1, 2[", "()"),
        (r"\langle 1, 2 \rangle", "()"),
        (r"1 < x \le 2", "(]"),
        (r"2 \ge x > 1", "(]"),
        ("x > 3", "()"),
        (r"x \in [1, 2]", "[]"),
    ],
)
def test_points_and_intervals_are_rows_with_their_brackets(text: str, brackets: str) -> None:
    found = read_answer(text)
    assert isinstance(found, Row)
    assert brackets == found.opening + found.closing
    assert len(found.parts) == 2


@pytest.mark.parametrize("text", ["5", r"\frac{1}{2}", "(x+1)(x-2)", "f(x, y)", "x^2+y^2=1", "a < x < x + 1", "(5)"])
def test_everything_else_is_a_leaf(text: str) -> None:
    assert isinstance(read_answer(text), Leaf)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [("x = 5", "x", "5"), ("f(x) = x+1", "f(x)", "x+1"), (r"m_{\max} = 3", r"m_\max", "3"), ("a = b = 7", "a", "7")],
)
def test_a_name_is_no_part_of_the_value(text: str, name: str, value: str) -> None:
    assert Leaf(value, name) == read_answer(text)


def test_commas_may_separate_thousands_or_numbers() -> None:
    assert Leaf("58500") == read_answer("58,500")
    assert isinstance(read_answer("58,500", grouped=False), Bag)
    assert isinstance(read_answer("58, 500"), Bag)
    assert isinstance(read_answer("(58,500)"), Row)
    assert (True, False, False) == (has_groups("1,000"), has_groups("1, 000"), has_groups("41352,42351"))


def test_nesting_is_counted() -> None:
    assert (0, 3, 200) == (deepest("x"), deepest("((a)[{b}])"), deepest("(" * 200))
