"""What a program is in a response, when outputs are equal, and which tests can be read."""

import json

import pytest

from vergence.errors import DataError
from vergence.grading.code_tests import CallTests, CheckTests, StdinTests, read_tests
from vergence.grading.program import read_completion, read_program, same_output, same_value


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("```python\nx = 1\n```", "x = 1\n"),
        ("first\n```python\nx = 1\n```\nbetter:\n```py\nx = 2\n```\ndone", "x = 2\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("<think>```python\nx = 0\n```</think>```python3\nx = 1\n```", "x = 1\n"),
        ("```python\nx = 1\n", "x = 1\n"),  # cut off behind a whole program
        ("```python\nx = 1\n```\nIt prints\n```\n1\n```", "x = 1\n"),
        ("```python\nx = 1\n```\nIt prints\n```text\n1\n```", "x = 1\n"),
        ("```\nprint(1)\n```\nIt prints\n```\n1\n```\nor\n```\n[1, -2]\n```", "print(1)\n"),
        ("```python\nprint(input())\n```\nTry it:\n```python\nprint(solve('1'))\n```", "print(input())\n"),
        ("```python\nx = 1\n```\n```python\n>>> x\n1\n```", "x = 1\n"),
        ("- so:\n\n  ```python\n  if x:\n      y = 1\n  ```\n", "if x:\n    y = 1\n"),
        ("1. ```python\n   if x:\n       y = 1\n   ```\n", "if x:\n    y = 1\n"),
        ("```python\n    x = 1\n```", "x = 1\n"),
        ("````python\n```\n````", "```\n"),
        ("~~~python\nx = 1\n~~~\nand `x`: ```python3.11\ny = 1\n```", "y = 1\n"),
        ("```python\ndef f():\n    # so\n        ```\n    ...\n```", "def f():\n    # so\n        ```\n    ...\n"),
        ("```python\nx = 1```\nmore", "x = 1\n"),
        ("```python\r\nx = 1\r\n```\r\n", "x = 1\r\n"),
        ("```output\n3\n```", None),
        ("x ~~~ y and `code`", None),
        ("```cpp\nint x;\n```\n", None),
        ("```python\nx = 1\n```\n```bash\nls\n```", "x = 1\n"),
        ("<answer>x = 1</answer>", "x = 1"),
        ("x = 1\nprint(x)", "x = 1\nprint(x)"),
        ("I do not know how to do it.", None),
        ("", None),
        ("<think>x = 1</think>", None),
    ],
)
def test_the_program_of_a_response(text: str, program: str | None) -> None:
    assert read_program(text) == program


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("```python\ndef add(a, b): ...\n```\nUsage:\n```python\nprint(add(1, 2))\n```", "def add(a, b): ...\n"),
        ("```python\ndef add(a): ...\n```\nbetter\n```python\ndef add(b): ...\n```", "def add(b): ...\n"),
        ("```\ndef add(a, b): ...\n```\n```python\nassert add(1, 2) == 3\n```", "def add(a, b): ...\n"),
        (
            "```python\nclass Solution:\n    def add(self): ...\n```\n```\n3\n```",
            "class Solution:\n    def add(self): ...\n",
        ),
        ("```python\ndef add(a): return a\n```\nfaster:\n```python\ndef add(a): retu", "def add(a): retu\n"),
        ("```python\ndef adding(a): ...\n```\n```python\nx = 1\n```", "x = 1\n"),
    ],
)
def test_the_block_that_defines_the_asked_function_is_the_program(text: str, program: str) -> None:
    assert read_program(text, "add") == program


PROMPT = 'import math\n\ndef half(n):\n    """Half of it."""\n'


def test_a_completion_goes_on_where_the_prompt_ends() -> None:
    assert read_completion("    return n / 2\n", PROMPT, "half") == PROMPT + "    return n / 2\n"


def test_a_whole_function_stands_behind_the_imports_of_the_prompt() -> None:
    found = read_completion("```python\ndef half(n):\n    return math.floor(n) / 2\n```", PROMPT, "half")
    assert found is not None
    names: dict[str, object] = {}
    exec(found, names)
    assert names["half"](3) == 1.5  # type: ignore[operator]


def test_what_the_prompt_holds_before_the_function_is_there() -> None:
    """HumanEval's `make_palindrome` calls a function that its prompt gives."""
    prompt = 'SIZE = 2\n\ndef double(n):\n    return SIZE * n\n\n\ndef half(n):\n    """Half of it."""\n'
    found = read_completion("```python\ndef half(n):\n    return double(n) / 4\n```\n```\n0.5\n```", prompt, "half")
    assert found is not None
    names: dict[str, object] = {}
    exec(found, names)
    assert names["half"](3) == 1.5  # type: ignore[operator]


@pytest.mark.parametrize(
    "text",
    [
        "It is simply one half of n.",
        "3",
        "",
        "print(half(3))",
        "```\n1.5\n```",
        "```python\nprint(half(3))\n```",
    ],
)
def test_prose_and_outputs_are_no_completion(text: str) -> None:
    assert read_completion(text, PROMPT, "half") is None


