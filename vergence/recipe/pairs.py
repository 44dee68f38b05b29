"""Which pairs preference optimisation learns from."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from vergence.recipe.sections import Positive, Section

Ratio = Annotated[float, Field(ge=1)]
PairSource = Literal["rules", "margin", "dropout"]


class PairsSection(Section):
    """Which pairs preference optimisation learns from."""

    sources: tuple[PairSource, ...] = ("rules",)
    """rules: right and well-formed against wrong or badly formed; margin: two equally good responses, by the reward
    model's score; dropout: a good response against its own first half continued without seeing the picture."""
    judge: Literal["reward_model", "rules"] = "reward_model"
    """Who measures the margin. With rules alone every right answer is infinitely better than every wrong one."""
    graded: bool = True
    """Whether the data's answers are the truth. If not, well-formed responses count as good, whatever they answer."""
    min_margin: Annotated[float, Field(ge=-math.inf)] = 0.0
    """tau, the smallest score gap between chosen and rejected (R1V2's threshold), in the unit of the next key."""
    margin_unit: Literal["calibrated", "raw", "quantile"] = "calibrated"
    """calibrated: spreads of the reward model's calibration set; raw: the reward model's own numbers (R1V2's 7, 10,
    15); quantile: tau is the gap below which this share of a round's candidates lies, measured in each round."""
    max_length_ratio: Ratio = 4.0
    format_length_ratio: Ratio = 4.0
    """The same limit for right answers in bad form, which are often a bare number; inf lets them all pass."""
    max_per_prompt: Positive = 2
    format_negatives: bool = True
    """Whether a right answer in bad form may be rejected against a right answer in good form."""
    dropout: Annotated[int, Field(ge=0)] = 0
    """Pairs of source dropout per prompt; 1 where `sources` names dropout and this is not set."""
    file: Path | None = None
    """Pairs that `vergence pairs` made, in place of sampling; every key above is then settled and unread."""

    @model_validator(mode="before")
    @classmethod
    def _one_continuation_unless_said(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "dropout" in given.get("sources", ()) and "dropout" not in given:
            return dict(given) | {"dropout": 1}
        return given

    @model_validator(mode="after")
    def _parts_fit(self) -> "PairsSection":
        if not self.sources or len(set(self.sources)) < len(self.sources):
            raise ValueError(f"sources = {list(self.sources)} must name each of rules, margin, dropout at most once")
        if ("dropout" in self.sources) != (self.dropout > 0):
            raise ValueError(
                f'sources = {list(self.sources)} and dropout = {self.dropout} contradict each other; name "dropout" in '
                "sources and give at least 1, or neither"
            )
        if not self.graded and "rules" in self.sources:
            raise ValueError('graded = false, and source "rules" needs right answers; use "margin" or "dropout"')
        if self.judge == "rules" and "margin" in self.sources:
            raise ValueError('source "margin" needs a reward model, and judge = "rules"; use judge = "reward_model"')
        if self.judge == "rules" and self.margin_unit != "calibrated":
            raise ValueError(
                f'margin_unit = "{self.margin_unit}" measures score gaps, and with judge = "rules" there are none; '
                'use judge = "reward_model", or leave the unit out'
            )
        if self.margin_unit == "quantile" and not 0 <= self.min_margin <= 1:
            raise ValueError(f'min_margin = {self.min_margin} must lie in 0..1 with margin_unit = "quantile"')
        return self
