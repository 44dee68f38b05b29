"""`vergence doctor`."""

import json
from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from vergence.commands.quiet import quieten_libraries
from vergence.console import Terminal
from vergence.errors import RunError
from vergence.planning.environment import Finding, examine
from vergence.terminal import say

_SIGNS = {
    "ok": Text("ok", style="green"),
    "absent": Text("-"),
    "warning": Text("!", style="yellow"),
    "missing": Text("MISSING", style="red"),
}


def doctor_command(*, as_json: bool) -> None:
    """Print what is there. Raises RunError (exit code 1) if something is missing that everything needs."""
    quieten_libraries()
    findings = examine()
    if as_json:
        say(json.dumps([asdict(one) for one in findings], indent=2))
    else:
        Terminal().print(findings_table(findings), highlight=False)
    missing = [one for one in findings if one.state == "missing"]
    if missing:
        raise RunError(f"{len(missing)} needed things are missing: {'; '.join(one.advice for one in missing)}")


def findings_table(findings: list[Finding]) -> Table:
    """One line each; advice below what it is about."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(3):
        table.add_column()
    for one in findings:
        table.add_row(_SIGNS[one.state], one.what, one.found)
        if one.advice:
            table.add_row("", "", f"-> {one.advice}", style="bold")
    return table
