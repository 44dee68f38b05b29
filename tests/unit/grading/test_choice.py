# ruff: noqa: RUF001 - wide characters are meant
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.grading.problems import asked
from vergence.grading.choice import read_choice
from vergence.grading.judge import judge
from vergence.grading.options import LETTERS, Picked, Several, Unclear, naming
from vergence.types import Verdict

LENGTHS = ("10 cm", "12 cm", "14 cm", "none of these")


@pytest.mark.parametrize(
    "text",
    ["B", "(B)", "b", "b)", "[B]", r"\text{B}", "B. 12 cm", "B) 12cm", "(B) 12 cm", "option B", "12 cm", "120 mm"],
)
def test_an_option_has_many_names(text: str) -> None:
    assert Picked(1) == naming(text, LENGTHS)


@pytest.mark.parametrize("text", ["F", "B. 14 cm", "A: 12 cm", "A dog", "A circle", "I think", "13 cm", "", "x"])
def test_what_names_no_option_is_unclear(text: str) -> None:
    assert isinstance(naming(text, LENGTHS), Unclear)


@pytest.mark.parametrize("text", ["A or C", "A, C", "C and A", "AC", "(A) and (C)"])
def test_several_letters_are_several_options(text: str) -> None:
    assert Several(frozenset({0, 2})) == naming(text, LENGTHS)


def test_a_capital_letter_is_a_place_even_where_an_option_says_that_letter() -> None:
    displaced = ("A", "B", "D", "F", "G")
    assert Picked(3) == naming("D", displaced)
    assert Picked(4) == naming("G", displaced)  # there is no seventh option: it is the text of the fifth


def test_options_with_the_same_text_are_one() -> None:
    options = ("9", "12", "18", "18")
    assert Picked(2) == naming("C", options) == naming("D", options) == naming("18", options)


@pytest.mark.parametrize(
    "text", ["(B) is wrong.", "The answer is not B", "So (B) cannot be.", "It isn't (B).", "Neither (B) nor that"]
)
def test_an_option_that_is_denied_is_not_chosen(text: str) -> None:
    assert isinstance(read_choice(text, LENGTHS), Unclear)


def test_a_mention_with_the_text_of_another_option_is_unclear() -> None:
    assert Picked(0) == read_choice("The answer is 5, i.e. option A.", ("5", "6"))
    assert isinstance(read_choice("The answer is 6, i.e. option A.", ("5", "6")), Unclear)


@settings(max_examples=12)
@given(st.lists(st.sampled_from(["red", "blue", "12", r"$\frac{1}{2}$", "none"]), min_size=2, max_size=5, unique=True))
def test_the_right_letter_is_right_and_every_other_one_wrong(options: list[str]) -> None:
    for gold in range(len(options)):
        for place in range(len(options)):
            problem = asked(LETTERS[gold], "choice", options=tuple(options))
            expected = Verdict.CORRECT if place == gold else Verdict.WRONG
            for response in (LETTERS[place], options[place], f"({LETTERS[place]}) {options[place]}"):
                assert expected is judge(problem, response).verdict


def test_a_right_answer_that_names_no_option_is_a_failure_of_the_problem() -> None:
    grade = judge(asked("E", "choice", options=LENGTHS), "B")
    assert (Verdict.FAILED, None) == (grade.verdict, grade.extracted)
    assert "names no option" in grade.reason


def test_without_options_the_letter_alone_counts() -> None:
    assert judge(asked("C", "choice"), r"\boxed{C}").verdict is Verdict.CORRECT
    assert judge(asked("C", "choice"), r"\boxed{D}").verdict is Verdict.WRONG


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("B\n\nIt is 12 cm long.", 1),
        ("**B. 12 cm**\n\n1. Measure.\n2. Compare.", 1),
        ("B\n\n(A) is wrong, since it is longer.", 1),
        ("B。\n解析：它长12厘米。", 1),
        ("B\n\nA ruler shows it. I think so.", 1),
        ("B\n\nWait, it is longer.", None),
        ("B\n\nC fits as well.", None),
        ("B or C\n\nBoth fit.", None),
        ("B\n\nC", None),
        ("A\nB\nC", None),
        ("A. 10 cm\nB. 12 cm", None),
        ("Not B\n\nIt is too long.", None),
        ("A ruler is shown.\n\nIts length is not.", None),
    ],
)
def test_a_letter_on_the_first_line_counts_where_nothing_below_names_another(text: str, place: int | None) -> None:
    said = read_choice(text, LENGTHS)
    assert said == Picked(place) if place is not None else isinstance(said, Unclear)


@pytest.mark.parametrize("text", ["A, " * 400 + "x", "A or " * 300 + "x", "(A) and (B), " * 100 + "x", "A和B或" * 300])
def test_a_long_list_of_letters_is_read_in_no_time(text: str) -> None:
    begin = time.process_time()
    assert isinstance(naming(text, LENGTHS), Unclear)
    assert time.process_time() - begin < 1


@pytest.mark.parametrize("options", [("a", "b"), tuple("abcdefghij")])
def test_i_is_an_option_only_where_it_stands_like_one(options: tuple[str, ...]) -> None:
    assert isinstance(read_choice("I think so.", options), Unclear)
    assert isinstance(read_choice("Answer: I do not know.", options), Unclear)
    assert Picked(1) == read_choice("I think B is the best answer.", options)
    if len(options) > 8:
        assert Picked(8) == read_choice("The answer is (I).", options) == read_choice("I", options)
