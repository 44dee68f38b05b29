"""Multiple choice: the same option, however it is named."""

import re
from collections.abc import Sequence

from vergence.grading.characters import HAN
from vergence.grading.markup import bare
from vergence.grading.opening import ends_a_list, opening_choice
from vergence.grading.options import LETTERS, Naming, Picked, Several, Unclear, letter, naming
from vergence.grading.read import NEGATION, Located, Missing, Place, locate
from vergence.types import Grade, Grading, Verdict

_MARK = r"[(*\[\"'\u201c]{0,3}([A-Z])(?![A-Za-z'\u2019])"
_MENTION = re.compile(
    r"\(\s*([A-Z])\s*\)"
    rf"|\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer|OPTION|CHOICE|ANSWER)(?:\s+is)?\s*[:-]?\s*{_MARK}"
    r"|\b(?:choose|chose|pick|select|guess|go with|going with|it is|it's|(?:say|think|believe|sure)(?: that)?)\s+"
    rf"{_MARK}"
    r"|(?:^|[.,:;!?*(]\s*|\b(?:think|believe|say|that|so|thus|therefore|hence|clearly)\s+)([A-Z])\s+"
    r"(?:is|seems|must be)\s+(?:the\s+|most\s+)*(?:best|correct|right|answer|true)\b"
    r"|\*\*\s*\(?([A-Z])(?![A-Za-z'])"
    r"|\\text(?:bf|rm)?\{\s*\(?([A-Z])\)?\s*\}"
    rf"|(?:选项?|选择|答案)\s*(?:是|为|:)?\s*{_MARK}|(?<![A-Za-z])([A-Z])\s*(?:选?项)?\s*是?\s*(?:正确|对)的?"
)
_ALTERNATIVE = re.compile(
    r"[\s)*\]\"]{0,4}(?:,|/|\bor\b|\band\b|或者?|和|与)\s*(?:(?:maybe|perhaps|option|选项?)\s*)?"
    r"[(*\[]{0,3}([A-Z])(?![A-Za-z'\u2019])"
)
_OTHERS = re.compile(r"\s*(?:其余|其他|其它|另外|剩下)[^A-Z]*$")
_WORD_BEHIND = re.compile(r"\s+(?!is\b|because\b|since\b|as\b|seems\b|must\b)[a-z]")
"""What makes "A" an article and "I" a pronoun."""


def grade_choice(grading: Grading, answer: str, text: str) -> Grade:
    """Whether the final answer names the right option, and no other."""
    gold = gold_choice(answer, grading.options)
    if isinstance(gold, Unclear):
        return Grade(Verdict.FAILED, None, f"the right answer {answer!r:.60} {gold.reason}")
    found = locate(text, short_phrases=False)
    if isinstance(found, Missing):
        return Grade(Verdict.WRONG, None, found.reason)
    said = _said(text, found, grading.options)
    if isinstance(said, Unclear):
        return Grade(Verdict.WRONG, bare(found.text)[:200], f"the final answer {said.reason}")
    written = letters_of(said)
    if isinstance(said, Several) and isinstance(gold, Picked):
        return Grade(Verdict.WRONG, written, "the final answer names several options")
    if said == gold:
        return Grade(Verdict.CORRECT, written, "the same option")
    return Grade(Verdict.WRONG, written, "another option")


def read_choice(text: str, options: Sequence[str]) -> Naming:
    """Which option a response chooses."""
    found = locate(text, short_phrases=False)
    return Unclear(found.reason) if isinstance(found, Missing) else _said(text, found, options)


def _said(text: str, found: Located, options: Sequence[str]) -> Naming:
    """What the final answer names; where nothing marks one, the letter that begins the response counts as well."""
    last = choice_of(found, options)
    if found.place is not Place.LAST_LINE:
        return last
    first = opening_choice(text, options)
    if first is None:
        return Unclear("is the end of a list of options") if ends_a_list(text) else last
    return first if isinstance(last, Unclear) or last == first else Unclear("is not the option of the first line")


def gold_choice(answer: str, options: Sequence[str]) -> Naming:
    """The option that a right answer names: its letter, its text, or both; several letters where several are right."""
    return naming(answer, options)


def choice_of(found: Located, options: Sequence[str]) -> Naming:
    """The option that a final answer names, be it all of the text or one mention in a sentence."""
    whole = naming(found.text, options)
    if found.place is Place.LAST_LINE and not isinstance(whole, Unclear) and _denies(found.text, whole, options):
        return Unclear("may deny the option that it mentions")
    if not isinstance(whole, Unclear) or found.place is Place.BOXED:
        return whole
    said = _undenied(found.text)
    if said is None:
        return Unclear("may deny the option that it mentions")
    count = len(options) or len(LETTERS)
    mentioned = _mentioned(said)
    places = {LETTERS.index(one) for one in mentioned if LETTERS.index(one) < count}
    if len(places) == 1:
        place = places.pop()
        if _other_text(found.text, place, options):
            return Unclear(f"names {letter(place)} with the text of another option")
        return naming(LETTERS[place], options)
    return Unclear("names several options") if places else whole


def _undenied(text: str) -> str | None:
    """A sentence without Chinese clauses that deny the other options; None where what it mentions may be denied."""
    if not NEGATION.search(text):
        return text
    clauses = re.split(r"[,;。]", text) if re.search(f"[{HAN}]", text) else [text]
    denying = [clause for clause in clauses if NEGATION.search(clause)]
    if not all(_OTHERS.match(clause) for clause in denying):
        return None
    return ",".join(clause for clause in clauses if clause not in denying)


def _mentioned(text: str) -> set[str]:
    """The letters that a sentence names, and those joined to them by "or"; no article and no pronoun."""
    letters = set()
    for mention in _MENTION.finditer(text):
        place = next(at for at, one in enumerate(mention.groups(), start=1) if one)
        letter, end = mention.group(place), mention.end(place)
        if letter in "AI" and text[mention.start()] != "(" and mention.end() == end and _WORD_BEHIND.match(text, end):
            continue
        letters.add(letter)
        while joined := _ALTERNATIVE.match(text, end):
            letters.add(joined.group(1))
            end = joined.end()
    return letters


def _denies(text: str, said: Naming, options: Sequence[str]) -> bool:
    """Whether a text may deny what it mentions; the words of the option itself, "none, it is not possible", do not."""
    own = bare(options[said.place]) if isinstance(said, Picked) and said.place < len(options) else ""
    return NEGATION.search(text.replace(own, "") if len(own) > 1 else text) is not None


def _other_text(text: str, place: int, options: Sequence[str]) -> bool:
    """Whether a sentence has the text of another option, as words of its own, and not that of the one it mentions."""
    occurring = {at for at, option in enumerate(options) if _occurs(bare(option), text)}
    return bool(occurring) and place not in occurring


def _occurs(option: str, text: str) -> bool:
    if len(option) == 1 and not option.isdigit():
        return False
    return re.search(rf"(?<!\w){re.escape(option)}(?!\w)", text) is not None


def letters_of(said: Picked | Several) -> str:
    """`B`, or `A, C`."""
    places = sorted(said.places) if isinstance(said, Several) else [said.place]
    return ", ".join(letter(place) for place in places)
