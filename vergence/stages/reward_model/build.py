"""Stage reward_model: its section of the recipe, turned into the parts of the loop."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from vergence.data.preferences import read_preferences
from vergence.errors import RunError
from vergence.model.parameters import trainable_groups
from vergence.model.reward_head import RAW, Calibration, RewardModel, fresh_head, save_reward_model
from vergence.pairs.comparisons import Comparison, Shares, Wording, apart, compared_groups
from vergence.recipe.reward_model import RewardModelStage
from vergence.rollout.local import LocalGenerator
from vergence.run.checkpoint import whole_folder
from vergence.run.directory import Outcome, StageRow
from vergence.run.stage_run import StageRun
from vergence.scoring.files import compared_file
from vergence.scoring.held_out import HeldOutReport, as_details, measured
from vergence.scoring.wording import wording_of
from vergence.seeds import generator
from vergence.stages.context import Context, Models
from vergence.stages.parts import checkpointed, sampling, schedule, tower_for, training
from vergence.stages.reward_model.loop import Phase, RewardModelParts, phased, train_reward_model
from vergence.stages.table import show_roles
from vergence.types import RolloutGroup
from vergence.update.learner import Learner, ParameterGroup


def run_reward_model(section: RewardModelStage, run: StageRun, context: Context, models: Models) -> Outcome:
    """Sample from the policy, make comparisons, train, calibrate on held-out responses, report, save."""
    backbone = checkpointed(context.policy(models["policy"]), context)
    show_roles(backbone, training(section.train), section.label, context)
    tower = tower_for(backbone, section.train, context)
    problems = context.train(run).take(0, section.prompts + section.held_out)
    groups = LocalGenerator(backbone, tower).generate(
        problems, sampling(section.sampling), seed=run.seed("rollout"), version=0
    )
    wording = wording_of(backbone)
    shares = Shares(**section.sources.model_dump())
    scored = context.rules()(groups)
    learnt = compared_groups(scored[: section.prompts], shares, wording, generator(run.seed("pairs")))
    learnt += file_comparisons(section.pairs_file, shares, wording, context, run.seed("file"))
    # every source is measured, also those that were not trained on, so that reports can be compared
    tested = compared_groups(scored[section.prompts :], Shares(), wording, generator(run.seed("held-out pairs")))
    tested += file_comparisons(section.held_out_file, Shares(), wording, context, run.seed("held-out file"))
    head = fresh_head(backbone, run.seed("head"))
    model = RewardModel(backbone, head, tower, RAW, context.recipe.compute.microbatch_tokens)
    check_comparisons(learnt, tested)
    if section.second.steps and not has_text(learnt):
        context.progress.say(f"{section.label:<14} second phase left out: no pair without a picture in pairs_file")
    parts = reward_model_parts(section, run, model, learnt, tested)
    train_reward_model(parts, run, batch_size=section.batch_size)
    model = replace(model, calibration=calibrate(model, groups[section.prompts :]))
    folder = context.directory.stage_folder(section.label) / "reward_model"
    with whole_folder(folder) as target:
        save_reward_model(model, target, example_question=problems[0].question)
    details = as_details(parts.report()) | {"pairs": len(learnt), "calibration": asdict(model.calibration)}
    entry = str(folder.relative_to(context.directory.path))
    return Outcome({"reward_model": entry}, StageRow(seconds=run.seconds()), details)


def reward_model_parts(
    section: RewardModelStage,
    run: StageRun,
    model: RewardModel,
    learnt: Sequence[Comparison],
    tested: Sequence[Comparison],
) -> RewardModelParts:
    """The phases, the learner, and the report on the held-out comparisons."""
    roles = training(section.train)
    head = ParameterGroup("head", dict(model.head.named_parameters()), section.head_learning_rate, 0.0)
    responses, swaps = apart(tested)
    phases = phases_of(section, learnt)

    def report() -> HeldOutReport:
        return measured(responses, swaps, model.raw)

    return RewardModelParts(
        model=model,
        phases=phases,
        learner=Learner(
            [*trainable_groups(model.backbone, roles), head],
            betas=section.optimizer.betas,
            clip_norm=section.optimizer.clip_norm,
            schedule=phased(schedule(section.optimizer), phases, section.second.learning_rate_factor),
            clock=run.clock,
        ),
        report=report,
    )


def has_text(learnt: Sequence[Comparison]) -> bool:
    """Whether the second phase would have something to mix in."""
    return any(not one.has_images for one in learnt)


def phases_of(section: RewardModelStage, learnt: Sequence[Comparison]) -> list[Phase]:
    """One phase, or two where there is text for the second. Text alone is learnt in the first phase."""
    shown = [one for one in learnt if one.has_images]
    text = [one for one in learnt if not one.has_images]
    if not shown:
        return [Phase(section.steps, text, (), 0.0)]
    first = Phase(section.steps, shown, (), 0.0)
    if not text or not section.second.steps:
        return [first]
    return [first, Phase(section.second.steps, shown, text, section.second.text_share)]


def file_comparisons(
    path: Path | None, shares: Shares, wording: Wording, context: Context, seed: int
) -> list[Comparison]:
    """The pairs of a file, and what is made of their chosen responses; nothing where no file is named."""
    if path is None:
        return []
    return compared_file(read_preferences(context.source(path, "pairs")), shares, wording, generator(seed))


def calibrate(model: RewardModel, groups: Sequence[RolloutGroup]) -> Calibration:
    """Median and spread of the scores of the policy's own held-out responses."""
    return Calibration.measured(model.raw([(group.prompt, one) for group in groups for one in group.completions]))


def check_comparisons(learnt: Sequence[Comparison], tested: Sequence[Comparison]) -> None:
    """Raises RunError where there is nothing to learn from, or nothing to measure on."""
    if not learnt or not apart(tested)[0]:
        raise RunError(
            "reward_model: the policy gave no right and well-formed response to build pairs on; "
            "align it further, or raise reward_model.prompts"
        )
