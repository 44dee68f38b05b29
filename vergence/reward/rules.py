"""Rule rewards: each judges one completion of one problem and gives a number between 0 and 1."""

from collections.abc import Sequence
from pathlib import Path

from vergence.errors import DataError
from vergence.reward.answer import extract_answer, is_well_formed
from vergence.types import Completion, Finish, Problem


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
