"""Rule rewards: each judges one completion of one problem, without a model. What is right, a grader says."""

from collections.abc import Callable, Sequence
from typing import final

import numpy as np

from vergence.reward.answer import extract_answer
from vergence.reward.form import Form
from vergence.reward.length import soft_overlong
from vergence.types import Completion, Doubles, Finish, Grade, Grader, Problem, Prompt, RolloutGroup, Verdict, response

Rule = Callable[[Prompt, Completion], float]
"""One completion of one prompt -> what it is worth."""

_ACCURACY = {Verdict.CORRECT: 1.0, Verdict.WRONG: 0.0, Verdict.FAILED: float("nan")}


@final
class AsWritten:
    """A grader that compares answers as they are written, whatever their type: where they are not the truth anyway."""

    def grade(self, responses: Sequence[tuple[Problem, str]]) -> list[Grade]:
        """Correct where the first answer in tags is the problem's."""
        return [self._grade(problem, extract_answer(text)) for problem, text in responses]

    def _grade(self, problem: Problem, answer: str | None) -> Grade:
        if answer == problem.answer.strip():
            return Grade(Verdict.CORRECT, answer, "written alike")
        return Grade(Verdict.WRONG, answer, "written differently")


def grades_of(groups: Sequence[RolloutGroup], grader: Grader) -> list[tuple[Grade, ...]]:
    """P groups to P rows of G grades, in order; the grader is asked once for all of them."""
    grades = iter(grader.grade([(group.prompt.problem, text) for group in groups for text in group.responses]))
    return [tuple(next(grades) for _ in group.completions) for group in groups]


def accuracy(grades: Sequence[Grade]) -> Doubles:
    """[G] 1 where the answer is right, 0 where it is wrong, not a number where the grader failed."""
    return np.array([_ACCURACY[one.verdict] for one in grades], dtype=np.float64)


def format_reward(form: Form) -> Rule:
    """1 if the response has the asked form and ended by itself (r_format of R1V2 Eq. 7), else 0.

    A tag that the chat template writes at the end of every prompt counts as written.
    """

    def judge(prompt: Prompt, completion: Completion) -> float:
        return float(completion.finish is Finish.STOP and form.is_formed(response(prompt, completion)))

    return judge


def overlong(limit: int, margin: int) -> Rule:
    """DAPO's soft length penalty as a rule: 0 up to `limit - margin` tokens, then falling to -1 at `limit` tokens."""

    def judge(prompt: Prompt, completion: Completion) -> float:
        return float(soft_overlong(len(completion.token_ids), limit, margin))

    return judge


def rule_values(rule: Rule, group: RolloutGroup) -> Doubles:
    """A rule's values [G] of a group."""
    return np.array([rule(group.prompt, completion) for completion in group.completions], dtype=np.float64)
