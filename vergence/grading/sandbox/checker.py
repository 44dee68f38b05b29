"""Inside a confinement, but outside the interpreter of the program that is judged: runs a problem's assertions.

The tests, what they expect and the verdict are here. The program answers calls through two pipes, with plain values,
and sees nothing else. Whatever the problem's own text defines, such as a function that the tests make use of, is taken
from there and not from the program.
"""

import ast
import builtins
import random
import sys
import sysconfig
import traceback
from collections.abc import Collection
from dataclasses import dataclass
from typing import IO, Any

from vergence.grading.sandbox.caller import OPERATIONS, Peer
from vergence.grading.sandbox.preface import PREFACE

OFFERED = frozenset(OPERATIONS) - {"__getattr__"}
"""What the program may do with an object that a test gives it: through an attribute it could come to the tests."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of the tests."""

    kind: str
    """ "" where they passed, "gone" where the program cannot be asked, "tests" if they cannot be run, an error."""
    reason: str


def checked(job: dict[str, Any], replies: IO[bytes], requests: IO[bytes], longest: int) -> Checked:
    """Run the tests of a job against the program behind the pipes; `longest`: bytes of one answer."""
    sys.path.append(sysconfig.get_path("purelib", vars={"base": sys.base_prefix}))  # as the program has it
    peer = Peer(replies, requests, OFFERED, longest)
    own, classes = own_names(job["prompt"], job["function"])
    random.seed(0)  # what came before changes no verdict
    try:
        tests = compile(job["tests"], "tests.py", "exec")
        unknown = names_asked_for(job["tests"], {*own, job["function"]})
    except (SyntaxError, ValueError) as error:
        return Checked("tests", f"{type(error).__name__}: {error}")
    peer.shared = {name: own[name] for name in classes}
    try:
        candidate, others = peer.ask(0, "__call__", (job["function"], sorted(classes), sorted(unknown)), {})
    except BaseException as error:
        return _outcome(peer, error, "")
    names = own | others | {job["function"]: candidate, "__name__": "tests"}
    try:
        exec(tests, names)
        check = names["check"]
    except BaseException as error:
        seen = _outcome(peer, error, job["tests"])
        return seen if others or peer.broken else Checked("tests", f"{seen.kind}: {seen.reason}")
    try:
        check(candidate)
    except BaseException as error:
        return _outcome(peer, error, job["tests"])
    return Checked("gone", peer.broken) if peer.broken else Checked("", "")


def own_names(prompt: str, function: str) -> tuple[dict[str, Any], set[str]]:
    """What the problem's text defines, the asked function aside; and which of it are classes.

    The text is the beginning of a program, and may end behind the head of a function.
    """
    names: dict[str, Any] = {"__name__": "tests"}
    exec(PREFACE, names)
    body: list[ast.stmt] = []
    for rest in ("", "\n    pass\n", "\n        pass\n"):
        try:
            body = ast.parse(prompt + rest).body
            break
        except (SyntaxError, ValueError):
            continue
    asked = {function, "Solution"}
    classes = set()
    for statement in body:
        if getattr(statement, "name", None) in asked:
            continue
        try:
            exec(compile(ast.Module([statement], []), "prompt.py", "exec"), names)
        except Exception:  # what cannot be had here is asked for in the program
            continue
        if isinstance(statement, ast.ClassDef):
            classes.add(statement.name)
    return names, classes


def names_asked_for(tests: str, known: Collection[str]) -> set[str]:
    """Names that tests use and that neither they nor anybody else here defines: the program's."""
    used, bound = set(), {*known, *dir(builtins)}
    for node in ast.walk(ast.parse(tests)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.Name(id=name) | ast.arg(arg=name) | ast.ExceptHandler(name=str(name)):
                bound.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.alias(name=name, asname=other):
                bound.add(other or name.split(".")[0])
    return used - bound


def _outcome(peer: Peer, error: BaseException, tests: str) -> Checked:
    if peer.broken:
        return Checked("gone", peer.broken)
    lines = [one.lineno for one in traceback.extract_tb(error.__traceback__) if one.filename == "tests.py"]
    text = next(iter(str(error).splitlines()), "")
    if lines and lines[-1] and (isinstance(error, AssertionError) or not text):
        text = f"{tests.splitlines()[lines[-1] - 1].strip()} {text}".strip()
    return Checked(type(error).__name__, text)
