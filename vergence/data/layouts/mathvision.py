"""MATH-Vision (MathLLMs/MathVision): JSON lines, or Parquet with `decoded_image`.

    id, question (with <image1>, ...), options, answer, level, subject, image ("images/4.jpg"), solution

Each problem has one picture, which holds all that its marks name.
"""

from vergence.data.layout import NUMBERED_MARKS, WITH_OPTIONS, Draft, Layout, Place
from vergence.data.layouts.reading import identity, text
from vergence.data.options import LETTERS, named_by_letter, options_of
from vergence.data.raw_images import pictures_in
from vergence.data.rows import Row
from vergence.types import AnswerType, Grading


def draft(row: Row, place: Place) -> Draft:
    """Options that are only letters, or only marks, stand in the picture."""
    given = options_of(row.get("options"), place.where)
    options = tuple(
        name if NUMBERED_MARKS.fullmatch(option) else option for name, option in zip(LETTERS, given, strict=False)
    )
    answer, grading = text(row, "answer", place), Grading(AnswerType.MATH)
    if options:
        answer, grading = named_by_letter(answer, options, place.where), Grading(AnswerType.CHOICE, options)
    return Draft(
        id=f"mathvision-{identity(row, place, 'id')}",
        question=text(row, "question", place),
        images=pictures_in(row.get("decoded_image") or row.get("image")),
        answer=answer,
        category=str(row.get("subject") or "all"),
        grading=grading,
    )


MATHVISION = Layout("mathvision", draft, WITH_OPTIONS)
