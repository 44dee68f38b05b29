"""What is printed while a study goes on."""

from io import StringIO

from rich.console import Console

from unit.study.builders import plan_of
from vergence.study.board import Board, standing_line
from vergence.study.processes import Standing

RUNS = plan_of({"plain": {}, "short": {"set": ["stage.grpo.steps=9"]}}).runs()


def test_the_line_counts_what_is_done_failed_and_left():
    line = standing_line(Standing(tuple(RUNS), done=3, failed=1, total=10))
    assert line == "done 3 of 10  failed 1  left 6  running plain, seed 0, short, seed 0"
    assert standing_line(Standing((), 2, 0, 2)) == "done 2 of 2  left 0  running nothing"


def test_where_nobody_watches_each_finished_run_is_a_line():
    out = StringIO()
    board = Board(Console(file=out, width=200), quiet=False)
    board(Standing((RUNS[0],), 0, 0, 2), None)
    board(Standing((RUNS[1],), 1, 0, 2), RUNS[0])
    board.end()
    (line,) = out.getvalue().splitlines()
    assert line.endswith("done 1 of 2  left 1  running short, seed 0  last: plain, seed 0")


def test_quiet_is_quiet():
    out = StringIO()
    board = Board(Console(file=out, force_terminal=True), quiet=True)
    board(Standing((), 1, 0, 1), RUNS[0])
    board.end()
    assert out.getvalue() == ""
