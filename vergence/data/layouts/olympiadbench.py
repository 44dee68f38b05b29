"""OlympiadBench (Hothan/OlympiadBench): JSON, JSON lines or Parquet.

    id, question (with <image_1>, ...), context, final_answer (a list of one), is_multiple_answer, unit, answer_type,
    error, subfield, subject, language, solution, image_1 ... image_9, or images

Theorems to prove have no final answer and cannot be graded: such rows are refused.
"""

from vergence.data.layout import Draft, Layout, Place
from vergence.data.layouts.reading import identity, numbered_pictures, text
from vergence.data.raw_images import pictures_in
from vergence.data.rows import Row
from vergence.errors import DataError
from vergence.types import AnswerType, Grading


def draft(row: Row, place: Place) -> Draft:
    """The context, where a problem continues another one, stands before its question."""
    answer = text(row, "final_answer", place).strip()
    if not answer:
        raise DataError(f"{place.where}: no final_answer (a theorem to prove?), so nothing can be graded; leave it out")
    context = str(row.get("context") or "").strip()
    question = text(row, "question", place)
    return Draft(
        id=f"olympiadbench-{identity(row, place, 'id')}",
        question=f"{context}\n{question}" if context else question,
        images=numbered_pictures(row, 9) or pictures_in(row.get("images")),
        answer=answer,
        category=str(row.get("subfield") or row.get("subject") or "all"),
        grading=Grading(AnswerType.MATH, tolerance=tolerance(row.get("error"), place)),
    )


def tolerance(error: object, place: Place) -> float:
    """The absolute error that is allowed, "1e-1"; of several, one for each part of the answer, the smallest."""
    parts = [part.strip() for part in str(error or "").split(",") if part.strip()]
    try:
        return min((float(part) for part in parts), default=0.0)
    except ValueError:
        raise DataError(f'{place.where}: "error" must be a number, found {error!r:.40}') from None


OLYMPIADBENCH = Layout("olympiadbench", draft)
