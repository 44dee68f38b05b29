"""What every test stands on: one thread, no spinning, a cache of its own, and property tests that repeat themselves."""

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # both before torch is imported: two cores are shared with everything else
os.environ["GOMP_SPINCOUNT"] = "0"

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Trained parents are shared by the tests of one session, all its workers included, and by nothing else."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    os.environ["VERGENCE_CACHE"] = str(folder / "cache")
