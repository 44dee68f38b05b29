"""The tests of a programming problem: the JSON that `Grading.tests` holds. Three kinds:

    {"kind": "stdin", "cases": [{"input": "1 2\\n", "output": "3\\n"}]}
    {"kind": "call", "function": "add", "cases": [{"input": [1, 2], "output": 3}]}
    {"kind": "check", "function": "add", "prompt": "def add(a, b):\\n", "tests": "def check(candidate): ..."}

The first two are LiveCodeBench's (programs that read and print; methods of `Solution`, or functions), the third is
HumanEval's. Optional: `"seconds"`, the CPU time of one case; for the first two `"tolerance"`, by which a number that is
expected with a fraction may differ, absolute or of its size: 1e-6 if it is missing.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vergence.errors import DataError


@dataclass(frozen=True, slots=True)
class StdinTests:
    """A program's standard input, and what it must print."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    seconds: float
    tolerance: float


@dataclass(frozen=True, slots=True, eq=False)
class CallTests:
    """A function's arguments, and what it must return."""

    function: str
    inputs: tuple[list[Any], ...]
    outputs: tuple[Any, ...]
    seconds: float
    tolerance: float


@dataclass(frozen=True, slots=True)
class CheckTests:
    """A function `check` that asserts things of the candidate it is given."""

    function: str
    prompt: str
    """What stands before a completion: imports, signature, docstring."""
    tests: str
    seconds: float


CodeTests = StdinTests | CallTests | CheckTests
_SECONDS, _MOST_SECONDS = 6.0, 600.0
_TOLERANCE = 1e-6
"""What contests commonly allow. LiveCodeBench compares exactly; its rows say so (`data/layouts/livecodebench.py`)."""


def read_tests(text: str) -> CodeTests:
    """From JSON. Raises DataError saying what is wrong."""
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f'"tests" is not JSON ({error}); docs/graders.md shows the three kinds') from None
    kind = row.get("kind") if isinstance(row, dict) else None
    if kind not in ("stdin", "call", "check"):
        raise DataError(f'"tests": "kind" must be stdin, call or check, found {kind!r:.60}; docs/graders.md shows them')
    seconds = _number(row, "seconds", _SECONDS, "above 0 and up to 600", lambda value: 0 < value <= _MOST_SECONDS)
    tolerance = _number(row, "tolerance", _TOLERANCE, "from 0 to 1", lambda value: 0 <= value <= 1)
    match kind:
        case "stdin":
            inputs, outputs = _cases(row, str, "text")
            return StdinTests(tuple(inputs), tuple(map(_text, outputs)), seconds, tolerance)
        case "call":
            arguments, outputs = _cases(row, list, "a list of arguments")
            return CallTests(_field(row, "function"), tuple(arguments), tuple(outputs), seconds, tolerance)
    return CheckTests(_field(row, "function"), _field(row, "prompt"), _field(row, "tests"), seconds)


def _number(row: dict[str, Any], name: str, default: float, wanted: str, allowed: Callable[[float], bool]) -> float:
    value = row.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not allowed(value):
        raise DataError(f'"tests": "{name}" must be a number {wanted}, found {value!r:.60}')
    return float(value)


def _cases(row: dict[str, Any], kind: type, wanted: str) -> tuple[list[Any], list[Any]]:
    cases = row.get("cases")
    if not isinstance(cases, list) or not cases:
        raise DataError('"tests": "cases" must be a list with at least one case')
    for place, case in enumerate(cases):
        if not isinstance(case, dict) or "output" not in case or not isinstance(case.get("input"), kind):
            raise DataError(f'"tests": case {place} must have "input", {wanted}, and "output"')
    return [case["input"] for case in cases], [case["output"] for case in cases]


def _field(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or (name != "prompt" and not value.strip()):
        raise DataError(f'"tests": "{name}" must be text, found {value!r:.60}')
    return value


def _text(output: Any) -> str:
    if not isinstance(output, str):
        raise DataError(f'"tests": the output of a program must be text, found {output!r:.60}')
    return output
