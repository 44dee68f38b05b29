"""Sets of text alone, whose answers are mathematics or numbers: GSM8K, AIME, MATH-500.

GSM8K     question, answer ("... #### 18")
AIME      problem, answer, and id or ID (keys of any case; some copies write Problem and Answer)
MATH-500  problem, answer, and id or unique_id; subject and level
"""

from vergence.data.layout import Draft, Layout, Place
from vergence.data.layouts.reading import identity, text
from vergence.data.rows import Row
from vergence.errors import DataError
from vergence.types import AnswerType, Grading

NUMBER = Grading(AnswerType.NUMERIC)
MATHEMATICS = Grading(AnswerType.MATH)


def gsm8k(row: Row, place: Place) -> Draft:
    """The number behind the last "####", without the commas of its thousands."""
    solution = text(row, "answer", place)
    if "####" not in solution:
        raise DataError(f'{place.where}: no "####" before the answer; GSM8K ends its solutions with one')
    answer = solution.rsplit("####", 1)[1].strip().replace(",", "")
    return Draft(f"gsm8k-{place.index}", text(row, "question", place), (), answer, grading=NUMBER)


def aime(row: Row, place: Place) -> Draft:
    """Answers are whole numbers from 0 to 999; copies of the set spell its keys differently."""
    lower = {str(key).lower(): value for key, value in row.items()}
    name = identity(lower, place, "id", "_key")
    answer = text(lower, "answer", place).lstrip("0") or "0"
    return Draft(f"aime-{name}", text(lower, "problem", place), (), answer, grading=NUMBER)


def math500(row: Row, place: Place) -> Draft:
    """Answers are LaTeX without dollars."""
    name = identity(row, place, "unique_id", "id")
    category = str(row.get("subject", "all"))
    question, answer = text(row, "problem", place), text(row, "answer", place)
    return Draft(f"math500-{name}", question, (), answer, category, MATHEMATICS)


GSM8K = Layout("gsm8k", gsm8k, marks=None)
AIME = Layout("aime", aime, marks=None)
MATH500 = Layout("math500", math500, marks=None)
