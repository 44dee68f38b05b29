"""The grader of code: a program is right if it passes every test, run where it can do no harm.

Tests are those of LiveCodeBench (programs that read and print, functions) and HumanEval (assertions). What a right
result would be stays outside the confinement for the first two. Assertions run inside of it, in another process than
the program, which answers their calls with plain values.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from vergence.errors import DataError
from vergence.grading.code_tests import CallTests, CheckTests, CodeTests, StdinTests, read_tests
from vergence.grading.program import read_completion, read_program, same_output, same_value
from vergence.grading.sandbox.limits import DEFAULT_LIMITS, SandboxLimits
from vergence.grading.sandbox.preface import PREFACE
from vergence.grading.sandbox.run import confined, refusal
from vergence.types import Grade, Problem, Verdict

MAX_PROGRAM = 200_000
"""Characters."""
_REASON = 200
_ENDS = {"time": "out of time", "output": "too much output", "gone": "the program cannot be asked"}
"""How a case may end, in words; all others speak for themselves."""


def tests_fault(tests: str) -> str:
    """What is wrong with a problem's tests; "" if nothing is."""
    try:
        read_tests(tests)
    except DataError as error:
        return str(error)
    return ""


def judge_code(problem: Problem, text: str, limits: SandboxLimits = DEFAULT_LIMITS) -> Grade:
    """Run the program of a response against the problem's tests, in order, up to the first that it does not pass.

    FAILED where tests can not be read or the system does not let us confine programs: it is then not run at all.
    """
    try:
        tests = read_tests(problem.grading.tests)
    except DataError as error:
        return Grade(Verdict.FAILED, None, str(error))
    source = _source(tests, text)
    if source is None:
        return Grade(Verdict.WRONG, None, "no program found")
    if len(source) > MAX_PROGRAM:
        return Grade(Verdict.WRONG, None, f"a program of {len(source):,} characters, the limit is {MAX_PROGRAM:,}")
    refused = refusal()
    if refused:
        return Grade(Verdict.FAILED, source, f"programs can not be confined here: {refused}")
    bounds = replace(limits, case_seconds=tests.seconds)
    events = confined(_job(tests, source), bounds)
    try:
        return _judged(tests, source, events)
    finally:
        events.close()


def _source(tests: CodeTests, text: str) -> str | None:
    if isinstance(tests, CheckTests):
        return read_completion(text, tests.prompt, tests.function)
    return read_program(text, tests.function if isinstance(tests, CallTests) else "")


def _job(tests: CodeTests, source: str) -> dict[str, Any]:
    match tests:
        case StdinTests():
            return {"kind": "stdin", "preface": PREFACE, "source": source, "inputs": list(tests.inputs)}
        case CallTests():
            inputs = [json.dumps({"function": tests.function, "arguments": given}) for given in tests.inputs]
            return {"kind": "call", "preface": PREFACE, "source": source, "inputs": inputs}
        case CheckTests():
            given = {"function": tests.function, "prompt": tests.prompt, "tests": tests.tests}
            return {"kind": "check", "preface": "", "source": source} | given


def _judged(tests: CodeTests, source: str, events: Iterator[dict[str, Any]]) -> Grade:
    asked = 1 if isinstance(tests, CheckTests) else len(tests.inputs)
    passed = 0
    for event in events:
        match event["event"]:
            case "case" if event["ended"] != "done":
                return _wrong(source, passed, asked, _failure(event))
            case "case" if not _right(tests, passed, event["output"]):
                return _wrong(source, passed, asked, f"gave {event['output'].strip()[:80]!r}")
            case "case":
                passed += 1
            case "limit" | "attacked":
                return _wrong(source, passed, asked, str(event["reason"]))
            case "broken" if passed:  # nothing but what it left behind can have done that
                return _wrong(source, passed, asked, f"it broke the process that judges it: {event['reason']}")
            case "tests":
                return Grade(Verdict.FAILED, source, f"the tests cannot be run: {event['reason']}"[:_REASON])
            case "refused" | "broken":
                return Grade(Verdict.FAILED, source, f"confinement failed: {event['reason']}"[:_REASON])
        if passed == asked:
            return Grade(Verdict.CORRECT, source, f"passed {asked} of {asked} tests")
    return Grade(Verdict.FAILED, source, "the confinement ended without a result")


def _right(tests: CodeTests, place: int, output: str) -> bool:
    match tests:
        case StdinTests():
            return same_output(output, tests.outputs[place], tests.tolerance)
        case CallTests():
            try:
                return same_value(json.loads(output), tests.outputs[place], tests.tolerance)
            except (ValueError, RecursionError):
                return False
        case CheckTests():
            return True  # the assertions have run to their end


def _failure(event: dict[str, Any]) -> str:
    last = event["errors"].strip().splitlines()[-1:]
    what = _ENDS.get(event["ended"], event["ended"])
    return f"{what}: {last[0]}" if last else str(what)


def _wrong(source: str, passed: int, asked: int, why: str) -> Grade:
    return Grade(Verdict.WRONG, source, f"test {passed + 1} of {asked}: {why}"[:_REASON])
