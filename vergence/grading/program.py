"""Reading a program from a response, and comparing what it gave with what was expected."""

import ast
import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

_OPENING = re.compile(
    r"(?P<before>(?:(?!```|~~~).)*)(?P<fence>`{3,}|(?<![^\s])~{3,})[ \t]*(?P<language>[A-Za-z0-9+#_.-]*)[^`]*"
)
_PYTHON = re.compile(r"py(?:thon)?[0-9.]*", re.IGNORECASE)
_READS = re.compile(r"\binput\b|\bstdin\b|\bopen\(0|\bfileinput\b")
_SESSION = re.compile(r"\s*(?:>>>|\$ |In \[)")
_INDENTED_BODY = 3
"""Blanks by which a closing fence may be indented against the opening one (CommonMark)."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a response."""

    text: str
    tagged: bool
    """Whether it says that it is Python; otherwise it says nothing."""


def read_program(text: str, function: str = "") -> str | None:
    """The program of a response, behind its thought: of its fenced blocks the last that can be meant.

    A block that defines the asked `function` comes first; where none is asked for, one that reads standard input. Then
    one that is tagged as Python, then one that is not tagged and does something when it runs, which an output does not.
    Blocks of other languages and interactive sessions are no programs. Without any block: the text itself if it is
    Python. None if there is none.
    """
    final = text.rpartition("</think>")[2]
    blocks = [_alone(block) for block in fenced_blocks(final) if not _SESSION.match(block.text)]
    if not blocks:
        tagged = re.findall(r"<answer>(.*?)</answer>", final, re.DOTALL)
        bare = tagged[-1] if tagged else final
        return bare if bare.strip() and parses(bare) else None
    working = [block for block in blocks if _does_something(block.text)]
    likely = [block for block in blocks if block.tagged] or working or blocks
    if function:
        asked = [block for block in blocks if defines(block.text, function)]
    else:
        asked = [block for block in likely if _READS.search(block.text)]
    return (asked or likely)[-1].text


def read_completion(text: str, prompt: str, function: str) -> str | None:
    """The program for a problem that is given as the beginning of a function (HumanEval).

    A response that defines the function itself stands behind what the prompt holds before it; any other continues the
    prompt.
    """
    program = read_program(text, function)
    if program is not None and defines(program, function):
        return f"{_before(prompt, function)}\n{program}"
    final = text.rpartition("</think>")[2]
    for body in (*(block.text for block in reversed(fenced_blocks(final))), final):
        first = next((line for line in body.splitlines() if line.strip()), "")
        if first[:1] in (" ", "\t") and parses(prompt + body):
            return prompt + body
    return None


def fenced_blocks(text: str) -> list[Block]:
    """Blocks between fences that are tagged as Python or not at all, without the indentation of their fence.

    A block that is not closed ends with the text. A fence counts where it ends its line, whatever stands before.
    """
    found: list[Block] = []
    lines = iter(text.split("\n"))
    for line in lines:
        opening = _OPENING.fullmatch(line)
        if opening is None:
            continue
        before, fence, language = opening.group("before", "fence", "language")
        indent = len(before) if not before.strip() else 0
        body = _body(lines, fence, indent)
        if not language or _PYTHON.fullmatch(language):
            found.append(Block("".join(f"{one}\n" for one in body), bool(language)))
    return found


def _body(lines: Iterator[str], fence: str, indent: int) -> list[str]:
    body: list[str] = []
    closing = re.compile(rf"(?P<last>.*?){re.escape(fence)}{re.escape(fence[0])}*\s*")
    for line in lines:
        blanks = len(line) - len(line.lstrip())
        one = line[min(indent, blanks) :]
        closed = closing.fullmatch(line)
        if closed and (closed["last"].strip() or blanks <= indent + _INDENTED_BODY):
            last = closed["last"].strip()
            return [*body, one[: one.rindex(fence)]] if last else body
        body.append(one)
    if body and not body[-1]:
        body.pop()  # the end of the text, not a line
    return body


