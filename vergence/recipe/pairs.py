"""Which pairs preference optimisation learns from."""

import math
from typing import Annotated, Literal

from pydantic import Field

from vergence.recipe.sections import Positive, Section


class PairsSection(Section):
    """Which pairs preference optimisation learns from."""

    judge: Literal["reward_model", "rules"] = "reward_model"
    """Who measures the margin. With rules alone every right answer is infinitely better than every wrong one."""
    min_margin: Annotated[float, Field(ge=-math.inf)] = 0.0
    """Smallest score gap, in calibrated units (R1V2's threshold 7/10/15 is in raw units of its own reward model)."""
    max_length_ratio: Annotated[float, Field(ge=1)] = 4.0
    max_per_prompt: Positive = 2
    format_negatives: bool = True
    """Whether a right answer in bad form may be rejected against a right answer in good form."""
