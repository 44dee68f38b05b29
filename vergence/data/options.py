"""Options of a choice: their letters, their texts, and which of them an answer names."""

import ast
import re
import string
from collections.abc import Sequence
from typing import Any

from vergence.data.values import plain
from vergence.errors import DataError

LETTERS = string.ascii_uppercase
_LISTED = re.compile(r"^[ \t]*(?:\(([A-Z])\)|([A-Z])[.:)\u3001\uff1a\uff0e])[ \t]*(\S.*)$", re.MULTILINE)


def letter(index: int) -> str:
    """0 -> "A"."""
    return LETTERS[index]


def lettered(options: Sequence[str]) -> str:
    """One option a line behind its letter; an option that is only its letter stands alone."""
    return "\n".join(name if text == name else f"{name}. {text}" for name, text in zip(LETTERS, options, strict=False))


def options_of(value: Any, where: str) -> tuple[str, ...]:
    """The options of a column: a list, or a list written as Python text (as in MMMU); their own letters are cut off.

    Raises DataError if it is neither, or has more options than letters.
    """
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value) if value.strip() else []
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise DataError(f"{where}: options must be a list, found {value!r:.60}") from None
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise DataError(f"{where}: options must be a list, found {type(value).__name__} {value!r:.60}")
    if len(value) > len(LETTERS):
        raise DataError(f"{where}: {len(value)} options, and there are {len(LETTERS)} letters")
    return _without_letters([plain(option).strip() for option in value])


def named_by_letter(answer: str, options: Sequence[str], where: str) -> str:
    """The letter that an answer consists of: "B", "(B)", "B.". Raises DataError if no option has it."""
    bare = answer.strip().strip("().: ")
    if len(bare) == 1 and bare.upper() in LETTERS[: len(options)]:
        return bare.upper()
    raise DataError(f"{where}: the answer {answer!r:.60} is none of the letters of {len(options)} options")


def named_by_text(answer: str, options: Sequence[str], where: str) -> str:
    """The letter of the first option with this text. Raises DataError if there is none."""
    if answer.strip() in options:
        return letter(list(options).index(answer.strip()))
    raise DataError(f"{where}: the answer {answer!r:.60} is none of the options {list(options)!r:.120}")


def listed_in(question: str) -> tuple[str, ...]:
    """The options that a question lists itself, one a line behind (A), A. or A: from A on; none where it lists none."""
    found = [(match.group(1) or match.group(2), match.group(3).strip()) for match in _LISTED.finditer(question)]
    begin = next((place for place, (name, _) in enumerate(found) if name == "A"), len(found))
    texts = [text for place, (name, text) in enumerate(found[begin:]) if name == LETTERS[place : place + 1]]
    return tuple(texts) if len(texts) == len(found) - begin and len(texts) > 1 else ()


def _without_letters(options: Sequence[str]) -> tuple[str, ...]:
    """Texts without a letter of their own, if every one has its own: "(A)" -> "A", "B) 5 cm" -> "5 cm"."""
    cut = []
    for name, text in zip(LETTERS, options, strict=False):
        match = re.fullmatch(rf"(?:\({name}\)|{name}[.):])\s*(.*)|{name}", text, flags=re.DOTALL)
        if match is None:
            return tuple(options)
        cut.append(match.group(1) or name)
    return tuple(cut)
