"""Stage reward_model: sampled and corrupted responses -> pairs -> Bradley-Terry loss -> update -> calibration."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from vergence.errors import RunError
from vergence.loss.preference import bradley_terry_loss
from vergence.model.batch import collate, mapped, microbatches
from vergence.model.parameters import trainable_groups
from vergence.model.policy import Policy, load_policy
from vergence.model.reward_head import Calibration, RewardModel, fresh_head, raw_scores, save_reward_model
from vergence.model.vision import Tower
from vergence.pairs.corruptions import corrupt
from vergence.recipe.reward_model import RewardModelStage
from vergence.reward.hybrid import rule_scores
from vergence.rollout.local import LocalGenerator
from vergence.run.checkpoint import whole_folder
from vergence.run.directory import Outcome, StageRow
from vergence.run.stage_run import StageRun
from vergence.seeds import generator
from vergence.stages.context import Context, Models
from vergence.stages.parts import sampling, schedule, tower_for, training
from vergence.stages.table import show_roles
from vergence.types import Completion, Finish, Metrics, PreferencePair, Prompt, RolloutGroup
from vergence.update.learner import Learner, LossPart, ParameterGroup


@dataclass(frozen=True, slots=True, eq=False)
class RewardModelParts:
    """What the loop works with."""

    backbone: Policy
    head: torch.nn.Linear
    tower: Tower
    pairs: Sequence[PreferencePair]
    held_out: Sequence[PreferencePair]
    microbatch_tokens: int
    learner: Learner


def train_reward_model(parts: RewardModelParts, run: StageRun, *, steps: int, batch_size: int) -> None:
    """Learn to score the better response of each pair higher."""
    for step in run.steps(steps, {"learner": parts.learner}):
        rows = generator(run.seed(step, "batch")).integers(0, len(parts.pairs), batch_size)
        run.log(parts.learner.update(comparisons(parts, [parts.pairs[row] for row in rows])))
        if step + 1 == steps:
            run.log(pair_accuracy(parts))


def comparisons(parts: RewardModelParts, pairs: Sequence[PreferencePair]) -> list[Callable[[], LossPart]]:
    """Bradley-Terry over a batch of pairs, both responses of a pair in one forward pass."""

    def part(some: Sequence[PreferencePair]) -> LossPart:
        chosen, rejected = _scores(parts, some)
        share = len(some) / len(pairs)
        loss = bradley_terry_loss(chosen, rejected).mean() * share
        return LossPart(loss, {"accuracy": (chosen > rejected).float().mean().detach() * share})

    units = [(pair.prompt, len(pair.chosen.token_ids) + len(pair.rejected.token_ids)) for pair in pairs]
    return [
        partial(part, [pairs[index] for index in indices]) for indices in microbatches(units, parts.microbatch_tokens)
    ]


@torch.no_grad()
def pair_accuracy(parts: RewardModelParts) -> Metrics:
    """Share of held-out pairs that are scored in the right order: of all, and by where the worse response came from."""
    members = [(pair.prompt, pair.chosen) for pair in parts.held_out]
    members += [(pair.prompt, pair.rejected) for pair in parts.held_out]
    chosen, rejected = _all_scores(parts, members).chunk(2)
    right = (chosen > rejected).float().cpu()
    metrics = {"held_out/pair_accuracy": float(right.mean())}
    for source in sorted({pair.source for pair in parts.held_out}):
        of_source = torch.tensor([pair.source == source for pair in parts.held_out])
        metrics[f"held_out/pair_accuracy_{source}"] = float(right[of_source].mean())
    return metrics


def make_pairs(groups: Sequence[RolloutGroup], policy: Policy, rng: np.random.Generator) -> list[PreferencePair]:
    """For each good response: against a worse one of its group, against a corruption of itself, and against elsewhere.

    Good is right and well-formed. A response to another problem is used where that problem's answer differs.
    """
    good = {
        index: [group.completions[place] for place in np.flatnonzero((right > 0) & (formed > 0))]
        for index, group in enumerate(groups)
        for right, formed in [rule_scores(group)]
    }
    solved = [index for index, completions in good.items() if completions]
    pairs = []
    for index in solved:
        group = groups[index]
        chosen = good[index][int(rng.integers(len(good[index])))]
        worse = [one for one in group.completions if not any(one is other for other in good[index])]
        if worse:
            rejected = worse[int(rng.integers(len(worse)))]
            pairs.append(PreferencePair(group.prompt, chosen, rejected, 1.0, "rule"))
        text = corrupt(chosen.text, rng)
        if text != chosen.text:
            pairs.append(PreferencePair(group.prompt, chosen, as_completion(policy, text), 1.0, "corruption"))
        other = solved[int(rng.integers(len(solved)))]
        if groups[other].prompt.problem.answer != group.prompt.problem.answer:
            pairs.append(PreferencePair(group.prompt, chosen, good[other][0], 1.0, "elsewhere"))
    return pairs


def as_completion(policy: Policy, text: str) -> Completion:
    """A text as if it had been sampled; its log-probs are never read."""
    ids = policy.tokenizer(text, add_special_tokens=False)["input_ids"]
    ids = np.asarray([*ids, policy.tokenizer.eos_token_id], dtype=np.int64)
    return Completion(ids, np.zeros(len(ids), dtype=np.float32), Finish.STOP, 0, text)


def run_reward_model(section: RewardModelStage, run: StageRun, context: Context, models: Models) -> Outcome:
    """Sample from the policy, make pairs, train, calibrate on held-out responses, save."""
    backbone = load_policy(models["policy"], context.device)
    show_roles(backbone, training(section.train), section.label, context)
    tower = tower_for(backbone, section.train, context)
    problems = context.train(run).take(0, section.prompts + section.held_out)
    groups = LocalGenerator(backbone, tower).generate(
        problems, sampling(section.sampling), seed=run.seed("rollout"), version=0
    )
    head = fresh_head(backbone, run.seed("head"))
    head_group = ParameterGroup("head", dict(head.named_parameters()), section.head_learning_rate, 0.0)
    parts = RewardModelParts(
        backbone=backbone,
        head=head,
        tower=tower,
        pairs=make_pairs(groups[: section.prompts], backbone, generator(run.seed("pairs"))),
        held_out=make_pairs(groups[section.prompts :], backbone, generator(run.seed("held-out pairs"))),
        microbatch_tokens=context.recipe.compute.microbatch_tokens,
        learner=Learner(
            [*trainable_groups(backbone, training(section.train)), head_group],
            betas=section.optimizer.betas,
            clip_norm=section.optimizer.clip_norm,
            schedule=schedule(section.optimizer, section.steps),
            clock=run.clock,
        ),
    )
    _check_pairs(parts)
    train_reward_model(parts, run, steps=section.steps, batch_size=section.batch_size)
    calibration = calibrate(parts, groups[section.prompts :])
    folder = context.directory.stage_folder(section.label) / "reward_model"
    model = RewardModel(backbone, head, tower, calibration)
    with whole_folder(folder) as target:
        save_reward_model(model, target, example_question=problems[0].question)
    accuracy = pair_accuracy(parts)
    details = {
        "held_out_pair_accuracy": accuracy["held_out/pair_accuracy"],
        "held_out_pair_accuracy_by_source": {
            name.removeprefix("held_out/pair_accuracy_"): value
            for name, value in accuracy.items()
            if name != "held_out/pair_accuracy"
        },
        "pairs": len(parts.pairs),
        "held_out_pairs": len(parts.held_out),
        "longer_is_better_accuracy": _length_baseline(parts.held_out),
    }
    entry = str(folder.relative_to(context.directory.path))
    return Outcome({"reward_model": entry}, StageRow(seconds=run.seconds()), details)


@torch.no_grad()
def calibrate(parts: RewardModelParts, groups: Sequence[RolloutGroup]) -> Calibration:
    """Median and spread of the scores of the policy's own held-out responses."""
    members = [(group.prompt, completion) for group in groups for completion in group.completions]
    scores = _all_scores(parts, members).double().numpy()
    low, median, high = np.percentile(scores, [16, 50, 84])
    return Calibration(float(median), max(1e-6, float(high - low) / 2))


