"""Choices whose answer stands in front: the letter on the first line, its reason below."""

import re
from collections.abc import Sequence

from vergence.grading.characters import narrow
from vergence.grading.markup import bare
from vergence.grading.options import LETTERS, Picked, naming
from vergence.grading.read import NEGATION, final_part

_LETTER_FIRST = re.compile(r"[*_(\[$\s]{0,6}(?:(?:[Oo]ption|选项?)\s*)?([A-Za-z])(?![A-Za-z'\u2019])")
_LISTED = re.compile(r"[*_(\[\s-]{0,6}([A-Z])(?:[*_)\].:,\s]{1,4}(?![a-z])|$)")
_REVISED = re.compile(
    r"\b(?:wait|actually|hmm+|correction|instead|second thoughts?|mistake|mistaken)\b|不对|更正|应该是|应该?选",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[^.!?。\n]+")
_OTHER = re.compile(r"(?<![A-Za-z\\'])([A-Z])(?![A-Za-z'\u2019])(?!(?<=[AI])\s+[a-z])")
_LONGEST_LINE = 300


def opening_choice(text: str, options: Sequence[str]) -> Picked | None:
    """The option whose letter begins the first line of several, where nothing behind it names or lists another."""
    lines = lines_of(text)
    if len(lines) < 2 or len(lines[0]) > _LONGEST_LINE or "?" in lines[0] or not _LETTER_FIRST.match(lines[0]):
        return None
    said = naming(lines[0], options)
    if not isinstance(said, Picked):
        return None
    own = bare(options[said.place]) if said.place < len(options) else ""
    if NEGATION.search(lines[0].replace(own, "") if len(own) > 1 else lines[0]):
        return None
    below = "\n".join(lines[1:])
    count = len(options) or len(LETTERS)
    for sentence in _SENTENCE.findall(below):
        named = {LETTERS.index(letter) for letter in _OTHER.findall(sentence)}
        if any(place < count and place != said.place for place in named) and not NEGATION.search(sentence):
            return None
    return None if _REVISED.search(below) else said


def ends_a_list(text: str) -> bool:
    """Whether the last two lines begin with letters in order, as the options of a question do."""
    marks = [_LISTED.match(line) for line in lines_of(text)[-2:]]
    letters = [mark.group(1) for mark in marks if mark]
    return len(letters) == 2 and ord(letters[1]) == ord(letters[0]) + 1


def lines_of(text: str) -> list[str]:
    """The lines of a response behind its thought that are not blank."""
    return [line for line in narrow(final_part(text)).splitlines() if line.strip()]
