r"""Where the final answer of a response stands.

What is read, in this order:

1. What follows the last `</think>`. A response that begins to think and does not end has no answer.
2. In it the last pair of answer tags, where there is one.
3. In that the last `\boxed{...}`, or the boxes of a list that it ends; else what follows "answer is", "answer:",
   "####" or the same in another language; else the last line.

A box or a pair of tags that is opened and not closed was cut off: there is no answer.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from vergence.grading.boxes import answer_boxed
from vergence.grading.characters import HAN, narrow
from vergence.grading.markup import LONGEST, bare

_TAIL = 20_000
"""Characters at the end of a response in which a phrase is looked for."""


class Place(StrEnum):
    """Where an answer was found: how sure it is that all of the text is the answer."""

    BOXED = "boxed"
    TAGGED = "tagged"
    NAMED = "named"
    """Behind a phrase such as "the answer is": a sentence may go on."""
    LAST_LINE = "last line"
    """Nothing says that it is the answer."""


@dataclass(frozen=True, slots=True)
class Located:
    """The text that holds the final answer, never blank, of at most `LONGEST` characters."""

    text: str
    place: Place


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no final answer."""

    reason: str


_PHRASE = re.compile(
    r"####"
    r"|\b(?i:answers?|(?:final|correct|right|best|my)\s{1,3}(?:options?|choices?))\b(?:(?!\b[A-Z]\b)[ \w*()}]){0,40}?"
    r"(?i:\bis\b|\bare\b|\bwill be\b|\bwould be\b|:|=)[\s*:]{0,8}"
    r"|\b[Aa]ns\b[\s.:=]{1,8}"
)
_FOREIGN_PHRASE = re.compile(
    r"\b(?i:antwort|lösung|réponse|respuesta|risposta|resposta|antwoord|svaret|odpowiedź|ответ|đáp án|cevap"
    r"|opción correcta|opção correta|opzione corretta|bonne option)\b"
    r"(?:(?!\b(?:[A-Z]|no|non|não|nicht|ne|не|nie)\b)[ \w*()}]){0,40}?"
    r"(?i:\b(?:ist|lautet|est|es|è|é|is|är|là|wynosi)\b|[:=]|\s[\u2014\u2013-]\s)(?:\s(?:donc|la|el|le|die|der|das)\b)?[\s*:]{0,8}"
    r"|\b[Rr]ichtig ist\b"
    r"|(?:答え|正解|解答)\s*(?:は|が|[:=])|(?:정답|답)\s*(?:은|는|[:=])|(?:الجواب|الإجابة)(?: الصحيحة)?\s*(?:هو|هي|:)"
    r"|(?<![不没非])(?:答案\s*(?:应该?|就|则)?\s*(?:是|为|等于|选择?|填|[:=])\s*:?\s*(?:选项?)?"
    r"|(?:故|应|所以|因此|本题|正确|综上(?:所述)?)\s*,?\s*(?:本题)?\s*(?:应该?|正确)?\s*(?:选择?(?:答案)?|填)"
    r"\s*(?:的?选?项?是|为|:)?"
    r"|正确的?\s*(?:选项|答案)?\s*(?:是|为|:)|答\s*:|结果\s*(?:是|为|等于|[:=])|解得|而是)"
)
"""The same in other languages; in `不是` and "no es" the phrase denies what follows."""
NEGATION = re.compile(
    r"\b(?:not|never|cannot|wrong|incorrect|false|neither|nor|except|unlikely|nicht|kein(?:e[mnrs]?)?|falsch|niet|geen"
    r"|inte|ikke|pas|faux|fausse|incorrect[oa]|errad[oa]|sbagliat[oa]|не|нет|неверн\w*|não"
    r"|no (?:es|son|hay)|non [eè])\b"
    r"|n't\b|\bn'(?:est|y)\b"
    r"|不(?!等|变|同|少于|超过|小于|大于|低于|高于|妨|仅|但|只|计|论|定)|没(?!错)|并非|错|误(?!差)|否|排除|除了|无法|难以|未(?!知)|如果|假如|假设|吗"
    r"|ない|ません|아니|아닙",
    re.IGNORECASE,
)
"""A word that may turn a sentence round: what it mentions is then no answer."""
_SHORT_PHRASE = re.compile(r"^\s{0,8}A:", re.MULTILINE)
_SENTENCE_END = re.compile(
    rf"(?<!\\)[.!?](?=\s|\*|$)(?<![A-Z]\.)(?<!i\.e\.)(?<!e\.g\.)(?<!\b[ap]\.m\.)|[。?!](?=[{HAN}])|。"
)
_NEXT_SENTENCE = re.compile(r"\s+[A-Z]")


def final_part(text: str) -> str:
    """What a response says after it has thought; "" where it still thinks."""
    said = text.rpartition("</think>")[2]
    return "" if "<think>" in said else said


