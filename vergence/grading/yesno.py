"""Yes/no answers."""

import re

from vergence.grading.characters import HAN, plain_characters
from vergence.grading.markup import bare, without_text_commands
from vergence.grading.read import Missing, Place, final_part, locate
from vergence.types import Grade, Verdict

_MEANING = {"yes": True, "no": False, "true": True, "false": False}
_MEANING |= dict.fromkeys(("是", "对", "正确", "没错", "肯定", "真", "可以", "能", "会", "有", "存在"), True)
_MEANING |= dict.fromkeys(("否", "不", "不是", "不对", "错", "错误", "不正确", "否定", "假"), False)
_MEANING |= dict.fromkeys(("不可以", "不能", "不会", "没有", "不存在"), False)
_WORD = re.compile(rf"[A-Za-z]+|[{HAN}]+")


def grade_yesno(answer: str, text: str) -> Grade:
    """Whether the final answer says yes where yes is right, and no where no is."""
    gold = gold_yesno(answer)
    if gold is None:
        return Grade(Verdict.FAILED, None, f"the right answer {answer!r:.60} is neither yes nor no")
    said = read_yesno(text)
    if said is None:
        return Grade(Verdict.WRONG, None, "the response says neither yes nor no clearly")
    written = "yes" if said else "no"
    return Grade(Verdict.CORRECT if said is gold else Verdict.WRONG, written, "read as " + written)


def gold_yesno(answer: str) -> bool | None:
    """What a right answer means: yes, true, 1 and `是`, or no, false, 0 and `否`; None for anything else."""
    word = bare(answer).lower()
    return {"1": True, "0": False}.get(word, _MEANING.get(word.rstrip("的了")))


def read_yesno(text: str) -> bool | None:
    """What a response says; None where it says neither, or both.

    The final answer has to be the word, or begin or end with it. Where nothing marks a final answer, the first word of
    the response counts as well, and the two must not disagree.
    """
    found = locate(text)
    if isinstance(found, Missing):
        return None
    said = _said(found.text)
    if found.place is not Place.LAST_LINE:
        return said.pop() if len(said) == 1 else None
    words = _words(final_part(text)[:1000])
    if words and words[0] in _MEANING:
        said.add(_MEANING[words[0]])
    return said.pop() if len(said) == 1 else None


def _said(text: str) -> set[bool]:
    """The meanings of the first and the last word, where they are one of the four words."""
    words = _words(bare(text))
    return {_MEANING[word] for word in {*words[:1], *words[-1:]} if word in _MEANING}


def _words(text: str) -> list[str]:
    """Words in small letters; in Chinese what stands between two signs, without the `的` and `了` that end it."""
    return [word.lower().rstrip("的了") for word in _WORD.findall(without_text_commands(plain_characters(text)))]
