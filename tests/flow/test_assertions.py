"""Tests of the kind `check`: programs that only look right are wrong, and what honest ones give and take travels."""

import json
from typing import Any

import pytest

from vergence.grading.code import judge_code
from vergence.grading.sandbox.run import refusal
from vergence.types import AnswerType, Grade, Grading, Problem, Verdict

pytestmark = pytest.mark.skipif(bool(refusal()), reason=f"programs can not be confined here: {refusal()}")


def judged(program: str, tests: str, *, prompt: str = "", function: str = "f") -> Grade:
    body = "".join(f"    {line}\n" for line in tests.splitlines())
    given = {"kind": "check", "function": function, "prompt": prompt, "tests": f"def check(candidate):\n{body}"}
    grading = Grading(AnswerType.CODE, tests=json.dumps(given | {"seconds": 10}))
    asked = Problem("p", "?", (), "-", "all", frozenset(), "", grading)
    return judge_code(asked, f"```python\n{program}\n```")


POLYNOMIAL = '''import math


def poly(xs, x):
    """The polynomial with coefficients xs at x."""
    return sum(c * math.pow(x, i) for i, c in enumerate(xs))


def f(xs):
    """A zero of it."""
'''
SQUARES = "assert candidate(3) == 9\nassert candidate(-2) == 4\nassert candidate(0) == 0"
HALVES = "assert abs(candidate(3) - 1.5) < 1e-6\nassert round(candidate(4), 2) == 2.0"
SORTED = "values = [3, 1, 2]\nassert candidate(values) == sorted(values)\nassert list(candidate([2, 1])) == [1, 2]"
ZERO = "for xs in ([1, 2], [-6, 11, -6, 1]):\n    assert math.fabs(poly(xs, candidate(list(xs)))) < 1e-4"
ACTED = "class Same(*{base}):\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
LISTS = "assert candidate([2, 1]) == [1, 2]"
WITH_MATH = "assert math.fabs(candidate(3) - 1.5) < 1e-6"
FRAMES = """
import re, sys
def f(n):
    frame, seen = sys._getframe(), ''
    while frame:
        seen += str([*frame.f_locals.values(), frame.f_globals, frame.f_code.co_consts])
        frame = frame.f_back
    found = re.search(rf"candidate.{n}. == (-?[0-9]+)", seen)
    return int(found[1]) if found else None
"""
GARBAGE = """
import gc
def f(n):
    for held in gc.get_objects():
        check = held.get('check') if isinstance(held, dict) else None
        if hasattr(check, '__code__'):
            wanted = [one for one in check.__code__.co_consts if isinstance(one, int)]
            return {3: 9, -2: 4, 0: 0}[n] if 9 in wanted else None
"""
VERDICT = """
import os, sys
frame = sys._getframe()
while frame:
    for value in [*frame.f_locals.values()]:
        for text in [value['proof']] if isinstance(value, dict) and 'proof' in value else []:
            for n in range(3, 64):
                try:
                    os.write(n, str(text).encode())
                except OSError:
                    pass
            os._exit(0)
    frame = frame.f_back
def f(n): return None
"""
CHEATS = {
    "equal to everything": (ACTED.format(base="()") + "def f(n): return Same()", SQUARES),
    "a number equal to everything": (ACTED.format(base="(int,)") + "def f(n): return Same(7)", SQUARES),
    "a text equal to everything": (
        ACTED.format(base="(str,)") + "def f(n): return Same('x')",
        "assert candidate(1) == 'a'\nassert candidate(2) == 'bb'",
    ),
    "a list equal to everything": (ACTED.format(base="(list,)") + "def f(n): return Same()", LISTS),
    "near to everything": (
        "class Near(float):\n    def __sub__(self, other): return 0.0\n    def __rsub__(self, other): return 0.0\n"
        "    def __round__(self, n=None): return Any()\n"
        "class Any:\n    def __eq__(self, other): return True\n"
        "def f(n): return Near(1)",
        HALVES,
    ),
    "built-in functions changed": (
        "import builtins\nbuiltins.abs = lambda x: 0\nbuiltins.round = lambda *a: 2.0\nbuiltins.sorted = lambda v: []\n"
        "def f(n): return n",
        HALVES,
    ),
    "functions of its own names": ("def abs(x): return 0\ndef round(*a): return 2.0\ndef f(n): return n", HALVES),
    "assertions taken out of the interpreter": (
        "import builtins\nclass Never(BaseException): pass\nbuiltins.AssertionError = Never\nAssertionError = Never\n"
        "import sys\nsys.excepthook = lambda *a: None\ndef f(n): return 0",
        SQUARES,
    ),
    "check replaced": (
        "import builtins\nreal = exec\n"
        "def fake(code, names=None, *rest):\n"
        "    real(code, names, *rest)\n    if names is not None: names['check'] = lambda candidate: None\n"
        "builtins.exec = fake\ndef f(n): return 0",
        SQUARES,
    ),
    "the verdict taken from its frames": (VERDICT, SQUARES),
    "the tests read from its frames": (FRAMES, SQUARES),
    "the tests read from what is not collected yet": (GARBAGE, SQUARES),
    "the tests read from files and processes": (
        "import glob, re\ntext = ''\n"
        "for path in glob.glob('/scratch/*') + glob.glob('/proc/*/cmdline') + glob.glob('/proc/*/environ'):\n"
        "    try: text += open(path, errors='replace').read()\n    except OSError: pass\n"
        "def f(n):\n    found = re.search(rf'candidate.{n}. == (-?[0-9]+)', text)\n"
        "    return int(found[1]) if found else 0",
        SQUARES,
    ),
    "the end of the process": ("import os\ndef f(n): os._exit(0)", SQUARES),
    "an exit": ("import sys\ndef f(n): sys.exit(0)", SQUARES),
    "an exit when it is loaded": ("import sys\nsys.exit(0)\ndef f(n): return 0", SQUARES),
    "an end with something registered": (
        "import atexit, os\natexit.register(lambda: os._exit(0))\ndef f(n): raise SystemExit(0)",
        SQUARES,
    ),
    "its judge killed": ("import os\ndef f(n): os.kill(os.getppid(), 9)", SQUARES),
    "everybody killed": ("import os\ndef f(n): os.kill(-1, 9)", SQUARES),
    "a result written to every descriptor": (
        "import os, json\nfor n in range(3, 64):\n"
        '    for text in (\'{"kind": "", "reason": ""}\', \'{"value": ["kept", 0]}\\n{"value": 9}\\n\'):\n'
        "        try: os.write(n, text.encode())\n        except OSError: pass\n"
        "def f(n): os._exit(0)",
        SQUARES,
    ),
    "an argument emptied": (
        "def f(v):\n    v.clear()\n    return []",
        "values = [3, 1, 2]\nassert candidate(values) == sorted(values)",
    ),
    "a function of the problem redefined": ("def poly(xs, x): return 0.0\ndef f(xs): return 1.0", ZERO),
    "a module of the tests changed": ("import math\nmath.fabs = lambda x: 0.0\ndef f(n): return n", WITH_MATH),
    "a module of the tests replaced": (
        "class math:\n    fabs = staticmethod(lambda x: 0.0)\ndef f(n): return n",
        WITH_MATH,
    ),
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_program_that_cheats_is_wrong(name: str) -> None:
    program, tests = CHEATS[name]
    grade = judged(program, tests, prompt=POLYNOMIAL if "math" in tests else "")
    assert grade.verdict is Verdict.WRONG, (name, grade.reason)


HONEST = {
    "squares": ("def f(n): return n * n", SQUARES),
    "halves": ("def f(n): return n / 2", HALVES),
    "sorted": ("def f(v): return sorted(v)", SORTED),
    "zeros": ("def f(xs): return -0.5 if len(xs) == 2 else 1.0", ZERO),
    "what is in place": (
        "def f(rows, n=0):\n    rows.reverse()\n    rows[0].append(n)",
        "rows = [[1], [2]]\nassert candidate(rows, n=5) is None\nassert rows == [[2, 5], [1]]",
    ),
    "kinds of numbers": (
        "from fractions import Fraction\nfrom decimal import Decimal\n"
        "def f(k): return [True, 2 ** 5000, 1e300, Fraction(1, 3), Decimal('0.1'), 1j, float('inf'), None][k]",
        "from fractions import Fraction\nfrom decimal import Decimal\n"
        "want = [True, 2 ** 5000, 1e300, Fraction(1, 3), Decimal('0.1'), 1j, float('inf'), None]\n"
        "assert [candidate(k) for k in range(8)] == want\n"
        "assert all(type(candidate(k)) is type(want[k]) for k in range(8))",
    ),
    "kinds of collections": (
        "from collections import *\nimport datetime\nP = namedtuple('P', 'a b')\n"
        "def f(k): return [P(1, [2]), Counter('aab'), defaultdict(list, {(1, 2): {3}}), deque([1], 4), range(3),\n"
        "    b'x', bytearray(b'y'), frozenset({1}), 'ä\\ud800', datetime.date(2024, 2, 29),\n"
        "    datetime.datetime(2024, 1, 1), datetime.timedelta(1, 2)][k]",
        "import datetime\nfrom collections import deque\n"
        "want = [(1, [2]), {'a': 2, 'b': 1}, {(1, 2): {3}}, deque([1], 4), range(3), b'x', bytearray(b'y'),\n"
        "    frozenset({1}), 'ä\\ud800', datetime.date(2024, 2, 29), datetime.datetime(2024, 1, 1),\n"
        "    datetime.timedelta(1, 2)]\n"
        "assert [candidate(k) for k in range(12)] == want\nassert candidate(9) != want[10]",
    ),
    "what is made one by one": (
        "def f(n):\n    while True:\n        yield n\n        n += 1",
        "found = candidate(3)\nassert [next(found) for _ in range(3)] == [3, 4, 5]\n"
        "assert [n for n, _ in zip(candidate(7), 'ab')] == [7, 8]",
    ),
    "errors": (
        "class Mine(ValueError): pass\ndef f(n):\n    if n < 0: raise Mine('negative')\n    return {}[n]",
        "try:\n    candidate(-1)\nexcept ValueError as error:\n    assert str(error) == 'negative'\n"
        "else:\n    assert False\n"
        "try:\n    candidate(1)\nexcept KeyError:\n    return\nassert False",
    ),
    "functions that are given": (
        "def f(g, items): return [g(one) for one in items if callable(g)] + list(items)",
        "assert candidate(lambda n: n + 1, iter([1])) == [2]\nassert candidate(str, (1,)) == ['1', 1]",
    ),
    "functions that are returned": (
        "def f(n): return lambda m: n + m",
        "assert candidate(2)(3) == 5\nassert candidate(2) != candidate(2)",
    ),
    "functions of modules": ("def f(n): return n / 2", WITH_MATH),
    "objects of its own": (
        "class Pile:\n    def __init__(self): self.held = []\n    def push(self, one):\n        self.held.append(one)\n"
        "        return self\n    def __len__(self): return len(self.held)\n"
        "    def __getitem__(self, k): return self.held[k]\n"
        "def f(): return Pile()\n",
        "pile = candidate()\nassert len(pile.push(1).push('b')) == 2\nassert pile.held == [1, 'b'] and pile[1] == 'b'\n"
        "assert Pile().push(3).held == [3] and 'b' in pile.held and pile",
    ),
    "words that it prints": ("print('loaded')\ndef f(n):\n    print(n)\n    return 0", "assert candidate(0) == 0"),
    "what is deep": (
        "def f(n): return 0 if n == 0 else 1 + f(n - 1)",
        "assert candidate(5000) == 5000",
    ),
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_program_is_right(name: str) -> None:
    program, tests = HONEST[name]
    grade = judged(program, tests, prompt=POLYNOMIAL if "math" in tests else "")
    assert grade.verdict is Verdict.CORRECT, (name, grade.reason)


LINKED = '''from dataclasses import dataclass
from enum import Enum


class Node:
    def __init__(self, value, next=None):
        self.value, self.next = value, next


@dataclass(frozen=True)
class Point:
    x: int
    __slots__ = ("x",)


class Colour(Enum):
    RED = 1


def f(head, point, colour):
    """Reverse a list."""
'''
REVERSE = (
    "def f(head, point, colour):\n    assert colour is Colour.RED and point == Point(4)\n    last = None\n"
    "    while head:\n        head.next, last, head = last, head, head.next\n    return last, Point(5), Colour(1)"
)
LOOKED_AT = (
    "head, point, colour = candidate(Node(1, Node(2, Node(3))), Point(4), Colour.RED)\nvalues = []\n"
    "while head:\n    values.append(head.value)\n    head = head.next\n"
    "assert values == [3, 2, 1]\nassert point == Point(5) and isinstance(point, Point) and colour is Colour.RED"
)


def test_objects_of_classes_that_the_problem_gives_travel_as_what_they_hold() -> None:
    assert judged(REVERSE, LOOKED_AT, prompt=LINKED).verdict is Verdict.CORRECT
    same = REVERSE.replace("    last = None", "    Point.__eq__ = lambda *a: True\n    last = None")
    same = same.replace("Point(5)", "Point(6)")
    grade = judged(same, LOOKED_AT, prompt=LINKED)
    assert (grade.verdict, "AssertionError" in grade.reason) == (Verdict.WRONG, True), grade.reason


def test_rings_of_such_objects_travel_too() -> None:
    ring = "def f(head, point, colour):\n    head.next.next = head\n    return head"
    asks = "head = candidate(Node(1, Node(2)), 0, 0)\nassert head.next.next is head and head.next.value == 2"
    assert judged(ring, asks, prompt=LINKED).verdict is Verdict.CORRECT


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("def f(n): return n", "test 1 of 1: AssertionError: assert candidate(3) == 9"),
        ("def f(n): return [][n]", "test 1 of 1: IndexError: list index out of range"),
        ("def f(n) return n", "test 1 of 1: SyntaxError"),
        ("if 0:\n    def f(n): return n", "test 1 of 1: NameError: no function f"),
        ("import os\ndef f(n): os._exit(0)", "test 1 of 1: exit code 0"),
        ("def f(n):\n    import ctypes\n    ctypes.string_at(0)", "test 1 of 1: signal 11"),
        (
            "def f(n): return [0] * 10 ** 6",
            "test 1 of 1: the program cannot be asked: it gave more than 1,000,000 bytes",
        ),
    ],
)
def test_what_went_wrong_is_told(program: str, told: str) -> None:
    assert told in judged(program, SQUARES).reason


