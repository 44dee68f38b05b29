"""MathVista (AI4Math/MathVista): annot_testmini.json, an object by pid, or Parquet with the same columns.

    pid, question, image ("images/1.jpg"), decoded_image (Parquet), choices (a list or null), unit, precision, answer,
    question_type (multi_choice, free_form), answer_type (text, integer, float, list), metadata {category, task, ...}

The answer of a choice is the text of its option. A float is right if it rounds to the answer at `precision` digits.
"""

from vergence.data.layout import WITH_OPTIONS, Draft, Layout, Place
from vergence.data.layouts.reading import identity, text
from vergence.data.options import named_by_text, options_of
from vergence.data.raw_images import pictures_in
from vergence.data.rows import Row
from vergence.data.values import plain
from vergence.errors import DataError
from vergence.types import AnswerType, Grading


def draft(row: Row, place: Place) -> Draft:
    """The category is the task of the metadata, which the published tables go by."""
    metadata = row.get("metadata") or {}
    name = identity(row, place, "pid", "_key")
    answer, grading = graded(row, place)
    return Draft(
        id=f"mathvista-{name}",
        question=text(row, "question", place),
        images=pictures_in(row.get("decoded_image") or row.get("image")),
        answer=answer,
        category=str(metadata.get("task") or "all"),
        grading=grading,
    )


def graded(row: Row, place: Place) -> tuple[str, Grading]:
    """The answer, and how it is compared."""
    answer = text(row, "answer", place)
    options = tuple(plain(choice) for choice in row.get("choices") or ())
    if options:
        options_of(list(options), place.where)  # not too many; their texts stay as published
        return named_by_text(answer, options, place.where), Grading(AnswerType.CHOICE, options)
    match row.get("answer_type"):
        case "integer":
            return answer, Grading(AnswerType.NUMERIC)
        case "float":
            digits = int(row.get("precision") or 0)
            return answer, Grading(AnswerType.NUMERIC, tolerance=0.5 * 10**-digits)
        case "list":
            return answer, Grading(AnswerType.MATH)
        case "text":
            return answer, Grading()
    found = row.get("answer_type")
    raise DataError(f"{place.where}: answer_type {found!r:.40} is none of integer, float, list, text; wrong layout?")


MATHVISTA = Layout("mathvista", draft, WITH_OPTIONS)
