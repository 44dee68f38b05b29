# ruff: noqa: RUF001 - wide characters are meant
import time

import pytest

from vergence.grading.boxes import answer_boxed, last_boxed
from vergence.grading.characters import narrow, plain_characters
from vergence.grading.markup import LONGEST, bare
from vergence.grading.read import (
    Located,
    Missing,
    Place,
    final_answer,
    final_part,
    locate,
)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("seven", "seven"),
        ("<think>six</think>seven", "seven"),
        ("six</think>seven", "seven"),
        ("<think>a</think>b</think>c", "c"),
        ("<think>six", ""),
        ("<think>a</think><think>b", ""),
    ],
)
def test_only_what_follows_the_thought_can_hold_the_answer(text: str, part: str) -> None:
    assert part == final_part(text)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{7}", "7"),
        (r"\boxed{5} wait \boxed{7}", "7"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{ 7 } and more", "7"),
        (r"\fbox{7}", "7"),
        (r"\boxed 7.", "7"),
        (r"\boxed{7", ""),
        (r"\boxed{7} then \boxed{", ""),
        (r"\boxed{}", ""),
        ("7", None),
        (r"\boxedname{7}", None),
    ],
)
def test_the_last_box_counts_and_one_that_is_cut_off_holds_nothing(text: str, content: str | None) -> None:
    assert content == last_boxed(text)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{3}, \boxed{5}", "3, 5"),
        (r"$\boxed{3}$, $\boxed{5}$, and $\boxed{7}$", "3, 5, 7"),
        (r"\boxed{3} 或 \boxed{5}", "3, 5"),
        (r"$x=\boxed{1}$, $y=\boxed{2}$", "x=1, y=2"),
        (r"\boxed{x=1}, \boxed{y=2}", "x=1, y=2"),
        (r"\boxed{7}, \boxed{7}", "7"),
        (r"$x=\boxed{1}$", "1"),
        (r"\boxed{5} wait \boxed{7}", "7"),
        ("\\boxed{5}\n\\boxed{7}", "7"),
        ("\\boxed{5},\n\n\\boxed{7}", "7"),
        (r"\boxed{5} = \boxed{7}", "7"),
        (r"\boxed{1}. It is \boxed{3}, \boxed{5}", "3, 5"),
        (r"\boxed{3}, \boxed{", ""),
        (r"\boxed{}, \boxed{5}", "5"),
        ("7", None),
    ],
)
def test_boxes_with_commas_between_them_are_a_list(text: str, content: str | None) -> None:
    assert content == answer_boxed(text)


@pytest.mark.parametrize(
    ("text", "said", "place"),
    [
        (r"<think>\boxed{5}</think>It is \boxed{7}.", "7", Place.BOXED),
        ("<answer> 7 </answer>", "7", Place.TAGGED),
        ("<answer>5</answer> no: <answer>7</answer>", "7", Place.TAGGED),
        (r"<answer>It is \boxed{7}</answer>", "7", Place.BOXED),
        ("The final answer is $7$. I hope it is correct.", "7", Place.NAMED),
        ("**Answer:** 7", "7", Place.NAMED),
        ("**Answer: 7**", "7", Place.NAMED),
        ("Final answer:\n\n$$\n7\n$$", "7", Place.NAMED),
        ("The answer is 5. No, the answer is 7.", "7", Place.NAMED),
        ("so\n#### 7", "7", Place.NAMED),
        ("3 + 4\nA: 7", "7", Place.NAMED),
        ("The answer is 3.5. So it is.", "3.5", Place.NAMED),
        ("first 5\nthen 7\n", "then 7", Place.LAST_LINE),
        (r"\[\text{Answer: } 7\]", "7", Place.NAMED),
        (r"$$\text{Answer} = 7.$$", "7", Place.NAMED),
        (r"\begin{align*}\text{Answer: } 7\end{align*}", "7", Place.NAMED),
        ("所以正确答案是７。", "7", Place.NAMED),
        ("答案不是5，而是7。", "7", Place.NAMED),
        ("Die richtige Antwort ist 7.", "7", Place.NAMED),
        ("La réponse n'est pas 7.", "La réponse n'est pas 7", Place.LAST_LINE),
    ],
)
def test_the_final_answer_is_found_where_it_stands(text: str, said: str, place: Place) -> None:
    found = locate(text)
    assert isinstance(found, Located)
    assert (said, place) == (bare(found.text), found.place)
    assert said == final_answer(text)


@pytest.mark.parametrize("text", ["", "  \n", "<think>7", r"\boxed{7", "<answer>7", r"\boxed{}", "<think>7</think>\n"])
def test_a_response_without_a_final_answer_says_why(text: str) -> None:
    found = locate(text)
    assert isinstance(found, Missing)
    assert found.reason.startswith("no final answer: ")
    assert final_answer(text) is None


def test_a_text_that_is_too_long_is_no_answer() -> None:
    assert isinstance(locate(r"\boxed{" + "7" * LONGEST + "}"), Located)
    found = locate(r"\boxed{" + "7" * (LONGEST + 1) + "}")
    assert found == Missing("no final answer: 2001 characters in the boxed text, 2000 at most")


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        ("**$\\text{(B)}$.**", "(B)"),
        ("$$ 7 $$", "7"),
        (r"\( x \)", "x"),
        ("{7}", "7"),
        (r"\{7\}", r"\{7\}"),
        ('"7"', "7"),
        ("$5$ and $7$", "$5$ and $7$"),
        ("B**", "B"),
        ("0.333...", "0.333..."),
    ],
)
def test_what_is_wrapped_around_all_of_an_answer_goes(text: str, inner: str) -> None:
    assert inner == bare(text)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("x² \N{MINUS SIGN} 5", "x^{2} - 5"),
        ("٣７", "37"),
        ("a₁₂", "a_{12}"),
        ("√2", r"\sqrt{2}"),
        ("5√{3}", r"5\sqrt{3}"),
        ("é\ud800", "é\ud800"),
        ("abc", "abc"),
        ("∛7", r"\sqrt[3]{7}"),
        ("∜(x+1)", r"\sqrt[4]{(x+1)}"),
        ("25℃", r"25^\circ C"),
        ("3㎡", "3m2"),
        ("（１，２）", "(1,2)"),
        ("x=2或x=3", "x=2 或 x=3"),
        ("Zu\u0308rich", "Zürich"),
    ],
)
def test_signs_of_other_alphabets_have_one_spelling(text: str, plain: str) -> None:
    assert plain == plain_characters(text)


def test_a_blank_stands_where_chinese_meets_our_letters_and_the_full_stop_stays() -> None:
    assert "答案是 12,选 B。" == narrow("答案是１２，选Ｂ。")
    assert "共 12 个" == narrow(narrow("共12个"))
    assert "Zürich × 2" == narrow("Zürich × 2")


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{1}, " * 90_000,
        r"\boxed{" * 150_000 + "}",
        "答案是" * 300_000,
        "选B或" * 200_000,
        "réponse " * 120_000,
        r"\[\text{Answer: }" * 60_000,
        r"\boxed{" * 150_000,
        r"\boxedx" * 150_000,
        "<answer>" * 120_000 + "</answer>",
        "the answer is " * 70_000,
        "answer " * 150_000,
        "\n" * 1_000_000,
        "A:" * 500_000,
        "{" * 1_000_000,
        "\\" * 1_000_000,
        "</think><think>" * 70_000,
    ],
)
def test_a_megabyte_is_read_in_linear_time(text: str) -> None:
    begin = time.process_time()
    locate(text)
    assert time.process_time() - begin < 1.5
