"""A response cut into thought, answer and the rest, without losing a character."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vergence.report.markup import Html, join, tag
from vergence.reward.answer import is_well_formed

_TAG = re.compile(r"(</?(?:think|answer)>)")
_INSIDE = {"<think>": "thought", "<answer>": "answer"}
FOLDED_FROM = 700
"""Characters; longer pieces are folded behind their beginning."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a response."""

    kind: str
    """tag, thought, answer or loose (outside of any tags)."""
    text: str


def pieces(text: str) -> list[Piece]:
    """The response in order; joined, the pieces give it back. An unclosed tag reaches up to the next one."""
    found, kind = [], "loose"
    for part in _TAG.split(text):
        if _TAG.fullmatch(part):
            found.append(Piece("tag", part))
            kind = _INSIDE.get(part, "loose")
        elif part:
            found.append(Piece(kind, part))
    return found


def show(text: str, right: bool | None) -> Html:
    """The response, its thought set apart from its answer; its tags are shown only where the form is wrong."""
    bad = not is_well_formed(text)
    verdict = {True: "answer right", False: "answer wrong", None: "answer"}[right]
    shown: Sequence[Html] = [_show_piece(piece, verdict) for piece in pieces(text) if piece.kind != "tag" or bad]
    return tag("div", join(shown) if shown else tag("span", "(empty)", class_="note"), class_="response")


def _show_piece(piece: Piece, verdict: str) -> Html:
    class_ = verdict if piece.kind == "answer" else piece.kind
    if len(piece.text) < FOLDED_FROM:
        return tag("span", piece.text, class_=class_)
    begin, rest = piece.text[: FOLDED_FROM // 3], piece.text[FOLDED_FROM // 3 :]
    return tag("details", tag("summary", begin), rest, class_=class_)
