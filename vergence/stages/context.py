"""What every stage is given."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from vergence.data.problems import Problems, read_captions, read_problems
from vergence.recipe.schema import Recipe
from vergence.run.directory import RunDirectory
from vergence.run.progress import Progress
from vergence.run.stage_run import StageRun
from vergence.types import Caption, Problem


@dataclass(frozen=True, slots=True)
class DataFiles:
    """The four files of a data set."""

    train: Path
    captions: Path
    tuning: Path
    test: Path


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What every stage of a run is given."""

    recipe: Recipe
    directory: RunDirectory
    data: DataFiles
    device: torch.device
    progress: Progress

    def train(self, run: StageRun) -> Problems:
        """The training problems, in an order of the stage's own, so that stages do not share their first prompts."""
        return Problems(tuple(read_problems(self.data.train, decode=False)), run.seed("problems"))

    def captions(self) -> list[Caption]:
        """The captions for alignment."""
        return read_captions(self.data.captions)

    def tuning(self) -> list[Problem]:
        """The problems that settings and stopping may look at."""
        return read_problems(self.data.tuning, decode=False)

    def test(self) -> list[Problem]:
        """The problems for published numbers: the evaluate stage's alone."""
        return read_problems(self.data.test, decode=False)


Models = Mapping[str, Path]
"""Model name to the directory that holds it."""
