"""LiveCodeBench, code generation: problems with public and hidden tests.

The authors publish hidden tests either as JSON, or packed: base64 of zlib of a pickled string that holds the JSON.
Unpickling runs whatever a file asks for, so nothing is ever unpickled here: the string is cut out of the pickle's
opcodes, and a pickle that holds anything but one string is refused.
"""

import base64
import binascii
import json
import pickletools
import zlib
from typing import Any

from vergence.data.layout import Draft, Layout, Place
from vergence.data.rows import Row
from vergence.errors import DataError
from vergence.types import AnswerType, Grading

MAX_TESTS = 1 << 30
"""Bytes of one problem's hidden tests, unpacked."""
TOLERANCE = 0
"""Numbers are compared exactly, as the authors do."""
_HARMLESS = {
    "PROTO",
    "FRAME",
    "MEMOIZE",
    "BINPUT",
    "LONG_BINPUT",
    "STOP",
    "SHORT_BINUNICODE",
    "BINUNICODE",
    "BINUNICODE8",
}
_STRINGS = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}


def unpacked_tests(row: Row, where: str) -> str:
    """A row's public and hidden tests as `Grading.tests`. Raises DataError if they cannot be read."""
    cases = [*_cases(row, "public_test_cases", where), *_cases(row, "private_test_cases", where)]
    if not cases:
        raise DataError(f"{where}: the problem has no test")
    kinds = {case.get("testtype") for case in cases}
    if kinds == {"stdin"}:
        tests = [{"input": case["input"], "output": case["output"]} for case in cases]
        return json.dumps({"kind": "stdin", "cases": tests, "tolerance": TOLERANCE})
    if kinds != {"functional"}:
        raise DataError(f'{where}: "testtype" must be stdin or functional throughout, found {sorted(map(str, kinds))}')
    try:
        name = (
            json.loads(row["metadata"])["func_name"]
            if isinstance(row["metadata"], str)
            else row["metadata"]["func_name"]
        )
        tests = [
            {"input": [json.loads(line) for line in case["input"].split("\n")], "output": json.loads(case["output"])}
            for case in cases
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: a test of a function cannot be read ({type(error).__name__}: {error})") from None
    return json.dumps({"kind": "call", "function": name, "cases": tests, "tolerance": TOLERANCE})


def pickled_string(data: bytes) -> str:
    """The one string that a pickle holds, without unpickling it. Raises ValueError if it holds anything else."""
    strings = []
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name not in _HARMLESS:
            raise ValueError(f"a pickle with {opcode.name}, where a string alone is expected")
        if opcode.name in _STRINGS:
            strings.append(argument)
    if len(strings) != 1 or not isinstance(strings[0], str):
        raise ValueError(f"a pickle of {len(strings)} strings, where one is expected")
    return strings[0]


def _cases(row: Row, key: str, where: str) -> list[dict[str, Any]]:
    value = row.get(key)
    try:
        cases = _unpacked(value) if isinstance(value, str) else value
    except (ValueError, zlib.error, binascii.Error, RecursionError) as error:
        raise DataError(f'{where}: "{key}" cannot be read ({error})') from None
    if not isinstance(cases, list) or not all(
        isinstance(case, dict) and {"input", "output"} <= case.keys() for case in cases
    ):
        raise DataError(
            f'{where}: "{key}" must be a list of tests with "input" and "output", found {str(cases)[:60]!r}'
        )
    return cases


def _unpacked(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(text), MAX_TESTS)
        if unpacker.unconsumed_tail:
            raise ValueError(f"more than {MAX_TESTS:,} bytes") from None
        return json.loads(pickled_string(data))


def question_of(row: Row) -> str:
    """What is asked, with the code to begin from where there is some."""
    begin = str(row.get("starter_code") or "").strip("\n")
    return str(row["question_content"]) + (f"\n\n```python\n{begin}\n```" if begin.strip() else "")


def _draft(row: Row, place: Place) -> Draft:
    return Draft(
        id=str(row["question_id"]),
        question=question_of(row),
        images=(),
        answer="passes its tests",
        category=str(row.get("difficulty") or "all"),
        grading=Grading(AnswerType.CODE, tests=unpacked_tests(row, place.where)),
    )


LIVECODEBENCH = Layout("livecodebench", _draft, marks=None)
