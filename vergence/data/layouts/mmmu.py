"""MMMU and MMMU-Pro (MMMU/MMMU, MMMU/MMMU_Pro), Parquet.

    id ("validation_Accounting_1"), question (with <image 1>, ...), options (a list written as text), answer,
    image_1 ... image_7, question_type (multiple-choice, open), subfield, topic_difficulty

MMMU-Pro has `subject`, and its vision part has only `image`, `options`, `answer`. Options may be pictures too.
"""

import ast
import re

from vergence.data.layout import WITH_OPTIONS, Draft, Layout, Place
from vergence.data.layouts.reading import identity, numbered_pictures, text
from vergence.data.options import named_by_letter, options_of
from vergence.data.raw_images import pictures_in
from vergence.data.rows import Row
from vergence.types import AnswerType, Grading

IN_THE_PICTURE = "Answer the question in the picture."
"""What is asked in the vision part of MMMU-Pro, whose questions are pictures."""


def draft(row: Row, place: Place) -> Draft:
    """The category is the subject, which the id names where no column does."""
    options = options_of(row.get("options"), place.where)
    answer = text(row, "answer", place)
    name = identity(row, place, "id")
    subject = re.fullmatch(r"[a-z]+_(.+)_\d+", name)
    if options:
        answer, grading = named_by_letter(answer, options, place.where), Grading(AnswerType.CHOICE, options)
    else:
        answer, grading = first_accepted(answer), Grading(AnswerType.MATH)
    return Draft(
        id=f"mmmu-{name}",
        question=text(row, "question", place) if "question" in row else IN_THE_PICTURE,
        images=numbered_pictures(row, 7) or pictures_in(row.get("image")),
        answer=answer,
        category=str(row.get("subject") or (subject.group(1) if subject else "all")),
        grading=grading,
    )


def first_accepted(answer: str) -> str:
    """Of an open question with several accepted answers, written as a list, the first."""
    if not answer.startswith("["):
        return answer
    try:
        several = ast.literal_eval(answer)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return answer
    return str(several[0]) if isinstance(several, list) and several else answer


MMMU = Layout("mmmu", draft, WITH_OPTIONS)
