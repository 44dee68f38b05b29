"""PuzzleVQA: one file of JSON lines for each kind of puzzle (called .json).

image, question, options, answer, caption, explanation, deduction; options and answers are texts or numbers
"""

from vergence.data.layout import WITH_OPTIONS, Draft, Layout, Place
from vergence.data.layouts.reading import text
from vergence.data.options import named_by_text
from vergence.data.raw_images import pictures_in
from vergence.data.rows import Row
from vergence.data.values import plain
from vergence.types import AnswerType, Grading


def draft(row: Row, place: Place) -> Draft:
    """The picture names a row, as no other column does; its caption is what alignment may imitate."""
    options = tuple(plain(option) for option in row.get("options") or ())
    image = text(row, "image", place)
    kind = image.split("/")[1] if image.count("/") > 1 else "all"
    return Draft(
        id=f"puzzlevqa-{image.rsplit('/', 1)[-1].rsplit('.', 1)[0]}",
        question=text(row, "question", place),
        images=pictures_in(image),
        answer=named_by_text(text(row, "answer", place), options, place.where),
        category=kind,
        grading=Grading(AnswerType.CHOICE, options),
        target=str(row.get("caption") or ""),
    )


PUZZLEVQA = Layout("puzzlevqa", draft, WITH_OPTIONS)
