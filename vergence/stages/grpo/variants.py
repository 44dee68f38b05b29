"""The keys of `vergence/recipe/objective.py`, turned into the functions that they choose."""

from collections.abc import Mapping

from vergence.advantage.judging import Effectiveness, Judge, judge, without_truncated
from vergence.advantage.scaling import (
    Advantage,
    batch_scaled,
    decoupled_components,
    group_centred,
    group_normalised,
)
from vergence.loss.policy_gradient import SurrogateFunction, by_origin, cispo, clipped, shaped
from vergence.loss.reduce import Reduction, constant_length, sequence_mean, token_mean
from vergence.loss.sequence_ratio import gspo
from vergence.model.policy import Policy
from vergence.model.response import ResponseText
from vergence.monitor.critical import Places, critical_places, no_places
from vergence.monitor.dials import Dials
from vergence.recipe.grpo import GrpoStage


def advantage_for(section: GrpoStage, dials: Dials) -> Advantage:
    """From rewards to advantages."""
    match section.advantage:
        case "normalised":
            return group_normalised
        case "centred":
            return group_centred
        case "batch":
            return batch_scaled
        case "decoupled":
            return decoupled_components(lambda: component_weights(section, dials))


def component_weights(section: GrpoStage, dials: Dials) -> Mapping[str, float]:
    """What each component of the reward counts now; one without weight is no part of the reward."""
    weights = {name: weight for name, weight in section.reward.weights.items() if weight > 0}
    if "preference" in weights:
        weights["preference"] *= dials.settings.preference
    return weights


def judge_for(section: GrpoStage, advantage: Advantage, effectiveness: Effectiveness) -> Judge:
    """From scored groups to judged ones."""
    if section.mask_truncated:
        return lambda scored: without_truncated(judge(scored, advantage, effectiveness))
    return lambda scored: judge(scored, advantage, effectiveness)


def surrogate_for(section: GrpoStage) -> SurrogateFunction:
    """What is minimised, per token; replayed samples have one of their own with correction `shaped`."""
    match section.surrogate:
        case "clipped":
            surrogate = clipped(section.clip_low, section.clip_high, section.dual_clip)
        case "cispo":
            surrogate = cispo(section.clip_low, section.clip_high)
        case "gspo":
            surrogate = gspo(section.clip_low, section.clip_high)
    if section.buffer.correction == "shaped":
        return by_origin(surrogate, shaped(section.buffer.shaping))
    return surrogate


def reduction_for(section: GrpoStage) -> Reduction:
    """From terms per token to one number."""
    match section.reduction:
        case "token_mean":
            return token_mean
        case "sequence_mean":
            return sequence_mean
        case "constant":
            return constant_length(section.sampling.max_new_tokens)


def places_for(section: GrpoStage, policy: Policy) -> Places:
    """Where the critical tokens of a completion are."""
    if not section.critical_markers:
        return no_places
    return critical_places(section.critical_markers, ResponseText(policy))