def test_a_completion_may_stand_in_a_block_with_an_example_behind_it() -> None:
    text = "```python\n    return n / 2\n```\nso\n```python\nprint(half(3))\n```"
    assert read_completion(text, PROMPT, "half") == PROMPT + "    return n / 2\n"


@pytest.mark.parametrize(
    ("found", "expected", "exactly", "nearly"),
    [
        ("3\n", "3", True, True),
        ("  3  \n\n", "3\n", True, True),
        ("1\n2\n", "1 \n 2", True, True),
        ("1 2", "1\n2", False, False),
        ("1.0 2", "1 2.00", True, True),
        ("1.0 x", "1 x", False, False),
        ("0.30000000000000004", "0.3", False, True),
        ("0.333333", "0.333333333333", False, True),
        ("0.3333", "0.333333333333", False, False),
        ("2000001.0", "2000000.0", False, True),  # 5e-7 of its size
        ("2000003.0", "2000000.0", False, False),
        ("1 0.1", "1 0.1000000001", False, True),
        ("50000000000000001", "50000000000000000", False, False),  # expected as a whole number
        ("50000000000000001.0", "50000000000000000", False, False),
        ("0.5 1", "0.5", False, False),
        ("inf", "1e400", False, False),
        ("1e2", "100", True, True),
        ("nan", "nan", True, True),
        ("nan 1", "nan 1.0", False, False),
        ("", "", True, True),
        ("", "0", False, False),
        ("yes", "YES", False, False),
    ],
)
def test_output_is_compared_by_lines_and_numbers(found: str, expected: str, exactly: bool, nearly: bool) -> None:
    assert (exactly, nearly) == (same_output(found, expected, 0.0), same_output(found, expected, 1e-6))


@pytest.mark.parametrize(
    ("found", "expected", "exactly", "nearly"),
    [
        ((1, 2), [1, 2], True, True),
        (1.0, 1, True, True),
        (True, 1, False, False),
        ("1", 1, False, False),
        (None, None, True, True),
        ([0.1, 0.2, 0.1 + 0.2], [0.1, 0.2, 0.3], False, True),
        ({"a": [0.1 + 0.2]}, {"a": [0.3]}, False, True),
        ({"b": 0.3}, {"a": 0.3}, False, False),
        ([0.3, 0.3], [0.3], False, False),
        (0.30001, 0.3, False, False),
        (10**16 + 1, 10**16, False, False),
        (3, 3.0000001, False, True),
        (3.0000001, 3, False, False),
        (float("nan"), 0.3, False, False),
        (10**400, 0.3, False, False),
        ("x", 0.3, False, False),
        (float("inf"), float("inf"), True, True),
    ],
)
def test_values_are_compared_as_json(found: object, expected: object, exactly: bool, nearly: bool) -> None:
    given = json.loads(json.dumps(found))
    assert (exactly, nearly) == (same_value(given, expected, 0.0), same_value(given, expected, 1e-6))


def test_three_kinds_of_tests_are_read() -> None:
    stdin = read_tests('{"kind": "stdin", "cases": [{"input": "1", "output": "2"}], "seconds": 2}')
    assert stdin == StdinTests(("1",), ("2",), 2.0, 1e-6)
    call = read_tests('{"kind": "call", "function": "f", "cases": [{"input": [1], "output": null}], "tolerance": 0}')
    assert isinstance(call, CallTests)
    assert (call.function, call.inputs, call.outputs, call.seconds, call.tolerance) == ("f", ([1],), (None,), 6.0, 0.0)
    check = read_tests('{"kind": "check", "function": "f", "prompt": "", "tests": "def check(c): pass"}')
    assert check == CheckTests("f", "", "def check(c): pass", 6.0)


@pytest.mark.parametrize(
    ("tests", "told"),
    [
        ("", "not JSON"),
        ("[]", "kind"),
        ('{"kind": "other"}', "kind"),
        ('{"kind": "stdin"}', "cases"),
        ('{"kind": "stdin", "cases": []}', "at least one"),
        ('{"kind": "stdin", "cases": [{"input": 1, "output": "1"}]}', "case 0"),
        ('{"kind": "stdin", "cases": [{"input": "1", "output": 1}]}', "must be text"),
        ('{"kind": "call", "cases": [{"input": [], "output": 1}]}', "function"),
        ('{"kind": "call", "function": "f", "cases": [{"input": [1]}]}', "case 0"),
        ('{"kind": "check", "function": "f", "prompt": "", "tests": " "}', "tests"),
        ('{"kind": "stdin", "cases": [{"input": "", "output": ""}], "seconds": 0}', "seconds"),
        ('{"kind": "stdin", "cases": [{"input": "", "output": ""}], "seconds": true}', "seconds"),
        ('{"kind": "stdin", "cases": [{"input": "", "output": ""}], "tolerance": -1}', "tolerance"),
        ('{"kind": "stdin", "cases": [{"input": "", "output": ""}], "tolerance": "small"}', "tolerance"),
    ],
)
def test_tests_that_can_not_be_read_say_why(tests: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_tests(tests)
