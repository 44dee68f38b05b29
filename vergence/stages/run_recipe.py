"""The stages of a recipe, in order: the one place where a stage's type is turned into code."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from vergence.assembly.packaged import SMOLLM2, find_packaged
from vergence.data.columns import never_there
from vergence.data.preferences import check_preferences
from vergence.data.problems import Also, Each, check_captions, check_problems, unasked
from vergence.data.source import Source
from vergence.errors import DataError, RecipeError
from vergence.grading.load import grader_for
from vergence.grading.pool import PooledGrader
from vergence.model.config_file import TOWER_LAYOUT, raw_config
from vergence.model.device import choose_device, keep_freed_memory
from vergence.model.families.known import family_of
from vergence.model.needed_files import base_of
from vergence.model.policy import compute_dtype
from vergence.model.pretrained import read_config
from vergence.monitor.probe import check_yes_no
from vergence.pairs.files import check_tokens
from vergence.planning.parts import check_parts
from vergence.pool.warm import warm_content
from vergence.recipe.data import DataFile, DigitsData, FileData
from vergence.recipe.grpo import GrpoStage
from vergence.recipe.mpo import MpoStage
from vergence.recipe.reward_model import LoadRewardModelStage, RewardModelStage
from vergence.recipe.schema import Recipe
from vergence.recipe.sections import StageSection
from vergence.recipe.stages import AlignStage, AssembleStage, EvaluateStage, LoadStage, ParentsStage
from vergence.report.page import write_report
from vergence.reward.form import FORMS
from vergence.run.checkpoint import whole_folder
from vergence.run.digests import Inputs
from vergence.run.directory import Outcome, RunDirectory, opened
from vergence.run.progress import Progress
from vergence.run.stage_run import StageRun
from vergence.run.summary import stage_table, write_summary
from vergence.run.unchanged import check_unchanged
from vergence.stages.align import run_align
from vergence.stages.assembling import run_assemble, run_load
from vergence.stages.context import Context, DataFiles, Models
from vergence.stages.evaluate import run_evaluate
from vergence.stages.gold import check_gold, limits_of
from vergence.stages.grpo.build import run_grpo
from vergence.stages.grpo.reward import functions_for
from vergence.stages.inputs import SeenPictures, input_files
from vergence.stages.mpo.build import run_mpo
from vergence.stages.parents import run_parents
from vergence.stages.prompts import (
    LeftOut,
    PromptCheck,
    check_enough,
    check_prompts,
    model_at_hand,
    prompt_check,
    told,
)
from vergence.stages.reward_model.build import run_reward_model
from vergence.stages.reward_model.elsewhere import named_source, run_load_reward_model
from vergence.stages.sources import source_of
from vergence.types import Problem


def run_recipe(recipe: Recipe, path: Path, progress: Progress, *, stop_after: str | None) -> None:
    """Run what is not done yet of a recipe in a run directory, and leave summary, report and final model there."""
    labels = [stage.label for stage in recipe.stage]
    if stop_after is not None and stop_after not in labels:
        raise RecipeError(f"--stop-after {stop_after}: no such stage; the stages are {', '.join(labels)}")
    with grader_for(limits_of(recipe.grading)) as grader:
        inputs, left_out = check_inputs(recipe, grader)
        run_checked(recipe, path, progress, grader, stop_after, inputs, left_out)


def run_checked(
    recipe: Recipe,
    path: Path,
    progress: Progress,
    grader: PooledGrader,
    stop_after: str | None,
    inputs: Inputs,
    left_out: LeftOut | None,
) -> None:
    """The same, of a recipe whose inputs were checked; `left_out` is None where no model was there to check prompts.

    Raises DirectoryError if the inputs, or a finished stage, changed.
    """
    labels = [stage.label for stage in recipe.stage]
    with opened(path, recipe) as directory:
        found, anew = check_unchanged(directory, labels, inputs, progress.say)
        directory.begin(recipe, found, anew=anew)
        keep_freed_memory()
        torch.set_num_threads(recipe.threads or torch.get_num_threads())
        device = choose_device(recipe.device)
        threads = torch.get_num_threads()
        progress.say(f"{recipe.name}, seed {recipe.seed}, {len(labels)} stages, {device} ({threads} threads) -> {path}")
        data = prepare_data(recipe, directory)
        context = Context(recipe, directory, data, device, progress, grader, left_out or {})
        for line in told(context.left_out):
            progress.say(line)
        models: dict[str, Path] = {}
        ran = False
        for stage in recipe.stage:
            outcome = directory.outcome(stage.label)
            if outcome is None:
                ran = True
                run = StageRun(
                    path,
                    stage.label,
                    seed=recipe.seed,
                    checkpoint_every=stage.checkpoint_every,
                    progress=progress,
                )
                outcome = run_stage(stage, run, context, models)
                loaded = tuple(outcome.models.values()) if isinstance(stage, LoadStage) else ()
                directory.finish(stage.label, outcome, inputs=loaded)
            models |= {name: directory.model_path(entry) for name, entry in outcome.models.items()}
            if left_out is None and isinstance(recipe.data, FileData) and "policy" in models:
                left_out = check_prompts(recipe, recipe.data, models["policy"])
                context = replace(context, left_out=left_out)
                for line in told(left_out):
                    progress.say(line)
            if stage.label == stop_after:
                break
        finish(recipe, directory, models, progress, ran=ran)


def run_stage(stage: StageSection, run: StageRun, context: Context, models: Models) -> Outcome:
    """One stage by its type."""
    match stage:
        case ParentsStage():
            return run_parents(stage, run, context, models)
        case AssembleStage():
            return run_assemble(stage, run, context, models)
        case LoadStage():
            return run_load(stage, run, context, models)
        case AlignStage():
            return run_align(stage, run, context, models)
        case RewardModelStage():
            return run_reward_model(stage, run, context, models)
        case LoadRewardModelStage():
            return run_load_reward_model(stage, run, context, models)
        case MpoStage():
            return run_mpo(stage, run, context, models)
        case GrpoStage():
            return run_grpo(stage, run, context, models)
        case EvaluateStage():
            return run_evaluate(stage, run, context, models)
    raise AssertionError(f"no code for stage type {stage.type}")


def check_inputs(recipe: Recipe, grader: PooledGrader) -> tuple[Inputs, LeftOut | None]:
    """Read what the recipe names before anything is written, so that wrong input leaves nothing behind.

    Gives the inputs, and the rows that are too long for the model; None for these where the run makes the model itself.
    """
    if compute_dtype(choose_device(recipe.device), recipe.compute.dtype) == torch.float32:
        problem = recipe.compute.float32_problem()
        if problem:
            raise RecipeError(f"{recipe.name}: compute: {problem}")
    check_parts(recipe, all_there=True)
    pictures, model = SeenPictures(recipe.data), model_at_hand(recipe)
    prompts = prompt_check(recipe, recipe.data, model) if isinstance(recipe.data, FileData) and model else None

    def check_pairs(stage: StageSection, key: str, file: Path) -> Source:
        pairs = source_of(recipe.data, file, "pairs")
        note = pictures.of_pairs(f"stage.{stage.label}.{key}", pairs)
        check_preferences(pairs, note, each=prompts.each("pairs", file) if prompts else unasked)
        return pairs

    for stage in recipe.stage:
        match stage:
            case ParentsStage() if stage.language_model == "smollm2":
                find_packaged(SMOLLM2)
            case LoadStage():
                family_of(read_config(base_of(stage.path)))
            case LoadRewardModelStage():
                named_source(stage)
            case RewardModelStage():
                for key, file in (("pairs_file", stage.pairs_file), ("held_out_file", stage.held_out_file)):
                    if file is not None:
                        check_pairs(stage, key, file)
            case MpoStage() if stage.pairs.file is not None:
                check_tokens(check_pairs(stage, "pairs.file", stage.pairs.file).rows())
            case GrpoStage():
                functions_for(stage.reward.functions)
                if stage.buffer.warm is not None:
                    warm_content(stage.buffer.warm)
            case AssembleStage():
                for named in (stage.vision, stage.language, stage.adapter):
                    if named is not None and raw_config(named)["model_type"] != TOWER_LAYOUT:
                        read_config(named)
    if isinstance(recipe.data, FileData):
        check_data(recipe, recipe.data, grader, pictures, prompts)
    left_out = None if prompts is None and isinstance(recipe.data, FileData) else prompts.left_out if prompts else {}
    return Inputs(input_files(recipe), pictures.found), left_out


def check_data(
    recipe: Recipe, data: FileData, grader: PooledGrader, pictures: SeenPictures, prompts: PromptCheck | None
) -> None:
    """Read the data sets row by row, keeping none: pictures, ids, whether answers can be graded and prompts be made."""
    form, whole = FORMS[recipe.grading.form], data.check == "whole"
    check_columns(data)
    sizes = {}

    def each_of(what: DataFile, path: Path) -> Each:
        return prompts.each(what, path) if prompts else unasked

    files: tuple[tuple[DataFile, Path], ...] = (("train", data.train), ("tuning", data.tuning), ("test", data.test))
    for what, path in files:
        source = source_of(data, path, what)
        note = pictures.of_problems(f"data.{what}", source)

        def also(problems: Sequence[Problem], path: Path = path, note: Also = note) -> None:
            note(problems)
            check_gold(problems, path, grader, form)

        sizes[what] = check_problems(source, decode=whole, also=also, each=each_of(what, path))
    if data.captions is not None:
        source = source_of(data, data.captions, "captions")
        note = pictures.of_problems("data.captions", source)
        check_captions(source, note, each=each_of("captions", data.captions))
    if data.probe is not None:
        source = source_of(data, data.probe, "probe")
        note = pictures.of_problems("data.probe", source)

        def also_probe(problems: Sequence[Problem], path: Path = data.probe, note: Also = note) -> None:
            note(problems)
            check_yes_no(problems, path)

        check_problems(source, decode=whole, also=also_probe, each=each_of("probe", data.probe))
    check_enough(recipe, data, sizes["train"], prompts.left_out if prompts else {})


def check_columns(data: FileData) -> None:
    """Raises DataError for a column that the recipe names and no row of any of its files has: it is misspelt."""
    files: tuple[tuple[DataFile, Path | None], ...] = (
        ("train", data.train),
        ("captions", data.captions),
        ("tuning", data.tuning),
        ("test", data.test),
        ("probe", data.probe),
    )
    sources = [source_of(data, path, what) for what, path in files if path is not None]
    missing: list[str] | None = None
    for source in sources:
        if source.layout.optional:
            missing = never_there(source.rows(), source.layout.optional if missing is None else missing)
    if missing:
        raise DataError(
            f'data.columns: no row of any data file has the column "{missing[0]}"; correct it, or remove it'
        )


def prepare_data(recipe: Recipe, directory: RunDirectory) -> DataFiles:
    """The four data files; a built-in task writes its own into the run directory, once."""
    match recipe.data:
        case FileData() as files:
            return DataFiles(files.train, files.captions or files.train, files.tuning, files.test)
        case DigitsData() as digits:
            from vergence.digits.files import write_dataset
            from vergence.digits.wording import WORDINGS

            folder, written = directory.data, not directory.data.is_dir()
            if written:
                with whole_folder(folder) as target:
                    write_dataset(
                        target,
                        seed=recipe.seed,
                        train=digits.train,
                        captions=digits.captions,
                        tuning=digits.tuning,
                        test=digits.test,
                        wording=WORDINGS[digits.wording],
                    )
            directory.record_data(written=written)
            return DataFiles(*(folder / f"{name}.jsonl" for name in ("train", "captions", "tuning", "test")))


def finish(recipe: Recipe, directory: RunDirectory, models: Models, progress: Progress, *, ran: bool) -> None:
    """Summary, final model, report; then the stage table. `ran` says whether a stage ran in this session."""
    complete = all(directory.outcome(stage.label) is not None for stage in recipe.stage)
    if complete and "policy" in models and (ran or not directory.final.is_dir()):
        with whole_folder(directory.final) as target:
            shutil.copytree(models["policy"], target, dirs_exist_ok=True)
    summary = write_summary(directory, recipe, complete)
    write_report(directory)
    progress.say("")
    progress.say(stage_table(summary))
    progress.say(f"\nreport: {directory.report}" + (f"\nmodel:  {directory.final}" if complete else ""))
