"""What every test stands on: one thread, no spinning, a cache of its own, and property tests that repeat themselves.

`OMP_NUM_THREADS=2` gives every test two threads, those of the command line included (`make test-elsewhere`).
"""

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # all before torch is imported: two cores are shared with everything else
os.environ["GOMP_SPINCOUNT"] = "0"
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import measured
import pytest
from hypothesis import settings

settings.register_profile("repeatable", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    """One page of the documents is made of what tests measure."""
    parser.addoption("--write-models", action="store_true", help="write the table of docs/models.md (whole matrix)")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Only of a matrix that holds, and only once all workers are done."""
    if session.config.getoption("--write-models") and exitstatus == 0 and not hasattr(session.config, "workerinput"):
        folder = session.config._tmp_path_factory.getbasetemp()
        measured.write(folder / measured.FOLDER)


@pytest.fixture(scope="session")
def folder_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all its workers together."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_session(folder_of_the_session: Path) -> None:
    """Trained parents are shared by the tests of one session, all its workers included, and by nothing else."""
    os.environ["VERGENCE_CACHE"] = str(folder_of_the_session / "cache")


@pytest.fixture
def cell(request: pytest.FixtureRequest, folder_of_the_session: Path) -> measured.Cell:
    """Where a check of the model matrix notes what it found."""
    check = request.function.__name__.removeprefix("test_")
    return measured.Cell(folder_of_the_session / measured.FOLDER, check, request.node.callspec.params["name"])
