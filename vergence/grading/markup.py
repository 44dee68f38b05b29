"""What surrounds an answer without being part of it: dollar signs, bold type, text commands."""

import re

LONGEST = 2000
"""Characters of the longest text that counts as a final answer."""

_MOST_WRAPPERS = 20
_TEXT = (
    r"\\(?:text|textbf|textit|textrm|textsf|texttt|textnormal|mathrm|mathbf|mathsf|mathit|mbox|hbox|boldsymbol)"
    r"(?![A-Za-z])\s*"
)
_TEXT_COMMAND = re.compile(_TEXT + r"\{([^{}]*)\}")
_TEXT_LETTER = re.compile(_TEXT + r"([A-Za-z])(?![A-Za-z])")
_WRAPPERS = (
    ("$$", "$$"),
    ("$", "$"),
    (r"\(", r"\)"),
    (r"\[", r"\]"),
    ("**", "**"),
    ("__", "__"),
    ("*", "*"),
    ("`", "`"),
)
_QUOTES = (('"', '"'), ("'", "'"), ("\u201c", "\u201d"), ("\u2018", "\u2019"))


def bare(text: str) -> str:
    r"""An answer without what is wrapped around all of it, and without a full stop behind it.

    Example: `**$\text{(B)}$.**` -> `(B)`.
    """
    text = text.strip()
    for _ in range(_MOST_WRAPPERS):
        before = text
        text = text.rstrip(" \t\n.,;:。" if not text.endswith("...") else " ").lstrip(" \t\n:;,")
        if text.count("**") == 1:  # half of a pair: the other half was in front of a phrase
            text = text.removesuffix("**").removeprefix("**")
        text = text.removesuffix("\\")  # of "\." and of a line break at the end
        for opening, closing in (*_WRAPPERS, *_QUOTES):
            inner = text[len(opening) : len(text) - len(closing)]
            enclosed = text.startswith(opening) and text.endswith(closing) and len(text) > len(opening + closing)
            if enclosed and opening not in inner and closing not in inner:
                text = inner.strip()
        whole = _TEXT_COMMAND.fullmatch(text)
        if whole:
            text = whole.group(1).strip()
        if len(text) > 1 and text[0] == "{" and closing_brace(text, 0) == len(text) - 1:
            text = text[1:-1].strip()
        if text == before:
            break
    return text


def without_text_commands(text: str) -> str:
    r"""`\text{ cm}` -> ` cm`, for every command of the kind; `~` and the spacing commands become blanks."""
    if "\\" not in text and "~" not in text:
        return text
    for _ in range(4):  # as deep as such commands are nested in earnest
        shorter = _TEXT_LETTER.sub(r"\1", _TEXT_COMMAND.sub(lambda found: found.group(1), text))
        if shorter == text:
            break
        text = shorter
    return re.sub(r"(?<!\\)\\[,;:!> ]|\\quad|\\qquad|~", " ", text)


def closing_brace(text: str, opening: int, stop: int | None = None) -> int:
    """Where the brace that opens at `opening` is closed again; -1 where it is not. An escaped brace does not count."""
    depth, place = 0, opening
    while place < (len(text) if stop is None else stop):
        character = text[place]
        if character == "\\":
            place += 2
            continue
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return place
        place += 1
    return -1
