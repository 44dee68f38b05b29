"""What every stage is given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from vergence.data.problems import Problems, open_captions, open_problems
from vergence.data.source import Source
from vergence.model.policy import Policy, load_policy
from vergence.recipe.data import DataFile
from vergence.recipe.schema import Recipe
from vergence.reward.failures import FailureWatch
from vergence.reward.form import FORMS, Form
from vergence.reward.form_watch import FormWatch
from vergence.reward.hybrid import RULES, RuleReward
from vergence.run.directory import RunDirectory
from vergence.run.progress import Progress
from vergence.run.stage_run import StageRun
from vergence.stages.prompts import LeftOut
from vergence.stages.sources import source_of
from vergence.types import Caption, Grader, Problem


@dataclass(frozen=True, slots=True)
class DataFiles:
    """Where the four parts of a data set lie: files, folders or patterns."""

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
    grader: Grader
    left_out: LeftOut = field(default_factory=dict)
    """Rows of data files that are too long for the model."""

    def policy(self, directory: Path) -> Policy:
        """A checkpoint, on the recipe's device and computing in its number format."""
        return load_policy(directory, self.device, self.recipe.compute.dtype)

    def source(self, path: Path, what: DataFile) -> Source:
        """A data set that the recipe names, as it says that it is read."""
        source = source_of(self.recipe.data, path, what)
        return replace(source, left_out=self.left_out.get((what, path), frozenset()))

    def train(self, run: StageRun) -> Problems:
        """The training problems, in an order of the stage's own, so that stages do not share their first prompts."""
        return Problems(open_problems(self.source(self.data.train, "train")), run.seed("problems"))

    def captions(self) -> Sequence[Caption]:
        """The captions for alignment."""
        return open_captions(self.source(self.data.captions, "captions"))

    def tuning(self) -> Sequence[Problem]:
        """The problems that settings and stopping may look at."""
        return open_problems(self.source(self.data.tuning, "tuning"))

    @property
    def form(self) -> Form:
        """The form that responses are asked for."""
        return FORMS[self.recipe.grading.form]

    def rules(self) -> RuleReward:
        """Accuracy and format, for whoever measures."""
        return RuleReward(RULES, self.grader, form=self.form)

    def watch(self) -> FailureWatch:
        """What looks at the failures of a stage's reward."""
        return FailureWatch(self.recipe.grading.most_failed, self.progress.say)

    def form_watch(self) -> FormWatch:
        """What looks at the form of a stage's first responses."""
        return FormWatch(self.form, self.progress.say)

    def test(self) -> Sequence[Problem]:
        """The problems for published numbers: the evaluate stage's alone."""
        return open_problems(self.source(self.data.test, "test"))


Models = Mapping[str, Path]
"""Model name to the directory that holds it."""
