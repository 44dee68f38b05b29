"""Who judges responses for pairs: rules alone, or rules for what is right and a reward model for how much better."""

from collections.abc import Mapping
from dataclasses import dataclass

from vergence.pairs.rules import Scores, preference_component, rules_only
from vergence.recipe.pairs import PairsSection
from vergence.reward.bounds import no_bound
from vergence.reward.gates import no_gate
from vergence.reward.hybrid import RULES, HybridReward, RuleReward
from vergence.reward.rules import AsWritten
from vergence.run.checkpoint import Stateful
from vergence.stages.context import Context, Models
from vergence.stages.mpo.blind import Margins, measured_by, unmeasured
from vergence.stages.reward_model.scorer import stage_scorer
from vergence.types import Reward, Scorer


@dataclass(frozen=True, slots=True, eq=False)
class PairJudge:
    """What is asked about responses."""

    reward: Reward
    """Its components are read, and its total is only logged."""
    scores: Scores
    """Where a pair's margin is read from."""
    margins: Margins
    """The same for continuations, which are in no group."""


def by_rules(rules: RuleReward) -> PairJudge:
    """Margins are infinite."""
    return PairJudge(rules, rules_only, unmeasured)


def by_reward_model(rules: RuleReward, scorer: Scorer) -> PairJudge:
    """Margins are gaps of its scores, in the units in which it gives them."""
    reward = HybridReward(rules, 1.0, scorer, no_bound, no_gate)
    return PairJudge(reward, preference_component, measured_by(preference_component))


def judge_for(section: PairsSection, context: Context, models: Models) -> tuple[PairJudge, Mapping[str, Stateful]]:
    """The judge of a stage, and what of it a checkpoint must hold."""
    grader = context.grader if section.graded else AsWritten()
    rules = RuleReward(RULES, grader, form=context.form, watch=context.watch(), form_watch=context.form_watch())
    match section.judge:
        case "rules":
            return by_rules(rules), {}
        case "reward_model":
            scorer = stage_scorer(context, models)
            return by_reward_model(rules, scorer.uncalibrated() if section.margin_unit == "raw" else scorer), {
                "scores": scorer
            }
