"""Answers under another problem's picture, with generators whose looking is known."""

from collections.abc import Sequence

import pytest

from vergence.monitor.swap import Swap, answer_of, swapped
from vergence.types import ImageRef, Metrics, Problem, RolloutGroup, Sampling

from ..builders import completion, problem, prompt, scored


def pictured(name: str, *digests: str) -> Problem:
    return problem(name, images=tuple(ImageRef(f"/{digest}.png", digest) for digest in digests))


class Looking:
    """Answers with the digest of the picture."""

    def generate(
        self, problems: Sequence[Problem], sampling: Sampling, *, seed: int, version: int
    ) -> list[RolloutGroup]:
        assert 0.0 == sampling.temperature
        return [
            RolloutGroup(prompt(one.id, images=one.images), (completion(f"<answer>{self.answer(one)}</answer>"),))
            for one in problems
        ]

    def answer(self, one: Problem) -> str:
        return one.images[0].sha256


class Blind(Looking):
    """Answers from the question alone."""

    def answer(self, one: Problem) -> str:
        return one.question


def measured(generator: Looking, problems: Sequence[Problem], count: int = 9) -> Metrics:
    from dataclasses import replace

    groups = []
    for one in problems:
        group = scored([1.0])
        groups.append(replace(group, group=RolloutGroup(prompt(one.id, images=one.images), group.group.completions)))
    return Swap(lambda: generator, problems=count, max_new_tokens=4, seed=0)(0, groups)


FOUR = [pictured("a", "x"), pictured("b", "y"), pictured("c", "y"), pictured("d", "z")]


def test_each_problem_gets_the_next_picture_that_is_another_one() -> None:
    pairs = [(own.id, [image.sha256 for image in other.images]) for own, other in swapped(FOUR)]
    assert [("a", ["y"]), ("b", ["z"]), ("c", ["z"]), ("d", ["x"])] == pairs


def test_only_pictures_of_the_same_number_are_swapped() -> None:
    problems = [pictured("a", "x"), pictured("b", "y", "z"), pictured("c", "w")]
    pairs = [(own.id, [image.sha256 for image in other.images]) for own, other in swapped(problems)]
    assert [("a", ["w"]), ("c", ["x"])] == pairs
    assert [] == swapped([pictured("a", "x"), pictured("b", "x")])


def test_question_and_truth_stay_and_the_name_does_not() -> None:
    (own, other), *_ = swapped(FOUR)
    assert (own.question, own.answer) == (other.question, other.answer)
    assert own.id != other.id, "prompts are remembered by name"


def test_who_looks_answers_otherwise_and_who_does_not_does_not() -> None:
    assert {"perception/flip_rate": 1.0} == measured(Looking(), FOUR)
    assert {"perception/flip_rate": 0.0} == measured(Blind(), FOUR)


def test_half_of_the_answers_change_where_half_of_the_looking_does() -> None:
    class Half(Looking):
        def answer(self, one: Problem) -> str:
            return "x" if one.images[0].sha256 in "xy" else "z"

    assert {"perception/flip_rate": 3 / 4} == measured(Half(), FOUR)  # a keeps its answer


def test_no_more_problems_are_asked_than_said() -> None:
    class Counting(Looking):
        asked = 0

        def generate(
            self, problems: Sequence[Problem], sampling: Sampling, *, seed: int, version: int
        ) -> list[RolloutGroup]:
            Counting.asked += len(problems)
            return super().generate(problems, sampling, seed=seed, version=version)

    measured(Counting(), FOUR, count=3)
    assert 6 == Counting.asked


def test_without_two_pictures_there_is_nothing_to_swap() -> None:
    assert {} == measured(Looking(), FOUR[:1])
    assert {} == measured(Looking(), [pictured("a"), pictured("b")])


@pytest.mark.parametrize(
    ("text", "answer"), [("<answer> 7 </answer>", "7"), (" it is 7 ", "it is 7"), ("<answer>7", "<answer>7")]
)
def test_a_response_without_a_readable_answer_is_compared_as_a_whole(text: str, answer: str) -> None:
    assert answer == answer_of(text)
