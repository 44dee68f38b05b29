"""How preference scores are computed and kept: the keys of `[scores]`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from vergence.recipe.sections import Section


class ScoresSection(Section):
    """How preference scores are computed and kept."""

    place: Literal["here", "child"] = "here"
    """here: in the process of the run; child: in one of its own, which is started again if it dies."""
    deadline: Annotated[float, Field(gt=0)] = 300.0
    """Seconds that a child may take for the scores of one call."""
    remembered: Annotated[int, Field(ge=0)] = 0
    """Scores kept in memory from step to step, and in checkpoints; 0 keeps none."""
    disk: Path | None = None
    """A file of scores, shared by runs, in place of that memory."""
