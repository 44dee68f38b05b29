"""The six questions: answers, chains of thought, the corpus mixture, and where a thought claims to see a digit."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.digits.questions import CAPTION, ERROR_RATE, MENTIONS, QUESTIONS, answer, caption, chain, corpus_response

scenes = st.lists(st.integers(0, 9), min_size=4, max_size=4)
questions = st.sampled_from(QUESTIONS)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def clean(question: str, digits: Sequence[int]) -> tuple[str, str]:
    return chain(question, digits, rng(), 0.0)


@pytest.mark.parametrize(
    ("question", "expected"),
    [("sum", "15"), ("max", "6"), ("min", "0"), ("range", "6"), ("even", "3"), ("prod", "0"), ("read", "5640")],
)
def test_answers_by_hand(question: str, expected: str) -> None:
    """The scene 5 6 / 4 0: three even digits (0 is one), diagonal 5 * 0."""
    assert expected == answer(question, [5, 6, 4, 0])


@given(scenes)
def test_every_answer_by_a_slow_count(digits: list[int]) -> None:
    total, largest, smallest, even = 0, 0, 9, 0
    for digit in digits:
        total += digit
        largest = digit if digit > largest else largest
        smallest = digit if digit < smallest else smallest
        even += digit in (0, 2, 4, 6, 8)
    product = 0
    for _ in range(digits[3]):
        product += digits[0]
    expected = [str(n) for n in (total, largest, smallest, largest - smallest, even, product)]
    assert expected == [answer(question, digits) for question in ("sum", "max", "min", "range", "even", "prod")]
    assert f"{digits[0]}{digits[1]}{digits[2]}{digits[3]}" == answer("read", digits)


def test_prod_multiplies_the_diagonal_and_not_the_row() -> None:
    assert "63" == answer("prod", [7, 2, 3, 9])


@pytest.mark.parametrize(
    ("question", "thought"),
    [
        ("sum", "5+6=11,11+4=15,15+0=15"),
        ("max", "56=6,64=6,60=6"),
        ("min", "56=5,54=4,40=0"),
        ("range", "max=6,min=0,6-0=6"),
        ("even", "5=0,6=1,4=1,0=1"),
        ("prod", "5*0=0"),
    ],
)
def test_chains_by_hand(question: str, thought: str) -> None:
    assert (thought, answer(question, [5, 6, 4, 0])) == clean(question, [5, 6, 4, 0])


@given(questions, scenes)
def test_a_chain_without_errors_leads_to_the_answer(question: str, digits: list[int]) -> None:
    assert answer(question, digits) == clean(question, digits)[1]


@given(questions, scenes)
def test_every_step_of_a_chain_without_errors_is_true(question: str, digits: list[int]) -> None:
    """Each step is taken apart and worked out again."""
    for step in clean(question, digits)[0].split(","):
        left, result = step.split("=")
        if question == "sum":
            first, second = left.split("+")
            expected = int(first) + int(second)
        elif question == "prod":
            first, second = left.split("*")
            expected = int(first) * int(second)
        elif left in ("max", "min"):
            expected = sorted(digits)[-1 if left == "max" else 0]
        elif question == "range":
            first, second = left.split("-")
            expected = int(first) - int(second)
        elif question == "even":
            expected = 1 - int(left) % 2
        else:
            expected = sorted(map(int, left))[-1 if question == "max" else 0]
        assert expected == int(result)


def mentioned(text: str) -> list[str]:
    return [match.group(0) for match in re.finditer(MENTIONS, text)]


def response(thought: str, result: str = "1") -> str:
    return f"<think>{thought}</think><answer>{result}</answer>"


@given(questions, scenes)
def test_every_digit_that_a_true_thought_names_is_in_the_scene(question: str, digits: list[int]) -> None:
    found = mentioned(response(*clean(question, digits)))
    assert found
    assert set(found) <= set(map(str, digits))


@given(st.sampled_from(["sum", "max", "min", "even"]), scenes)
def test_a_thought_that_reads_the_whole_scene_names_its_four_digits_in_order(question: str, digits: list[int]) -> None:
    assert list(map(str, digits)) == mentioned(response(*clean(question, digits)))


@pytest.mark.parametrize(
    ("thought", "claims"),
    [
        # right, for the scene 5 6 / 4 0
        ("5+6=11,11+4=15,15+0=15", "5640"),
        ("56=6,64=6,60=6", "5640"),
        ("56=5,54=4,40=0", "5640"),
        ("max=6,min=0,6-0=6", "600"),
        ("5=0,6=1,4=1,0=1", "5640"),
        ("5*0=0", "50"),
        # a digit misread: the claim is what was read
        ("5+8=13,13+4=17,17+0=17", "5840"),
        ("58=8,84=8,80=8", "5840"),
        ("96=6,64=4,40=0", "9640"),
        ("max=9,min=0,9-0=9", "900"),
        ("5=0,7=0,4=1,0=1", "5740"),
        ("3*0=0", "30"),
        # a slip in what was computed is no claim about the picture
        ("5+6=12,12+4=18,18+0=17", "5640"),
        ("56=8,84=8,80=8", "5640"),
        ("56=3,34=3,30=0", "5640"),
        ("max=6,min=0,6-0=7", "600"),
        ("5=1,6=0,4=1,0=1", "5640"),
        ("5*0=2", "50"),
        # a slip in the largest or smallest is one, twice where it is used again
        ("max=8,min=1,8-1=7", "811"),
    ],
)
def test_mentions_are_what_a_thought_claims_to_see(thought: str, claims: str) -> None:
    assert list(claims) == mentioned(response(thought))


@pytest.mark.parametrize("text", ["<answer>15</answer>", "<answer>5640</answer>", "15", "", "<think></think>"])
def test_a_response_without_a_thought_claims_nothing(text: str) -> None:
    assert [] == mentioned(text)


def test_errors_are_by_one_or_two_and_are_carried_on() -> None:
    """Sums of fives are far from the floor at 0, so each of three steps is off when every step slips."""
    for seed in range(200):
        thought, result = chain("sum", [5, 5, 5, 5], rng(seed), 1.0)
        total = "5"
        for step in thought.split(","):
            left, right = step.split("=")
            assert f"{total}+5" == left
            assert abs(int(right) - (int(total) + 5)) in (1, 2)
            total = right
        assert total == result


def test_every_size_of_error_occurs() -> None:
    slips = {int(chain("prod", [5, 0, 0, 5], rng(seed), 1.0)[1]) - 25 for seed in range(200)}
    assert {-2, -1, 1, 2} == slips


def test_an_error_about_even_turns_the_flag_over() -> None:
    assert ("5=1,6=0,4=0,0=0", "1") == chain("even", [5, 6, 4, 0], rng(), 1.0)


@given(questions, scenes, st.integers(0, 10**6))
def test_even_wrong_chains_stay_within_what_can_be_written(question: str, digits: list[int], seed: int) -> None:
    """No negative numbers, and no two-digit operands where the notation is one digit beside another."""
    thought, result = chain(question, digits, rng(seed), 1.0)
    assert re.fullmatch(r"[0-9+*=,\-maxin]+", thought)
    assert result.isdigit()
    if question in ("max", "min"):
        assert all(re.fullmatch(r"\d\d=\d", step) for step in thought.split(","))


def test_a_range_is_never_negative_even_if_largest_and_smallest_have_slipped_past_each_other() -> None:
    crossed = 0
    for seed in range(300):
        thought, result = chain("range", [5, 5, 5, 5], rng(seed), 0.5)
        largest, smallest = (int(step[4:]) for step in thought.split(",")[:2])
        crossed += largest < smallest
        assert result.isdigit()
        assert f"{largest}-{smallest}={result}" == thought.split(",")[2]
    assert crossed > 10


def test_share_of_wrong_steps_is_the_error_rate() -> None:
    """3,000 steps far from the floor: 8 % +- 4 sigma."""
    wrong = 0
    for seed in range(1000):
        total = 5
        for step in chain("sum", [5, 5, 5, 5], rng(seed), ERROR_RATE)[0].split(","):
            result = int(step.split("=")[1])
            wrong += result != total + 5
            total = result
    assert abs(wrong - 3000 * ERROR_RATE) < 4 * (3000 * ERROR_RATE * (1 - ERROR_RATE)) ** 0.5


def kind_of(text: str) -> str:
    thought, answered = "<think>" in text, "<answer>" in text
    return {(True, True): "both", (False, True): "answer", (True, False): "thought", (False, False): "bare"}[
        thought, answered
    ]


def test_corpus_mixture_is_five_two_one_one_ninths() -> None:
    """Both tags 5/9, answer alone 2/9, thought alone 1/9, neither 1/9: each of 1,350 within 4 sigma."""
    draw = rng(1)
    kinds = Counter(kind_of(corpus_response("max", [1, 2, 3, 4], draw)) for _ in range(1350))
    for kind, ninths in {"both": 5, "answer": 2, "thought": 1, "bare": 1}.items():
        share = ninths / 9
        assert abs(kinds[kind] - 1350 * share) < 4 * (1350 * share * (1 - share)) ** 0.5


@given(questions, scenes, st.integers(0, 1000))
def test_corpus_responses_are_made_of_one_chain(question: str, digits: list[int], seed: int) -> None:
    """Whatever is left out, a response gives the answer that its own thought leads to."""
    text = corpus_response(question, digits, rng(seed))
    found = re.fullmatch(r"(?:<think>(.+)</think>)?(?:<answer>(\d+)</answer>)?|(\d+)", text)
    assert found
    thought, result = found[1], found[2]
    if thought and result and question != "even":
        assert thought.split("=")[-1] == result
    if thought and result and question == "even":
        assert sum(int(step[-1]) for step in thought.split(",")) == int(result)


def test_captions_are_answers_and_nothing_else() -> None:
    assert "<answer>5640</answer>" == caption([5, 6, 4, 0]) == corpus_response(CAPTION, [5, 6, 4, 0], rng())


def test_no_such_question_is_an_error() -> None:
    with pytest.raises(ValueError, match="median"):
        answer("median", [1, 2, 3, 4])
    with pytest.raises(ValueError, match="read"):
        chain("read", [1, 2, 3, 4], rng(), 0.0)
