"""What is printed commands nothing: text of data, models and file names reaches no terminal with control characters."""

import ast
import io
import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.live import Live
from rich.table import Table
from rich.text import Text

import vergence
from vergence.cli import main
from vergence.console import Terminal
from vergence.terminal import escaped, say

HOSTILE = "\x1b]0;pwned\x07\x1b[2J\x9b31m\x7f\b\rx\u202e[bold]\udfff"


def obeyed(text: str) -> list[str]:
    """Characters that a terminal may obey: controls and formats of direction, by Unicode's own classes."""
    turning = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    return [
        one
        for one in text
        if (unicodedata.category(one) in ("Cc", "Cs") and one not in "\n\t")
        or unicodedata.bidirectional(one) in turning
    ]


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=())))
def test_nothing_that_is_obeyed_is_left(text: str) -> None:
    shown = escaped(text)
    assert obeyed(shown) == []
    assert escaped(shown) == shown


@given(st.text(alphabet=st.characters(exclude_categories=("Cc", "Cf", "Cs"))))
def test_other_text_is_shown_as_it_is(text: str) -> None:
    assert text == escaped(text)


@pytest.mark.parametrize("sign", ["\x1b", "\x9b", "\u202e", "\udfff"])
def test_what_is_escaped_is_still_json(sign: str) -> None:
    assert sign == json.loads(escaped(json.dumps(sign, ensure_ascii=False)))


def test_tables_lines_and_live_lines_are_escaped() -> None:
    file = io.StringIO()
    console = Terminal(file=file, width=200, force_terminal=False)
    table = Table("column")
    table.add_row(HOSTILE)
    console.print(table)
    console.print(f"[/b] {HOSTILE}", soft_wrap=True)
    console.print(Text(HOSTILE))
    with Live(Text(HOSTILE), console=console, transient=False):
        pass
    assert obeyed(file.getvalue()) == []
    assert "[/b]" in file.getvalue(), "what looks like rich's own markup is text"
    assert file.getvalue().count("[bold]") >= 3, "a cell may be cut, for it was measured without its controls"


def test_what_is_said_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    say(HOSTILE)
    say(Path(HOSTILE), error=True)
    shown = capsys.readouterr()
    assert obeyed(shown.out + shown.err) == []


@pytest.mark.parametrize("colour", [True, False])
def test_what_a_model_says_in_a_chat_is_escaped(colour: bool, capsys: pytest.CaptureFixture[str]) -> None:
    from vergence.commands.chat import _write

    _write(HOSTILE, f"<think>{HOSTILE}", colour)
    assert obeyed(capsys.readouterr().out.removeprefix("\x1b[2m" if colour else "")) == []


def test_an_error_that_quotes_its_input_is_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "a\x1b[31m.toml")]) == 2
    assert main(["check", "digits", "--set", "data.type='\\u001b]0;pwned\\u0007'"]) == 2
    shown = capsys.readouterr()
    assert "u001b" in shown.err
    assert obeyed(shown.out + shown.err) == []


def test_nothing_is_printed_past_it() -> None:
    """Whoever prints uses `say` or `Terminal`; workers and programs in the sandbox speak to their parent alone."""
    allowed = {
        "terminal.py",
        "console.py",
        "files.py",
        "grading/worker.py",
        "grading/sandbox/inside.py",
        "commands/chat.py",
    }
    house = Path(vergence.__file__).parent
    found = set()
    for path in house.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called in ("print", "Console") or name in ("sys.stdout", "sys.stderr"):
                found.add(str(path.relative_to(house)))
    assert found <= allowed, found - allowed
