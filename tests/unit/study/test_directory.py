"""Whose a study directory is, and what may change between two sessions."""

import re
from pathlib import Path

import pytest

from unit.study.builders import finish, plan_of
from vergence.errors import DirectoryError
from vergence.study.begin import begin_run
from vergence.study.directory import StudyDirectory, check_directory, write_study

PLAN = plan_of({"plain": {}, "short": {"set": ["stage.grpo.steps=9"]}})


@pytest.fixture
def begun(tmp_path: Path) -> StudyDirectory:
    """A study of which one run has begun."""
    directory = StudyDirectory(tmp_path)
    write_study(directory, PLAN.study)
    job = PLAN.runs()[1]
    begin_run(tmp_path / job.key, job.recipe, None)
    return directory


def test_a_study_may_begin_in_a_directory_that_is_new_or_empty(tmp_path: Path):
    check_directory(StudyDirectory(tmp_path / "new"), PLAN)
    (tmp_path / ".lock").write_text("")
    check_directory(StudyDirectory(tmp_path), PLAN)
    assert not (tmp_path / "new").exists()


def test_it_may_continue_and_grow(begun: StudyDirectory):
    check_directory(begun, PLAN)
    grown = plan_of(
        {"plain": {}, "short": {"set": ["stage.grpo.steps=9"]}, "new": {"without": ["mpo"]}},
        seeds=(0, 1),
        reference="plain",
        table={"columns": ["grpo:loss"]},
    )
    check_directory(begun, grown)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (
            plan_of({"plain": {}, "short": {"set": ["stage.grpo.steps=8"]}}),
            "holds another study (short, seed 0: stage.5.steps = 9 there, 8 here); choose another --out, "
            "or repeat its settings",
        ),
        (
            plan_of({"plain": {}}, name="other"),
            'holds the study "small", this is "other"; choose another --out',
        ),
    ],
    ids=["setting", "name"],
)
def test_another_study_is_refused(begun: StudyDirectory, plan, message: str):
    before = sorted(begun.path.rglob("*"))
    with pytest.raises(DirectoryError, match=f"^{re.escape(f'{begun.path}: {message}')}$"):
        check_directory(begun, plan)
    assert sorted(begun.path.rglob("*")) == before


def test_other_things_are_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DirectoryError, match="is a file; give a directory with --out"):
        check_directory(StudyDirectory(tmp_path / "file"), PLAN)
    with pytest.raises(DirectoryError, match="not empty and not a study directory"):
        check_directory(StudyDirectory(tmp_path), PLAN)


def test_a_run_is_done_when_it_is_summed_up_and_reported(begun: StudyDirectory):
    plain, short = PLAN.runs()
    assert (begun.begun(plain), begun.begun(short), begun.done(short)) == (False, True, False)
    finish(begun.path / short.key)
    assert begun.done(short)
    (begun.path / short.key / "report.html").unlink()
    assert not begun.done(short)
    (begun.path / short.key / "report.html").write_text("")
    (begun.path / short.key / "summary.json").write_text('{"complete": false}')
    assert not begun.done(short)
