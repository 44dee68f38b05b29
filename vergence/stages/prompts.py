"""Whether the prompts of a recipe's data can be made, and whether they fit into its model with their responses.

Asked before anything is written where the model is there already (stage `load`), and as soon as it is there otherwise
(stage `assemble`): always before the first step of training.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import final

from vergence.data.lint.prompts import OVERLONG, Limits, Prompts, measure
from vergence.data.preferences import check_preferences
from vergence.data.problems import Each, check_captions, check_problems
from vergence.errors import DataError, RecipeError
from vergence.recipe.data import DataFile, FileData
from vergence.recipe.mpo import MpoStage
from vergence.recipe.reward_model import RewardModelStage
from vergence.recipe.schema import Recipe, prompts_missing
from vergence.recipe.stages import LoadStage
from vergence.stages.sources import source_of
from vergence.types import Problem

LeftOut = Mapping[tuple[DataFile, Path], frozenset[int]]
"""What a data file is for, and the file -> the numbers of the rows that are passed over."""


def prompts_for(directory: Path, response: int) -> Prompts:
    """How a checkpoint makes prompts, without its weights; `response` is the longest that will be sampled."""
    from vergence.model.policy import encode
    from vergence.planning.lengths import weightless

    policy = weightless(directory)
    context = int(policy.config.get_text_config().max_position_embeddings)
    return Prompts(
        lambda problem: len(encode(policy, problem).token_ids),
        lambda text: len(policy.tokenizer(text, add_special_tokens=False)["input_ids"]),
        Limits(context, response),
    )


def longest_response(recipe: Recipe | None) -> int:
    """The most tokens that a stage of the recipe lets a response have; 0 without a recipe."""
    stages = recipe.stage if recipe else ()
    own = [getattr(stage, "max_new_tokens", 0) for stage in stages]
    sampled = [getattr(getattr(stage, "sampling", None), "max_new_tokens", 0) for stage in stages]
    return max([0, *own, *sampled])


def model_at_hand(recipe: Recipe) -> Path | None:
    """The model that a recipe begins with, if it is not made by the run itself."""
    return next((stage.path for stage in recipe.stage if isinstance(stage, LoadStage)), None)


@final
class PromptCheck:
    """Stops at the first prompt that cannot be used, or remembers the rows whose prompts are too long."""

    def __init__(self, prompts: Callable[[], Prompts], *, leave_out: bool, advice: str) -> None:
        """`prompts` is called for the first row that is whole; `advice`: what to do about one that is too long."""
        self._prompts = cache(prompts)
        self._leave_out = leave_out
        self._advice = advice
        self._found: dict[tuple[DataFile, Path], set[int]] = {}

    @property
    def left_out(self) -> LeftOut:
        """So far."""
        return {key: frozenset(rows) for key, rows in self._found.items() if rows}

    def each(self, what: DataFile, path: Path) -> Each:
        """The check of one row of a file.

        Raises DataError for a prompt that cannot be made, and for one that is too long unless it is left out.
        """
        left_out = self._found.setdefault((what, path), set())

        def check(number: int, where: str, problem: Problem, responses: Sequence[str]) -> None:
            found = measure(self._prompts(), problem, responses).fault
            if found is None:
                return
            fault, text = found
            if fault not in OVERLONG:
                raise DataError(f"{where}: {fault}: {text}")
            if not self._leave_out:
                raise DataError(f"{where}: {fault}: {text}; {self._advice}")
            left_out.add(number)

        return check


def prompt_check(recipe: Recipe, data: FileData, model: Path) -> PromptCheck:
    """For the prompts that a checkpoint makes of a recipe's data."""
    advice = "shorten it, lower max_new_tokens, or leave such rows out (data.filter_overlong_prompts = true)"
    prompts = partial(prompts_for, model, longest_response(recipe))
    return PromptCheck(prompts, leave_out=data.filter_overlong_prompts, advice=advice)


def check_asked(file: Path, model: Path) -> None:
    """The same for a file that is asked without a recipe: every prompt can be made, and fits into the context.

    Raises DataError naming file and line of the first one that does not.
    """
    check = PromptCheck(partial(prompts_for, model, 0), leave_out=False, advice="shorten it, or remove the row")
    check_problems(file, decode=False, each=check.each("test", file))


def check_prompts(recipe: Recipe, data: FileData, model: Path) -> LeftOut:
    """Make every prompt of every data file once, of a model that was not there when the files were checked.

    Pictures are read as far as their headers. Raises DataError naming file and line of the first prompt that cannot be
    used, RecipeError where too few are left.
    """
    check = prompt_check(recipe, data, model)
    files: list[tuple[DataFile, Path]] = [("train", data.train), ("tuning", data.tuning), ("test", data.test)]
    files += [("probe", data.probe)] if data.probe is not None else []
    sizes = {
        what: check_problems(source_of(data, path, what), decode=False, each=check.each(what, path))
        for what, path in files
    }
    if data.captions is not None:
        check_captions(source_of(data, data.captions, "captions"), each=check.each("captions", data.captions))
    for path in named_pairs(recipe):
        check_preferences(source_of(data, path, "pairs"), each=check.each("pairs", path))
    check_enough(recipe, data, sizes["train"], check.left_out)
    return check.left_out


def check_enough(recipe: Recipe, data: FileData, size: int, left_out: LeftOut) -> None:
    """Raises RecipeError if a stage draws more training problems at once than are left of `size`."""
    problem = prompts_missing(recipe, size - len(left_out.get(("train", data.train), ())))
    if problem:
        raise RecipeError(f"{recipe.name}: {problem}")


def told(left_out: LeftOut) -> list[str]:
    """What is left out, a line for each file."""
    return [
        f"left out of {path} ({what}): {len(rows):,} rows that are longer than the model's context"
        for (what, path), rows in left_out.items()
    ]


def named_pairs(recipe: Recipe) -> list[Path]:
    """The files of preference pairs that stages name, each once."""
    named: list[Path | None] = []
    for stage in recipe.stage:
        match stage:
            case RewardModelStage():
                named += [stage.pairs_file, stage.held_out_file]
            case MpoStage():
                named.append(stage.pairs.file)
    return list(dict.fromkeys(path for path in named if path is not None))