def _scores(parts: RewardModelParts, pairs: Sequence[PreferencePair]) -> tuple[torch.Tensor, torch.Tensor]:
    members = [(pair.prompt, pair.chosen) for pair in pairs] + [(pair.prompt, pair.rejected) for pair in pairs]
    scores = raw_scores(parts.backbone, parts.head, collate(members, parts.backbone.device), parts.tower)
    return scores[: len(pairs)], scores[len(pairs) :]


@torch.no_grad()
def _all_scores(parts: RewardModelParts, members: Sequence[tuple[Prompt, Completion]]) -> torch.Tensor:
    """[B] raw scores of however many completions."""

    def compute(some: Sequence[tuple[Prompt, Completion]]) -> list[torch.Tensor]:
        batch = collate(some, parts.backbone.device)
        return list(raw_scores(parts.backbone, parts.head, batch, parts.tower).cpu())

    return torch.stack(mapped(members, parts.microbatch_tokens, compute))


def _length_baseline(pairs: Sequence[PreferencePair]) -> float:
    """What a judge would score that only prefers the longer response; a tie counts half."""
    signs = [np.sign(len(pair.chosen.token_ids) - len(pair.rejected.token_ids)) for pair in pairs]
    return float((np.mean(signs) + 1) / 2)


def _check_pairs(parts: RewardModelParts) -> None:
    if not parts.pairs or not parts.held_out:
        raise RunError(
            "reward_model: the policy gave no right and well-formed response to build pairs on; "
            "align it further, or raise reward_model.prompts"
        )
