"""Stage align: captions -> loss -> update, adapter only, until the tuning split reaches the target."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from vergence.data.sequence import Opened
from vergence.errors import RecipeError
from vergence.loss.reduce import token_mean
from vergence.model.batch import collate, microbatches
from vergence.model.forward import token_scores
from vergence.model.parameters import trainable_groups
from vergence.model.policy import Policy
from vergence.model.vision import Tower
from vergence.recipe.stages import AlignStage
from vergence.run.directory import Outcome
from vergence.run.stage_run import StageRun
from vergence.scoring.wording import wording_of
from vergence.seeds import generator
from vergence.stages.context import Context, Models
from vergence.stages.measuring import Gauge, gauge
from vergence.stages.parts import policy_to_train, schedule, tower_for, training
from vergence.stages.saving import save_trained_policy, tuning_row
from vergence.stages.table import show_roles
from vergence.types import Caption, Completion, Prompt, own_part
from vergence.update.learner import Learner, LossPart
from vergence.update.schedule import span_of

Target = tuple[Prompt, Completion]


@dataclass(frozen=True, slots=True, eq=False)
class AlignParts:
    """What the loop works with."""

    policy: Policy
    tower: Tower
    targets: Sequence[Target]
    microbatch_tokens: int
    learner: Learner
    gauge: Gauge


def align(parts: AlignParts, run: StageRun, *, max_steps: int, batch_size: int, target_accuracy: float) -> None:
    """Imitate captions; stop as soon as the tuning split's greedy accuracy reaches the target."""
    for step in run.steps(max_steps, {"learner": parts.learner}):
        rows = generator(run.seed(step, "batch")).integers(0, len(parts.targets), batch_size).tolist()
        loss = imitation(parts, [parts.targets[row] for row in rows])
        run.log(parts.learner.update(loss, span_of(step, max_steps)))
        with run.clock.phase("monitor"):
            measured = parts.gauge(step, max_steps)
        run.log(measured)
        if measured.get("tuning/greedy_accuracy", 0.0) >= target_accuracy:
            run.stop()


def imitation(parts: AlignParts, targets: Sequence[Target]) -> list[Callable[[], LossPart]]:
    """Mean negative log-likelihood of the targets' tokens, in micro-batches of about equal size."""
    num_tokens = sum(len(completion.token_ids) for _, completion in targets)

    def part(some: Sequence[Target]) -> LossPart:
        batch = collate(some, parts.policy.device)
        scores = token_scores(parts.policy, batch, temperature=1.0, tower=parts.tower)
        return LossPart(-token_mean(scores.logprobs, batch.mask, num_tokens, len(targets)), {})

    units = [(prompt, len(completion.token_ids)) for prompt, completion in targets]
    return [
        partial(part, [targets[index] for index in indices]) for indices in microbatches(units, parts.microbatch_tokens)
    ]


def run_align(section: AlignStage, run: StageRun, context: Context, models: Models) -> Outcome:
    """Build the parts, run the loop, save the policy."""
    policy = policy_to_train(section.train, run, context, models["policy"])
    tower = tower_for(policy, section.train, context)
    show_roles(policy, training(section.train), section.label, context)
    parts = AlignParts(
        policy=policy,
        tower=tower,
        targets=caption_targets(policy, chosen_captions(section, context)),
        microbatch_tokens=context.recipe.compute.microbatch_tokens,
        learner=Learner(
            trainable_groups(policy, training(section.train)),
            betas=section.optimizer.betas,
            clip_norm=section.optimizer.clip_norm,
            schedule=schedule(section.optimizer),
            clock=run.clock,
        ),
        gauge=gauge(policy, tower, context, section.evaluation, section.max_new_tokens, run),
    )
    align(
        parts,
        run,
        max_steps=section.max_steps,
        batch_size=section.batch_size,
        target_accuracy=section.target_accuracy,
    )
    entry = save_trained_policy(policy, section.train, section.label, context, models["policy"])
    row = tuning_row(run, context)
    reached = (row.greedy_accuracy or 0.0) >= section.target_accuracy
    return Outcome({"policy": entry}, row, {"target_reached": reached, "updates": parts.learner.updates})


def chosen_captions(section: AlignStage, context: Context) -> Sequence[Caption]:
    """The captions of the categories that the stage names. Raises RecipeError if there is none."""
    captions = context.captions()
    if not section.categories:
        return captions
    categories = [captions[place].problem.category for place in range(len(captions))]
    places = [place for place, category in enumerate(categories) if category in section.categories]
    if not places:
        raise RecipeError(
            f"{section.label}: categories = {list(section.categories)}, and no caption has one of them; "
            f"the captions' categories are {', '.join(sorted(set(categories)))}"
        )
    return Opened(len(places), lambda index: captions[places[index]])


def caption_targets(policy: Policy, captions: Sequence[Caption]) -> Sequence[Target]:
    """Each caption as a prompt and the completion to imitate, made when it is asked for; it ends with the token that
    closes a turn.
    """
    wording = wording_of(policy)

    def target(index: int) -> Target:
        caption = captions[index]
        prompt = wording.prompt(caption.problem)
        return prompt, wording.completion(own_part(prompt, caption.target))

    return Opened(len(captions), target)
