"""The labelled cases that we wrote, and the examples of docs/graders.md.

A label says what is right by arithmetic and by what the words mean, never what a grader said. `cases.jsonl` is about
everything, the others about what their names say; the note of a case is its kind.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import vergence
from vergence.grading.limits import Limits
from vergence.grading.load import grader_for
from vergence.grading.pool import PooledGrader
from vergence.grading.rows import problem_of_row, read_rows
from vergence.types import Verdict

CASES = sorted(Path(__file__).parent.glob("cases*.jsonl"))
KINDS = {"cases_measures", "cases_places", "cases_languages"}
PAGE = Path(vergence.__file__).parents[1] / "docs" / "graders.md"


@pytest.fixture(scope="module")
def grader() -> Iterator[PooledGrader]:
    with grader_for(Limits(workers=1)) as opened:
        yield opened


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_hard_cases_come_out_as_labelled(grader: PooledGrader, path: Path) -> None:
    """Every one but those whose note says that it is a known miss; those are never right by mistake."""
    rows = list(read_rows(path))
    grades = grader.grade([(row.problem, row.prediction) for row in rows])
    known = [row.number for row in rows if row.content["note"].startswith("known miss")]
    missed = [
        row.number
        for row, grade in zip(rows, grades, strict=True)
        if grade.verdict is not (Verdict.CORRECT if row.label else Verdict.WRONG)
    ]
    assert known == missed
    assert all(rows[number - 1].label for number in known)


def test_each_kind_of_case_has_many_of_both_labels() -> None:
    """No kind can be passed by a grader that always says the same."""
    assert 2900 <= sum(len(list(read_rows(path))) for path in CASES)
    kinds = Counter((row.content["note"], row.label) for path in CASES if path.stem in KINDS for row in read_rows(path))
    assert len(kinds) == 28
    assert [] == [kind for kind, count in kinds.items() if count < 25]


def examples() -> list[tuple[str, str, str, str]]:
    """(type and settings as JSON, right answer, response, verdict): every table row of the page that has the four."""
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("| `") and len(cells) == 4 and cells[3] in set(Verdict):
            found.append((cells[0].strip("`"), cells[1].strip("`"), cells[2].strip("`"), cells[3]))
    return found


def test_the_page_says_what_the_graders_do(grader: PooledGrader) -> None:
    rows = examples()
    assert len(rows) >= 60
    pairs = []
    for settings, answer, response, _ in rows:
        kind, _, more = settings.partition(" ")
        content = {"type": kind, "answer": answer} | json.loads(more or "{}")
        pairs.append((problem_of_row(content, "page"), response))
    grades = grader.grade(pairs)
    expected = [(settings, answer, response, verdict) for settings, answer, response, verdict in rows]
    assert expected == [(*row[:3], grade.verdict) for row, grade in zip(rows, grades, strict=True)]
