"""Reading responses: which answer is found, and what counts as well-formed."""

import pytest

from vergence.reward.answer import extract_answer, is_well_formed, thought


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>5+6=11</think><answer>11</answer>", "11"),
        ("<answer> 11\n</answer>", "11"),
        ("<answer>1</answer><answer>2</answer>", "1"),  # the first one counts
        ("<answer>two\nlines</answer>", "two\nlines"),
        ("<answer></answer>", ""),
        ("11", None),
        ("<answer>11", None),
        ("11</answer>", None),
        ("</answer>11<answer>", None),
        ("", None),
    ],
)
def test_the_first_pair_of_answer_tags_is_the_answer(text: str, answer: str | None) -> None:
    assert answer == extract_answer(text)


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("<think>5+6</think><answer>11</answer>", "5+6"),
        ("before<think></think>after", ""),
        ("<think>never closed", ""),
        ("</think>the wrong way round<think>", ""),
        ("no thought", ""),
    ],
)
def test_a_thought_is_what_stands_between_the_thinking_tags(text: str, inside: str) -> None:
    assert inside == thought(text)


@pytest.mark.parametrize(
    "text",
    [
        "<think>a</think><answer>b</answer>",
        "<think>a</think>\n<answer>b</answer>",
        "  <think>two\nlines</think> \n <answer>b</answer>\n",
    ],
)
def test_thought_then_answer_is_well_formed(text: str) -> None:
    assert is_well_formed(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        "<answer>b</answer>",
        "<think>a</think>",
        "<think>a</think>b",
        "<think></think><answer>b</answer>",
        "<think>a</think><answer></answer>",
        "<answer>b</answer><think>a</think>",
        "so: <think>a</think><answer>b</answer>",
        "<think>a</think> so <answer>b</answer>",
        "<think>a</think><answer>b</answer> done",
        "<think>a</think><answer>b</answer><answer>b</answer>",
        "<think>a</think><think>a</think><answer>b</answer>",
        "<think>a<think>a</think><answer>b</answer>",
        "<think>a</think><answer>b</answer></answer>",
        "<think>a<answer>b</answer></think>",
        "<think>a</think><answer>b",
    ],
)
def test_everything_else_is_not(text: str) -> None:
    assert not is_well_formed(text)