def locate(text: str, *, short_phrases: bool = True) -> Located | Missing:
    """Where the final answer stands. `short_phrases` takes "A:" at the beginning of a line for "answer:"."""
    part = narrow(final_part(text))
    if not part.strip():
        return Missing("no final answer: the response is empty, or ends while it thinks")
    tagged = _tagged(part)
    if isinstance(tagged, Missing):
        return tagged
    scope = part if tagged is None else tagged
    boxed = answer_boxed(scope)
    if boxed is not None:
        return _checked(boxed, Place.BOXED, "the last box is empty or was cut off")
    named = _named(scope[-_TAIL:], short_phrases)
    if named:
        return _checked(named, Place.NAMED, "nothing follows the phrase that names the answer")
    if tagged is not None:
        return _checked(tagged, Place.TAGGED, "there is nothing between the answer tags")
    line = scope.rstrip()
    return _checked(line[line.rfind("\n") + 1 :], Place.LAST_LINE, "the last line is empty")


def final_answer(text: str) -> str | None:
    """The text of the final answer without what is wrapped around it, or None where there is none."""
    found = locate(text)
    return None if isinstance(found, Missing) else bare(found.text) or None


def _checked(text: str, place: Place, otherwise: str) -> Located | Missing:
    text = text.strip()
    if len(text) > LONGEST:
        return Missing(f"no final answer: {len(text)} characters in the {place} text, {LONGEST} at most")
    return Located(text, place) if bare(text) else Missing(f"no final answer: {otherwise}")


def _tagged(part: str) -> str | Missing | None:
    """What stands between the last pair of answer tags; None where there are no tags."""
    opening, closing = part.rfind("<answer>"), part.rfind("</answer>")
    if opening < 0:
        return None
    if closing < opening:
        return Missing("no final answer: the answer tags were opened and not closed")
    return part[opening + len("<answer>") : closing]


def _named(text: str, short_phrases: bool) -> str:
    """What follows the last phrase that names an answer, to the end of its sentence; "" where no phrase does."""
    ends = [found.end() for found in _PHRASE.finditer(text)]
    if not text.isascii() or _LATIN_PHRASE.search(text):
        ends += [found.end() for found in _FOREIGN_PHRASE.finditer(text)]
    if short_phrases:
        ends += [found.end() for found in _SHORT_PHRASE.finditer(text)]
    for end in sorted(ends, reverse=True):
        rest = _LEAD.sub("", text[end : end + LONGEST + 100], count=1)
        line = rest.split("\n", 1)[0]
        if rest.startswith((r"\[", "$$")):  # displayed: it may take several lines
            close = rest.find(r"\]" if rest[0] == "\\" else "$$", 2)
            line = rest[: close + 2] if close > 0 else line
        sentence = _COPULA.sub("", _closed(first_sentence(line)))
        if bare(sentence):
            return sentence
    return ""


_COPULA = re.compile(r"\s*(?:です|である|だ|입니다|이다|예요)[\s.。]*$")
_LEAD = re.compile(r"\A(?:[\s*:}~]|\\(?:[,;:! ]|q?quad(?![A-Za-z])))*")
_LATIN_PHRASE = re.compile(r"(?i:antwort|richtig|respuesta|risposta|resposta|antwoord|svaret|cevap)")


def _closed(text: str) -> str:
    r"""A text up to where a bracket is closed that was opened before it, as in `\text{Answer: B}\]`."""
    depth = 0
    for found in _BRACKET.finditer(text):
        sign = found.group()
        depth += 1 if sign[:6] in _OPENS else -1 if sign[:4] in _CLOSES else 0
        if depth < 0:
            text = text[: found.start()]
            break
    text = text.rstrip()
    if text.endswith("$$") and text.count("$$") % 2:
        text = text[:-2]
    elif text.count("$") % 2 and not text.endswith("\\$"):
        text = text.removesuffix("$") if text.endswith("$") else _HALF_OPEN.sub("", text)
    return text


_BRACKET = re.compile(r"\\begin\s*\{[a-z*]+\}|\\end\s*\{[a-z*]+\}|\\.|[{}]", re.DOTALL)
_OPENS, _CLOSES = frozenset({"{", r"\[", r"\(", r"\begin"}), frozenset({"}", r"\]", r"\)", r"\end"})
_HALF_OPEN = re.compile(r"^\$(?=[^\d.\s$-])")


def first_sentence(line: str) -> str:
    """A line up to the end of its first sentence; a full stop within mathematics or behind "B" ends none."""
    for end in _SENTENCE_END.finditer(line):
        before, after = line[: end.start()], line[end.end() :]
        within = before.count("$") % 2 == 1 and "$" in after and not _NEXT_SENTENCE.match(after)
        if not within and before.count("{") == before.count("}"):
            return before
    return line
