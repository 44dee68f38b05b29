"""The rules that hold where a recipe names none: which way each signal is bad, how wide its band is at least, and what
an alarm leads to (docs/monitors.md has the same as a table).
"""

from collections.abc import Mapping
from typing import Literal

from vergence.recipe.grpo import GrpoStage
from vergence.recipe.monitor import ActionName, Escalation, RuleSection
from vergence.recipe.mpo import MpoStage

Fault = Literal["reward", "policy"]
"""Where an alarm looks for its cause: in a preference score that is gamed, or in the policy's looking and writing."""

DEFAULT_RULES: tuple[tuple[RuleSection, Fault], ...] = (
    (RuleSection(signal="perception/kl", side="both", absolute=0.05, relative=0.5), "policy"),
    (RuleSection(signal="perception/dependent_share", side="low", absolute=0.05), "policy"),
    (RuleSection(signal="perception/entropy_gap", side="low", absolute=0.02, relative=0.5), "policy"),
    (RuleSection(signal="perception/gain_share", side="low", absolute=0.2), "policy"),
    (RuleSection(signal="perception/seen_share", side="low", absolute=0.2), "policy"),
    (RuleSection(signal="perception/flip_rate", side="low", absolute=0.2), "policy"),
    (RuleSection(signal="perception/blank_gap", side="low", learn=2, absolute=0.1), "policy"),
    (RuleSection(signal="hallucination/response_rate", side="high", absolute=0.05), "reward"),
    (RuleSection(signal="hallucination/blindness", side="high", absolute=0.02), "policy"),
    (RuleSection(signal="tuning/hallucination_rate", side="high", learn=2, absolute=0.05), "reward"),
    (RuleSection(signal="consistency/answer", side="low", absolute=0.1), "reward"),
    (RuleSection(signal="agreement/concordance", side="low", patience=4, absolute=0.3, relative=0.0), "reward"),
    (
        RuleSection(signal="reward/preference_when_wrong", side="high", patience=4, absolute=0.75, relative=0.0),
        "reward",
    ),
    (RuleSection(signal="divergence/length", side="both", low=-0.9, high=0.9, absolute=0.3), "reward"),
    (RuleSection(signal="divergence/parting", side="high", absolute=0.5), "reward"),
    (RuleSection(signal="rollout/length_mean", side="both", relative=0.5), "policy"),
    (RuleSection(signal="rollout/truncated", side="high", absolute=0.1), "policy"),
    (RuleSection(signal="rollout/repetition", side="high", absolute=0.05), "policy"),
    (RuleSection(signal="rollout/looping", side="high", absolute=0.02), "policy"),
    (RuleSection(signal="probe/f1", side="low", learn=2, absolute=0.05), "reward"),
    (RuleSection(signal="probe/yes_ratio", side="both", learn=2, absolute=0.1), "reward"),
)

_PREFERENCE: Escalation = (("halve_preference", "cap"), ("halve_preference", "roll_back"), ("roll_back", "stop"))
_KL: Escalation = (("raise_kl",), ("raise_kl", "roll_back"), ("roll_back", "stop"))
_MARGIN: Escalation = (("raise_margin",), ("raise_margin", "roll_back"), ("roll_back", "stop"))
_WEIGHTS: Escalation = (("roll_back",), ("roll_back", "stop"))


def rules_of(stage: GrpoStage | MpoStage) -> tuple[RuleSection, ...]:
    """The rules of a stage: the recipe's, or else the default ones with the actions that can work in it."""
    if stage.monitor.rule:
        return stage.monitor.rule
    remedies = _remedies(stage)
    return tuple(rule.model_copy(update={"actions": remedies[fault]}) for rule, fault in DEFAULT_RULES)


def _remedies(stage: GrpoStage | MpoStage) -> Mapping[Fault, Escalation]:
    match stage:
        case GrpoStage():
            return {"reward": _PREFERENCE if stage.reward.uses_preference else _KL, "policy": _KL}
        case MpoStage():
            only = _WEIGHTS if idle_actions(stage).get("raise_margin") else _MARGIN
            return {"reward": only, "policy": only}


def idle_actions(stage: GrpoStage | MpoStage) -> dict[ActionName, str]:
    """Actions that change nothing in this stage, with the reason."""
    match stage:
        case GrpoStage():
            idle: dict[ActionName, str] = {"raise_margin": "because pairs are made in mpo alone"}
            if not stage.reward.uses_preference:
                reason = "because the reward has no preference part"
                idle |= {"halve_preference": reason, "cap": reason}
            return idle
        case MpoStage():
            reason = "because mpo has no such term"
            idle = {"halve_preference": reason, "cap": reason, "raise_kl": reason}
            if stage.pairs.judge == "rules":
                idle["raise_margin"] = "because pairs that rules decide have no margin"
            elif stage.pairs.file is not None:
                idle["raise_margin"] = "because the pairs of pairs.file are made already"
            return idle


def idle_action_problem(stage: GrpoStage | MpoStage) -> str | None:
    """What to say of a rule whose action would change nothing in its stage; None if there is none."""
    idle = idle_actions(stage)
    for index, rule in enumerate(stage.monitor.rule):
        for action in (one for step in rule.actions for one in step):
            if action in idle:
                return (
                    f'monitor.rule.{index} ("{rule.signal}"): {action} would change nothing, {idle[action]}; '
                    "take another action"
                )
    return None


def may_raise_kl(stage: GrpoStage) -> bool:
    """Whether the controller may ask for a KL penalty, so that its reference must be there from the beginning."""
    if stage.monitor.mode != "act":
        return False
    return any("raise_kl" in step for rule in rules_of(stage) for step in rule.actions)
