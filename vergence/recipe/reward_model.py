"""Stage reward_model: its keys."""

from typing import ClassVar, Literal

from vergence.recipe.sections import Model, Optimizer, Positive, Roles, SamplingSection, StageSection, Trained, Weight


class RewardModelStage(StageSection):
    """Train a Bradley-Terry preference model on pairs made from rules and corruptions."""

    NEEDS: ClassVar[tuple[Model, ...]] = ("policy",)
    GIVES: ClassVar[tuple[Model, ...]] = ("reward_model",)
    type: Literal["reward_model"]
    prompts: Positive = 512
    """Training problems whose sampled completions become pairs."""
    held_out: Positive = 128
    """Further problems, for the reported accuracy and the calibration."""
    steps: Positive = 120
    batch_size: Positive = 32
    """Pairs per update."""
    sampling: SamplingSection = SamplingSection()
    train: Roles = Roles(adapter=Trained(learning_rate=5e-4), language=Trained(learning_rate=5e-4))
    head_learning_rate: Weight = 2e-3
    optimizer: Optimizer = Optimizer(betas=(0.9, 0.999), schedule="cosine", warmup=0.1)
