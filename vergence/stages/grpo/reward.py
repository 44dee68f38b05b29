"""The reward section of a recipe, turned into the reward."""

from collections.abc import Sequence

from vergence.monitor.dials import Dials
from vergence.recipe.grpo import GrpoStage
from vergence.recipe.reward import FunctionSection, RewardSection
from vergence.reward.bounds import Bound, RunningQuantile, clip_bound, no_bound, sigmoid_bound, zscore_bound
from vergence.reward.functions import UserReward, Values, load_function
from vergence.reward.gates import Gate, both_gate, correct_gate, formed_gate, no_gate
from vergence.reward.hybrid import (
    HybridReward,
    PreferenceLimits,
    RewardWeights,
    RuleReward,
    Shaping,
    WeightedRule,
)
from vergence.reward.isolated import Isolated
from vergence.reward.rules import overlong
from vergence.run.checkpoint import Stateful
from vergence.stages.context import Context, Models
from vergence.stages.reward_model.scorer import stage_scorer
from vergence.types import Reward

GATES: dict[str, Gate] = {"correct": correct_gate, "formed": formed_gate, "both": both_gate, "none": no_gate}


def reward_for(
    section: GrpoStage, context: Context, models: Models, dials: Dials
) -> tuple[Reward, dict[str, Stateful]]:
    """The hybrid reward, or the rules alone where the recipe gives preferences no weight; and what of it has state."""
    reward = section.reward
    rules = RuleReward(
        RewardWeights(accuracy=reward.accuracy, format=reward.format),
        context.grader,
        form=context.form,
        functions=functions_for(reward.functions),
        shaping=shaping_for(reward, section.sampling.max_new_tokens),
        watch=context.watch(),
        form_watch=context.form_watch(),
    )
    if not reward.uses_preference:
        return rules, {}
    scorer = stage_scorer(context, models)
    bound, stateful = bound_for(reward)
    hybrid = HybridReward(
        rules,
        reward.preference,
        scorer.uncalibrated() if reward.scores == "raw" else scorer,
        bound,
        GATES[reward.gate],
        limits=lambda: PreferenceLimits(dials.settings.preference, min(reward.cap, dials.settings.cap)),
    )
    return hybrid, {"scores": scorer, **stateful}


def functions_for(sections: Sequence[FunctionSection]) -> list[UserReward]:
    """The user's own components. Raises RecipeError for the first function that cannot be used as named."""
    return [UserReward(one.name, one.weight, one.rule, values_for(one)) for one in sections]


def values_for(section: FunctionSection) -> Values:
    """The function, here or in a process of its own, which begins with the first call."""
    values = load_function(section.function, section.folder, batch=section.batch)
    if section.deadline == 0:
        return values
    return Isolated(section.function, section.folder, batch=section.batch, deadline=section.deadline)


def bound_for(reward: RewardSection) -> tuple[Bound, dict[str, Stateful]]:
    """The bound of the preference score, and its state if it has one."""
    match reward.bound:
        case "sigmoid":
            return sigmoid_bound, {}
        case "clip":
            return clip_bound, {}
        case "zscore":
            return zscore_bound, {}
        case "quantile":
            quantile = RunningQuantile(reward.quantile_window)
            return quantile, {"quantile": quantile}
        case "none":
            return no_bound, {}


def shaping_for(reward: RewardSection, limit: int) -> Shaping:
    """The rules beside accuracy and format that have a weight; `limit` is the number of tokens that cuts a completion
    off."""
    if not reward.overlong:
        return {}
    margin = max(1, round(reward.overlong_margin * limit))
    return {"overlong": WeightedRule(reward.overlong, overlong(limit, margin))}