def _alone(block: Block) -> Block:
    """A whole program does not begin indented; the rest of a function may."""
    if parses(block.text):
        return block
    text = textwrap.dedent(block.text)
    return Block(text, block.tagged) if parses(text) else block


def defines(program: str, function: str) -> bool:
    """Whether it defines a function of that name, or a class with a method of that name; read as text if cut off."""
    return re.search(rf"^[ \t]*(?:async[ \t]+)?def[ \t]+{re.escape(function)}\b", program, re.MULTILINE) is not None


def _does_something(program: str) -> bool:
    """Whether it is more than values: `3` is Python as well, and is an output."""
    try:
        body = ast.parse(program).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    calls = (node for one in body for node in ast.walk(one) if isinstance(node, ast.Call))
    return any(not isinstance(one, ast.Expr) for one in body) or next(calls, None) is not None


def parses(source: str) -> bool:
    """Whether it is Python at all."""
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _before(prompt: str, function: str) -> str:
    """What the prompt holds before the function: imports, and functions that it may call."""
    place = re.search(rf"^(?:async[ \t]+)?def[ \t]+{re.escape(function)}\b", prompt, re.MULTILINE)
    before = prompt[: place.start()] if place else ""
    if before and parses(before):
        return before
    return "\n".join(line for line in prompt.splitlines() if line.startswith(("import ", "from ")))


def same_output(found: str, expected: str, tolerance: float) -> bool:
    """Line by line, blanks at both ends aside; lines that differ are equal if their words are equal numbers.

    That is LiveCodeBench's rule for programs that print, at tolerance 0; otherwise a number that is expected with a
    decimal point or an exponent may differ by `tolerance`, absolute or of its size.
    """
    ours, theirs = _lines(found), _lines(expected)
    return len(ours) == len(theirs) and all(
        one == other or _same_numbers(one, other, tolerance) for one, other in zip(ours, theirs, strict=True)
    )


def same_value(found: Any, expected: Any, tolerance: float) -> bool:
    """Equal as JSON: that is LiveCodeBench's rule for functions, for which a tuple is a list.

    A float that is expected, however deep, may differ by `tolerance`, absolute or of its size.
    """
    return isinstance(found, bool) == isinstance(expected, bool) and _near(found, expected, tolerance)


def _near(found: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, float) and isinstance(found, int | float) and math.isfinite(expected):
        return bool(found == expected) or _close(Decimal(found), Decimal(expected), tolerance)
    if isinstance(expected, list) and isinstance(found, list):
        return _all_near(found, expected, tolerance)
    if isinstance(expected, dict) and isinstance(found, dict) and expected.keys() == found.keys():
        return _all_near([found[key] for key in expected], list(expected.values()), tolerance)
    return bool(found == expected)


def _all_near(found: Sequence[Any], expected: Sequence[Any], tolerance: float) -> bool:
    return len(found) == len(expected) and all(
        _near(one, other, tolerance) for one, other in zip(found, expected, strict=True)
    )


def _close(found: Decimal, expected: Decimal, tolerance: float) -> bool:
    return found.is_finite() and abs(found - expected) <= Decimal(tolerance) * max(Decimal(1), abs(expected))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().split("\n")]


def _same_numbers(one: str, other: str, tolerance: float) -> bool:
    ours, theirs = _numbers(one), _numbers(other)
    if not ours or len(ours) != len(theirs):
        return False
    inexact = [not word.lstrip("+-").isdigit() for word in other.split()]
    return all(
        found == expected or (near and _close(found, expected, tolerance))
        for found, expected, near in zip(ours, theirs, inexact, strict=True)
    )


def _numbers(line: str) -> list[Decimal]:
    try:
        found = [Decimal(word) for word in line.split()]
    except InvalidOperation:
        return []
    return found if all(number.is_finite() for number in found) else []
