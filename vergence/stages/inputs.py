"""The files that decide what a run computes, each by its key in the recipe: data, models, pairs, rewards."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import final

from vergence.data.preferences import AlsoPair
from vergence.data.problems import Also
from vergence.data.source import Source
from vergence.recipe.data import DataFile, DigitsData, FileData
from vergence.recipe.grpo import GrpoStage
from vergence.recipe.mpo import MpoStage
from vergence.recipe.reward_model import LoadRewardModelStage, RewardModelStage
from vergence.recipe.schema import Recipe
from vergence.recipe.stages import AssembleStage, LoadStage
from vergence.run.digests import files_below
from vergence.stages.reward_model.elsewhere import named_source
from vergence.stages.sources import source_of
from vergence.types import ImageRef, Problem

Files = dict[str, Path]
"""Name, relative to what the recipe names -> where the file lies."""


def input_files(recipe: Recipe) -> dict[str, Files]:
    """Every input of a recipe but pictures. Raises DataError if a data set cannot be opened."""
    found = {}
    if isinstance(recipe.data, FileData):
        for what, path in data_paths(recipe.data).items():
            found[f"data.{what}"] = data_files(source_of(recipe.data, path, what))
    for stage in recipe.stage:
        named: dict[str, Files] = {}
        match stage:
            case LoadStage():
                named = {"path": model_files(stage.path)}
            case LoadRewardModelStage() if stage.path is not None:
                named = {"path": model_files(Path(named_source(stage).place))}
            case AssembleStage():
                parts = {"vision": stage.vision, "language": stage.language, "adapter": stage.adapter}
                named = {key: model_files(path) for key, path in parts.items() if path is not None}
            case RewardModelStage():
                pairs = {"pairs_file": stage.pairs_file, "held_out_file": stage.held_out_file}
                named = {key: pair_files(recipe, path) for key, path in pairs.items() if path is not None}
            case MpoStage() if stage.pairs.file is not None:
                named = {"pairs.file": pair_files(recipe, stage.pairs.file)}
            case GrpoStage():
                if stage.buffer.warm is not None:
                    named["buffer.warm"] = {stage.buffer.warm.name: stage.buffer.warm}
                for one in stage.reward.functions:
                    module = one.folder.joinpath(*one.function.partition(":")[0].split(".")).with_suffix(".py")
                    if module.is_file():  # else it is on the Python path, like a package
                        named[f"reward.functions.{one.name}"] = {module.name: module}
        found |= {f"stage.{stage.label}.{key}": files for key, files in named.items()}
    return found


def data_paths(data: FileData) -> dict[DataFile, Path]:
    """The data sets that a recipe names."""
    named: dict[DataFile, Path | None] = {
        "train": data.train,
        "tuning": data.tuning,
        "test": data.test,
        "captions": data.captions,
        "probe": data.probe,
    }
    return {what: path for what, path in named.items() if path is not None}


def data_files(source: Source) -> Files:
    """The files of a data set: those that rows are read from, and the one that names them."""
    base = source.path if source.path.is_dir() else source.path.parent
    files = [*source.rows().files(), *([source.path] if source.path.is_file() else [])]
    return {Path(os.path.relpath(file, base)).as_posix(): file for file in files}


def pair_files(recipe: Recipe, path: Path) -> Files:
    """The same of a file of preference pairs."""
    return data_files(source_of(recipe.data, path, "pairs"))


def model_files(folder: Path) -> Files:
    """The files of a model directory; with low-rank updates, those of the model that they belong to as well."""
    files = files_below(folder)
    updates = folder / "adapter_config.json"
    if updates.is_file():
        base = Path(str(json.loads(updates.read_text(encoding="utf-8")).get("base_model_name_or_path")))
        files |= {f"base/{name}": path for name, path in (model_files(base) if base.is_dir() else {}).items()}
    return files


@final
class SeenPictures:
    """The pictures of data sets, noted while the sets are checked, so that no picture is read once more.

    Pictures that rows hold as bytes are left out: their data file's digest covers them. Those that come from the
    network are not.
    """

    def __init__(self, data: DigitsData | FileData) -> None:
        self._network = isinstance(data, FileData) and data.network
        self.found: dict[str, dict[str, tuple[ImageRef, ...]]] = {}
        """Key of the set -> problem id, or number of the pair -> pictures."""

    def of_problems(self, key: str, source: Source) -> Also:
        """Notes those of the problems that it is called with."""

        def note(problems: Sequence[Problem]) -> None:
            for problem in problems:
                self._note(key, problem.id, problem, source)

        return note

    def of_pairs(self, key: str, source: Source) -> AlsoPair:
        """The same for pairs, which need not have an id."""
        return lambda index, problem: self._note(key, f"pair {index + 1}", problem, source)

    def _note(self, key: str, name: str, problem: Problem, source: Source) -> None:
        kept = f"{source.store.folder}{os.sep}"
        if problem.images and (self._network or not all(image.path.startswith(kept) for image in problem.images)):
            self.found.setdefault(key, {})[name] = problem.images
