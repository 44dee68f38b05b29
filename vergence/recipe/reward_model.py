"""Stages reward_model and load_reward_model: their keys."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from vergence.recipe.sections import (
    Model,
    Optimizer,
    Positive,
    Roles,
    SamplingSection,
    Section,
    Share,
    StageSection,
    Trained,
    Weight,
)


class SourcesSection(Section):
    """Which comparisons are made: for each source the share of good responses for which it makes one."""

    rule: Share = 1.0
    """Against another response of the group that is wrong or in bad form."""
    reasoning: Share = 1.0
    """Against another response of the group that is well-formed and wrong."""
    corruption: Share = 1.0
    """Against a damaged version of itself."""
    elsewhere: Share = 1.0
    """Against a good response to another problem; also made of the chosen responses of `pairs_file`."""
    wrong_image: Share = 1.0
    """The same response with another problem's picture; also made of the chosen responses of `pairs_file`."""


class SecondPhase(Section):
    """A second phase that mixes pairs without pictures in, at a lower learning rate (Skywork-VL Reward)."""

    steps: Annotated[int, Field(ge=0)] = 0
    """Updates; 0 leaves the phase out. It is also left out where `pairs_file` has no pair without pictures."""
    learning_rate_factor: Annotated[float, Field(gt=0)] = 0.1
    """Of every learning rate of the stage."""
    text_share: Share = 0.5
    """Of a batch that has no pictures, on average."""


class RewardModelStage(StageSection):
    """Train a Bradley-Terry preference model on comparisons made from rules, corruptions and wrong pictures."""

    NEEDS: ClassVar[tuple[Model, ...]] = ("policy",)
    GIVES: ClassVar[tuple[Model, ...]] = ("reward_model",)
    type: Literal["reward_model"]
    prompts: Positive = 512
    """Training problems whose sampled completions become comparisons."""
    held_out: Positive = 128
    """Further problems, for the report and the calibration."""
    pairs_file: Path | None = None
    """A file of preference pairs to learn from as well (docs/reward_models.md)."""
    held_out_file: Path | None = None
    """A file of preference pairs that the report counts as well."""
    steps: Positive = 240
    batch_size: Positive = 32
    """Comparisons per update."""
    sources: SourcesSection = SourcesSection()
    second: SecondPhase = SecondPhase()
    sampling: SamplingSection = SamplingSection()
    train: Roles = Roles(adapter=Trained(learning_rate=5e-4), language=Trained(learning_rate=5e-4))
    head_learning_rate: Weight = 2e-3
    optimizer: Optimizer = Optimizer(betas=(0.9, 0.999), schedule="cosine", warmup=0.1)

    @model_validator(mode="after")
    def _trained_in_full(self) -> "RewardModelStage":
        low = [name for name in ("vision", "adapter", "language") if getattr(self.train, name).lora is not None]
        if low:
            raise ValueError(f"train.{low[0]}.lora: a reward model is trained in full; remove it, or freeze the role")
        return self

    @model_validator(mode="after")
    def _something_to_learn_from(self) -> "RewardModelStage":
        if self.pairs_file is None and not any(self.sources.model_dump().values()):
            raise ValueError("every share of sources is 0 and there is no pairs_file; raise one, or name a file")
        return self


class LoadRewardModelStage(StageSection):
    """Take a reward model from elsewhere: one of ours, any sequence classifier, or one behind HTTP."""

    GIVES: ClassVar[tuple[Model, ...]] = ("reward_model",)
    type: Literal["load_reward_model"]
    kind: Literal["vergence", "classifier", "value_head", "http"] = "vergence"
    """vergence: a directory made here; classifier: a Hugging Face sequence classifier with one label; value_head: a
    vision-language model with trl's value head, such as Skywork-VL-Reward-7B; http: a server of the scoring form
    (docs/reward_models.md)."""
    path: Path | None = None
    """The directory, for every kind but http."""
    url: str | None = None
    """The server's address, for http, e.g. "http://127.0.0.1:8000"."""
    model: str = ""
    """The name under which the server knows the model; left out: the first that it lists."""
    timeout: Annotated[float, Field(gt=0)] = 60.0
    """Seconds for one request to a server."""
    retries: Annotated[int, Field(ge=0)] = 4
    """Further attempts after a failed request, each after twice the wait."""
    prompts: Annotated[int, Field(ge=0)] = 128
    """Training problems whose responses by the policy calibrate the scores; 0 keeps the calibration that a directory
    of ours has, and leaves the scores of any other kind raw."""
    sampling: SamplingSection = SamplingSection()

    def needs(self) -> tuple[Model, ...]:
        """A policy only to calibrate on its responses."""
        return ("policy",) if self.prompts else ()

    @model_validator(mode="after")
    def _named_as_its_kind_asks(self) -> "LoadRewardModelStage":
        wanted, other = ("url", "path") if self.kind == "http" else ("path", "url")
        if getattr(self, wanted) is None:
            raise ValueError(f'kind = "{self.kind}" needs the key "{wanted}"')
        if getattr(self, other) is not None:
            raise ValueError(f'kind = "{self.kind}" has no use for the key "{other}"; remove it')
        return self
