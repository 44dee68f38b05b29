"""What a response finally says: the text that official scoring reads.

The published scorers were written for models that answer at once. A model that thinks first, or that is asked for a
box, is read where it answers: behind its thought, inside its last answer tags or its last box. A response with none of
these is read as it is; one that ends while it thinks says nothing.
"""

from vergence.grading.boxes import last_boxed
from vergence.grading.choice import read_choice
from vergence.grading.numeric import read_number
from vergence.grading.options import Unclear
from vergence.grading.read import final_answer, final_part
from vergence.grading.yesno import read_yesno
from vergence.reward.answer import ANSWER
from vergence.types import AnswerType, Problem


def said(response: str) -> str:
    """The final text of a response, blanks at both ends removed; "" where there is none."""
    final = final_part(response)
    tagged = ANSWER.findall(final)
    if tagged:
        final = tagged[-1]
    boxed = last_boxed(final)
    return (final if boxed is None else boxed).strip()


def is_read(problem: Problem, response: str) -> bool:
    """Whether our rules read an answer of the asked kind from a response, be it right or wrong."""
    match problem.grading.type:
        case AnswerType.CHOICE:
            return not isinstance(read_choice(response, problem.grading.options), Unclear)
        case AnswerType.NUMERIC:
            return read_number(response) is not None
        case AnswerType.YESNO:
            return read_yesno(response) is not None
        case AnswerType.CODE:
            return "```" in response
        case _:
            return final_answer(response) is not None
