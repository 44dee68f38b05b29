"""The reward section of a recipe, turned into the reward."""

from vergence.model.reward_head import load_reward_model
from vergence.monitor.dials import Dials
from vergence.recipe.grpo import GrpoStage
from vergence.reward.hybrid import (
    Bound,
    Gate,
    HybridReward,
    RewardWeights,
    RuleReward,
    clip_bound,
    correct_gate,
    formed_gate,
    no_bound,
    no_gate,
    sigmoid_bound,
)
from vergence.stages.context import Context, Models
from vergence.stages.parts import (
    feature_limits,
)
from vergence.types import Reward


def reward_for(section: GrpoStage, context: Context, models: Models, dials: Dials) -> Reward:
    """The hybrid reward, or the rules alone where the recipe gives preferences no weight."""
    reward = section.reward
    bounds: dict[str, Bound] = {"sigmoid": sigmoid_bound, "clip": clip_bound, "none": no_bound}
    gates: dict[str, Gate] = {"correct": correct_gate, "formed": formed_gate, "none": no_gate}
    weights = RewardWeights(accuracy=reward.accuracy, format=reward.format, preference=reward.preference)
    if not reward.uses_preference:
        return RuleReward(weights)
    scorer = load_reward_model(
        models["reward_model"],
        context.device,
        limits=feature_limits(context),
        microbatch_tokens=context.recipe.compute.microbatch_tokens,
    )
    if reward.scores == "raw":
        scorer = scorer.uncalibrated()
    return HybridReward(weights, scorer, bounds[reward.bound], gates[reward.gate])
