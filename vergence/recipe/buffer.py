"""The Selective Sample Buffer and its rivals."""

from typing import Annotated, Literal

from pydantic import Field

from vergence.recipe.sections import Positive, Section


class BufferSection(Section):
    """The Selective Sample Buffer."""

    capacity: Annotated[int, Field(ge=0)] = 1024
    """Samples; 0 switches the buffer off."""
    exponent: Annotated[float, Field(ge=0)] = 1.0
    """alpha of |A|^alpha."""
    max_age: Positive = 40
    """Policy versions."""
    max_uses: Positive = 4
    correction: Literal["decoupled", "clip"] = "decoupled"
    correction_limit: Annotated[float, Field(ge=1)] = 2.0
    """Largest importance weight of the decoupled correction."""
