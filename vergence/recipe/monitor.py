"""What is watched while a stage trains, what counts as normal, and what an alarm leads to."""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from vergence.recipe.sections import Positive, Section, Share, Weight

Monitor = Literal["perception", "gain", "swap", "blindness", "consistency", "divergence", "repetition", "probe"]
"""Measurements that can be switched on; docs/monitors.md says what each means and costs."""
ActionName = Literal["halve_preference", "cap", "raise_kl", "raise_margin", "roll_back", "stop"]

SIGNALS: Mapping[Monitor, tuple[str, ...]] = {
    "perception": ("perception/kl", "perception/dependent_share", "perception/entropy_gap"),
    "gain": ("perception/gain", "perception/gain_share", "perception/seen_share"),
    "swap": ("perception/flip_rate",),
    "blindness": ("hallucination/blindness",),
    "consistency": ("consistency/answer", "consistency/right_answer"),
    "divergence": ("divergence/length", "divergence/parting"),
    "repetition": ("rollout/repetition", "rollout/looping"),
    "probe": ("probe/accuracy", "probe/precision", "probe/recall", "probe/f1", "probe/yes_ratio"),
}
"""The figures that a measurement gives, and that nothing else gives."""

CANNOT_SEE = (
    r"(?i)\b(?:can(?:no|')?t|can not|unable to|not able to|do(?:es)?(?: not|n't)) (?:\w+ ){0,2}?"
    r"(?:see|view|access|open|display|have access to) (?:\w+ ){0,2}?(?:image|picture|photo|figure|diagram|graph)",
    r"(?i)\b(?:image|picture|photo|figure|diagram|graph) (?:\w+ )?(?:is|was|has|are|were)(?: not|n't)(?: been)? "
    r"(?:provided|attached|visible|shown|given|available|included|displayed)",
    r"(?i)\b(?:no|missing) (?:image|picture|photo|figure|diagram|graph) (?:is |was |has been )?"
    r"(?:provided|attached|visible|shown|given|available|included)",
    r"(?i)\bwithout (?:being able to see|seeing|access to|having) (?:the|an?|this) "
    r"(?:actual )?(?:image|picture|photo|figure|diagram|graph)",
)
"""English phrases by which a model says that it sees no picture."""


def _steps(value: Any) -> Any:
    """An action by its name alone is a step of one action."""
    return tuple((one,) if isinstance(one, str) else one for one in value) if isinstance(value, tuple) else value


Escalation = Annotated[tuple[tuple[ActionName, ...], ...], BeforeValidator(_steps)]


class RuleSection(Section):
    """How one signal is watched."""

    signal: Annotated[str, Field(pattern=r"^[a-z_]+(/[a-z0-9_]+)?$")]
    """Any figure of metrics.jsonl that the stage logs."""
    side: Literal["low", "high", "both"] = "both"
    """Which way is bad."""
    low: float = -math.inf
    """Below it a reading is outside in any case, while the band is being learnt too."""
    high: float = math.inf
    """The same above."""
    learn: Annotated[int, Field(ge=0)] | None = None
    """Readings that the band is learnt from; 0: only low and high count. Left out: the monitor's."""
    patience: Positive | None = None
    """Readings in a row outside before an alarm. Left out: the monitor's."""
    absolute: Weight = 0.0
    """Half the learnt band's width is never less than this, in units of the signal."""
    relative: Weight = 0.25
    """Half the learnt band's width is never less than this share of its middle."""
    actions: Escalation = ()
    """What the first alarm leads to, what the second, and so on; later ones repeat the last. A step is one action, or a
    list of actions that are taken together. Empty: alarms are noted only."""

    @model_validator(mode="after")
    def _something_is_watched(self) -> "RuleSection":
        bounds = {"low": [self.low], "high": [self.high], "both": [self.low, self.high]}[self.side]
        if self.learn == 0 and all(math.isinf(bound) for bound in bounds):
            raise ValueError(
                f"learn = 0 and no bound for side {self.side!r}; give low or high, or let a band be learnt"
            )
        if self.low >= self.high:
            raise ValueError(f"low = {self.low} must be less than high = {self.high}")
        return self


