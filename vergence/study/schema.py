"""What a study file may say. Free of torch, closed to unknown keys; recipes themselves are checked by `plan`."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from vergence.recipe.sections import Name, Positive, Section

VariantName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.,=+-]*$")]
"""Also the name of a directory."""
Texts = Annotated[tuple[str, ...], Field(strict=False)]
MAX_LINES = 8
"""Variants that one figure can tell apart by colour."""


class EqualBudget(Section):
    """An equal budget for every variant, put into one stage of each: `stage.LABEL.budget`."""

    stage: str
    """The stage's label."""
    tokens: Positive | None = None
    """Generated tokens."""
    cpu_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> "EqualBudget":
        if (self.tokens is None) == (self.cpu_seconds is None):
            raise ValueError("give one of tokens and cpu_seconds")
        return self

    def override(self) -> str:
        """As a `--set` argument."""
        limit = f"tokens={self.tokens}" if self.tokens is not None else f"cpu_seconds={self.cpu_seconds}"
        return f"stage.{self.stage}.budget.{limit}"


class VariantSection(Section):
    """One way to run the recipe."""

    name: VariantName
    set: Texts = ()
    """Overrides, `KEY=VALUE` as after `--set`; they come after those of the study."""
    without: Texts = ()
    """Labels of stages that are left out, beside those of the study."""


class FigureSection(Section):
    """One metric over the course of a stage: a line for each variant, the mean of its seeds, in a band of +- sd."""

    stage: str
    metric: str
    against: Literal["step", "tokens", "cpu_seconds"] = "step"
    """What stands on the horizontal axis; tokens and cpu_seconds are the metrics `spent/...` of the same lines."""
    variants: Texts = ()
    """Which variants are drawn; all of them, if left out."""


class TableSection(Section):
    """What is compared."""

    columns: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = (
        "test/greedy_accuracy",
        "test/sampled_accuracy",
        "test/hallucination_rate",
    )
    """`[STAGE:]test/FIGURE` is a figure of the test split, of the last policy or of a stage's;
    `STAGE:METRIC[:HOW]` a metric of a stage over its steps."""


class Study(Section):
    """A whole study."""

    name: Name
    base: str
    """A recipe file, relative to the study file, or the name of a built-in recipe."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False, min_length=1)]
    set: Texts = ()
    """Overrides for every variant."""
    without: Texts = ()
    """Labels of stages that every variant leaves out."""
    reference: str | None = None
    """The variant that the others are compared with, seed by seed; left out: no comparison."""
    budget: EqualBudget | None = None
    variant: Annotated[tuple[VariantSection, ...], Field(strict=False)] = ()
    grid: dict[str, Annotated[tuple[Any, ...], Field(strict=False, min_length=1)]] = Field(default_factory=dict)
    """Key to values: every combination is a variant, crossed with `variant` where both are given."""
    figure: Annotated[tuple[FigureSection, ...], Field(strict=False)] = ()
    table: TableSection = TableSection()

    @model_validator(mode="after")
    def _seeds_differ(self) -> "Study":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: each once, found {list(self.seeds)}")
        return self

    @model_validator(mode="after")
    def _something_to_run(self) -> "Study":
        if not self.variant and not self.grid:
            raise ValueError("nothing to run: give [[variant]] entries, or a [grid], or both")
        return self
