"""Rule rewards: each judges one completion of one problem and gives a number between 0 and 1."""

from vergence.reward.answer import extract_answer, is_well_formed
from vergence.types import Completion, Finish, Problem


def accuracy(problem: Problem, completion: Completion) -> float:
    """1 if the first answer given is exactly the right one; form and thought do not matter."""
    return float(extract_answer(completion.text) == problem.answer.strip())


def format_reward(problem: Problem, completion: Completion) -> float:
    """1 if the response has the asked form and ended by itself (r_format of R1V2 Eq. 7)."""
    return float(completion.finish is Finish.STOP and is_well_formed(completion.text))
