r"""ViRL39K (TIGER-Lab/ViRL39K), Parquet beside a folder of pictures.

qid, question (with <image>), answer (some as \boxed{...}), image (a list of paths), category, source,
PassRate_32BTrained, PassRate_7BBase
"""

from vergence.data.layout import Draft, Layout, Place
from vergence.data.layouts.reading import identity, text, unboxed
from vergence.data.options import listed_in, named_by_letter
from vergence.data.raw_images import pictures_in
from vergence.data.rows import Row
from vergence.types import AnswerType, Grading


def draft(row: Row, place: Place) -> Draft:
    """An answer that is the letter of an option which the question lists is a choice; any other is mathematics."""
    question = text(row, "question", place)
    answer = unboxed(text(row, "answer", place)).strip()
    options, grading = listed_in(question), Grading(AnswerType.MATH)
    if options and len(answer.strip("().")) == 1 and answer.strip("().").isalpha():
        answer, grading = named_by_letter(answer, options, place.where), Grading(AnswerType.CHOICE, options)
    return Draft(
        id=f"virl39k-{identity(row, place, 'qid')}",
        question=question,
        images=pictures_in(row.get("image")),
        answer=answer,
        category=str(row.get("category") or "all"),
        grading=grading,
    )


VIRL39K = Layout("virl39k", draft)