def test_time_is_limited_on_both_sides() -> None:
    given = {"kind": "check", "function": "f", "prompt": "", "seconds": 1}
    for program, tests in (
        ("def f(n):\n    while True: pass", "candidate(1)"),
        ("def f(n):\n    import time\n    time.sleep(60)", "candidate(1)"),
        ("def f(g):\n    while True: g()", "candidate(lambda: 0)"),
        ("def f(n): return n", "while candidate(1): pass"),
    ):
        text = json.dumps(given | {"tests": f"def check(candidate):\n    {tests}"})
        asked = Problem("p", "?", (), "-", "all", frozenset(), "", Grading(AnswerType.CODE, tests=text))
        grade = judge_code(asked, f"```python\n{program}\n```")
        assert (grade.verdict, grade.reason) == (Verdict.WRONG, "test 1 of 1: out of time"), (program, grade.reason)


@pytest.mark.parametrize("tests", ["def check(c:", "import nowhere_at_all\ndef check(c): pass", "def other(c): pass"])
def test_tests_that_cannot_be_run_are_a_failure_of_ours(tests: str) -> None:
    given: dict[str, Any] = {"kind": "check", "function": "f", "prompt": "", "tests": tests}
    asked = Problem("p", "?", (), "-", "all", frozenset(), "", Grading(AnswerType.CODE, tests=json.dumps(given)))
    grade = judge_code(asked, "```python\ndef f(n): return n\n```")
    assert (grade.verdict, "the tests cannot be run" in grade.reason) == (Verdict.FAILED, True), grade.reason
