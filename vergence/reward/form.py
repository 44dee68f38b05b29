"""The form that a response is asked for: a thought, then an answer that can be found.

    tags     <think>thought</think><answer>answer</answer>          DeepSeek-R1's template
    boxed    thought</think>text with one \\boxed{answer}            R1V2's protocol: boxed answers

Which form a run uses is one key of its recipe, `grading.form`. A grader reads answers in either form, and in others.
"""

from collections.abc import Callable
from dataclasses import dataclass

from vergence.reward.answer import extract_answer, is_well_formed

OPENING, CLOSING = "<answer>", "</answer>"
BOX = "\\boxed{"
_THINK, _END = "<think>", "</think>"


@dataclass(frozen=True, slots=True)
class Form:
    """How a response is asked to look."""

    name: str
    opening: str
    """What stands before an answer."""
    closing: str
    """What stands behind it."""
    is_formed: Callable[[str], bool]
    """A response -> whether it has the form."""
    answer: Callable[[str], str | None]
    """A response -> the answer that stands in the form's place for it, or None where there is none."""
    span: Callable[[str], tuple[int, int] | None]
    """A response -> the characters [begin, end) of its answer with what closes it; None where it cannot be read."""
    fault: Callable[[str], str]
    """A response that has not the form -> why, in a few words."""


def tagged_span(text: str) -> tuple[int, int] | None:
    """From behind the first opening tag to behind the first closing tag."""
    begin, end = text.find(OPENING), text.find(CLOSING)
    if begin < 0 or end < 0 or end + len(CLOSING) <= begin + len(OPENING):
        return None
    return begin + len(OPENING), end + len(CLOSING)


def boxed_span(text: str) -> tuple[int, int] | None:
    """From behind the last opened box to behind the brace that closes it."""
    begin = text.rfind(BOX)
    if begin < 0:
        return None
    end = closing_brace(text, begin + len(BOX))
    return None if end is None else (begin + len(BOX), end + 1)


def closing_brace(text: str, begin: int) -> int | None:
    """Where the brace is closed that was opened right before `begin`; escaped braces do not count."""
    depth, place = 1, begin
    while place < len(text):
        match text[place]:
            case "\\":
                place += 1  # whatever is escaped opens and closes nothing
            case "{":
                depth += 1
            case "}":
                depth -= 1
                if depth == 0:
                    return place
        place += 1
    return None


def boxed_answer(text: str) -> str | None:
    """The content of the last box behind the thought, or None where there is none."""
    final = final_part(text)
    span = boxed_span(final)
    return None if span is None else final[span[0] : span[1] - 1].strip()


def final_part(text: str) -> str:
    """What follows the thought; all of it where no thought is closed."""
    return text.rpartition(_END)[2]


def is_boxed(text: str) -> bool:
    r"""A thought closed by </think>, if there is one, then text with exactly one \boxed{...} that is not empty.

    The thought may begin with <think>, or without it where the chat template has written the tag into the prompt. Boxes
    inside of the thought do not count.
    """
    thought, end, final = text.strip().partition(_END)
    if _THINK in final or _END in final or (not end and _THINK in text):
        return False
    if end and not _thought(thought):
        return False
    final = final if end else text
    return final.count(BOX) == 1 and bool(boxed_answer(final))


def _thought(text: str) -> str:
    """What was thought, or "" where the opening tag does not stand in front of it."""
    thought = text.removeprefix(_THINK)
    return "" if _THINK in thought else thought.strip()


def tags_fault(text: str) -> str:
    """What a response lacks of a thought and an answer in tags."""
    counts = {tag: text.count(tag) for tag in (_THINK, _END, OPENING, CLOSING)}
    wrong = next((tag for tag, count in counts.items() if count != 1), None)
    if wrong is None:
        return "text outside of the tags, or none inside"
    return f"{counts[wrong]} {wrong} in place of one" if counts[wrong] else f"no {wrong}"


def boxed_fault(text: str) -> str:
    """What a response lacks of a thought and a boxed answer."""
    final = final_part(text)
    if _END not in text and _THINK in text:
        return f"a thought without {_END}"
    count = final.count(BOX)
    if count == 0:
        return f"no {BOX}...}}" + (" behind the thought" if _END in text else "")
    return f"{count} boxes in place of one" if count > 1 else "an empty box, or tags that do not fit each other"


TAGS = Form("tags", OPENING, CLOSING, is_well_formed, extract_answer, tagged_span, tags_fault)
BOXED = Form("boxed", BOX, "}", is_boxed, boxed_answer, boxed_span, boxed_fault)
FORMS = {form.name: form for form in (TAGS, BOXED)}