class ControlSection(Section):
    """How far an action goes."""

    raise_kl_by: Weight = 0.02
    """Added to the weight of the KL penalty by each raise_kl."""
    raise_margin_by: Weight = 0.5
    """Added to the smallest score gap of a pair by each raise_margin."""
    cap_quantile: Share = 0.9
    """cap: no preference score counts for more than this share of the scores did not exceed at the stage's start."""
    max_roll_backs: Annotated[int, Field(ge=0)] = 2
    """Further ones are left out."""


class MonitorSection(Section):
    """Monitors, their normal bands, alarms, and what these lead to."""

    mode: Literal["off", "observe", "act"] = "observe"
    """off: the tuning split alone is measured; observe: alarms are raised and noted; act: and answered."""
    monitors: tuple[Monitor, ...] = ("perception",)
    """What is measured beside what a step logs in any case."""
    every: Positive = 5
    """Steps between measurements; what costs no pass of the model is measured in every step."""
    completions: Positive = 32
    """Completions of the step that are scored with a masked picture, or for consistency."""
    mask_share: Share = 0.6
    """Share of the patches that are blacked out (PAPO)."""
    mask_patch: Positive = 8
    """Side of a patch in pixels of the processed picture."""
    dependence: Annotated[float, Field(gt=0)] | Literal["learnt"] = 0.1
    """From how many nats on a token depends on the picture; learnt: what 40 % of the tokens exceed at the first
    measurement (VPPO's share)."""
    problems: Positive = 16
    """Problems of the step for gain and swap."""
    blindness: Annotated[tuple[str, ...], Field(min_length=1)] = CANNOT_SEE
    """Regular expressions that find a claim to see no picture."""
    slow: Literal["ema", "start", "current"] = "ema"
    """Who judges whether an answer follows from its thought: a slow copy of the policy (GRPO-CARE), the policy that the
    stage began with, or the policy itself, which needs no second model."""
    slow_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995
    slow_every: Positive = 10
    """Steps between updates of the slow copy."""
    ngram: Annotated[int, Field(ge=2)] = 4
    """Tokens of an n-gram whose repetition is counted."""
    window: Annotated[int, Field(ge=2)] = 10
    """Steps over which preference score and rule reward are followed for parting."""
    probe_split: Literal["random", "popular", "adversarial"] = "adversarial"
    """Which absent objects are asked for where the data name what is visible: any, the most frequent ones, or those
    that most often stand beside the present ones (POPE)."""
    probe_objects: Positive = 3
    """Present objects asked for in each picture, and as many absent ones."""
    learn: Positive = 8
    """Readings at the start of the stage that a signal's normal band is learnt from."""
    spread: Annotated[float, Field(gt=0)] = 4.0
    """Half the width of a band, in standard deviations of those readings."""
    patience: Positive = 2
    """Readings in a row beyond the same edge that raise an alarm."""
    rule: tuple[RuleSection, ...] = ()
    """One for each watched signal. Without any, the table in docs/monitors.md holds."""
    control: ControlSection = ControlSection()

    @model_validator(mode="after")
    def _rules_can_be_asked(self) -> "MonitorSection":
        seen: set[str] = set()
        for rule in self.rule:
            if rule.signal in seen:
                raise ValueError(f'two rules for "{rule.signal}"; put their sides and actions into one')
            seen.add(rule.signal)
            for monitor, signals in SIGNALS.items():
                if rule.signal in signals and monitor not in self.monitors:
                    raise ValueError(
                        f'a rule for "{rule.signal}", which nobody measures; add "{monitor}" to monitors, '
                        "or remove the rule"
                    )
        return self

    @model_validator(mode="after")
    def _patterns_are_expressions(self) -> "MonitorSection":
        for pattern in self.blindness:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"blindness: {pattern!r} is not a regular expression ({error})") from None
        return self
