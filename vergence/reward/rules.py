"""Rule rewards: each judges one completion of one problem, without a model."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vergence.errors import DataError
from vergence.reward.answer import extract_answer, is_well_formed
from vergence.reward.length import soft_overlong
from vergence.types import Completion, Doubles, Finish, Problem, RolloutGroup

Rule = Callable[[Problem, Completion], float]
"""One completion of one problem -> what it is worth."""


def check_gradable(problems: Sequence[Problem], source: Path) -> None:
    """Grade each right answer against itself. Raises DataError naming the first that would be judged wrong."""
    for problem in problems:
        if extract_answer(f"<answer>{problem.answer}</answer>") != problem.answer.strip():
            raise DataError(
                f'{source}, problem {problem.id}: "answer" {problem.answer!r:.60} cannot be read back from between '
                "answer tags, so no response could ever be right; write the answer without tags"
            )


def accuracy(problem: Problem, completion: Completion) -> float:
    """1 if the first answer given is exactly the right one; form and thought do not matter."""
    return float(extract_answer(completion.text) == problem.answer.strip())


def format_reward(problem: Problem, completion: Completion) -> float:
    """1 if the response has the asked form and ended by itself (r_format of R1V2 Eq. 7)."""
    return float(completion.finish is Finish.STOP and is_well_formed(completion.text))


def overlong(limit: int, margin: int) -> Rule:
    """DAPO's soft length penalty as a rule: 0 up to `limit - margin` tokens, then falling to -1 at `limit` tokens."""

    def judge(problem: Problem, completion: Completion) -> float:
        return float(soft_overlong(len(completion.token_ids), limit, margin))

    return judge


def rule_values(rule: Rule, group: RolloutGroup) -> Doubles:
    """A rule's values [G] of a group."""
    return np.array([rule(group.prompt.problem, completion) for completion in group.completions], dtype=np.float64)


def rule_scores(group: RolloutGroup) -> tuple[Doubles, Doubles]:
    """Accuracy [G] and format [G] of a group."""
    return rule_values(accuracy, group), rule_values(format_reward, group)
