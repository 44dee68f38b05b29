"""The vision parent: a small InternViT trained from nothing to tell which digit is in each quarter of a scene."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from transformers import InternVLVisionConfig, InternVLVisionModel

from vergence.digits.scenes import GRID, SIDE, draw_scenes, normalised
from vergence.run.stage_run import StageRun
from vergence.update.learner import Learner, LossPart, ParameterGroup
from vergence.update.schedule import cosine, span_of

WIDTH = 64
PATCH = 8
TOKENS = GRID * GRID
"""Image tokens of a scene after the pixel shuffle: one per digit."""


@dataclass(frozen=True, slots=True)
class TowerSettings:
    """How the tower is trained. The defaults read 97.7 % of single digits of the tuning pictures."""

    scenes: int = 38400
    steps: int = 600
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.05


def tower_config() -> InternVLVisionConfig:
    """16 patches of 8x8, 64 wide, 3 layers, 2 heads: 0.16 M parameters."""
    return InternVLVisionConfig(
        image_size=[SIDE, SIDE],
        patch_size=[PATCH, PATCH],
        hidden_size=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=4 * WIDTH,
        attention_bias=True,
        use_absolute_position_embeddings=True,
        hidden_dropout_prob=0.0,
        attention_dropout=0.0,
        projection_dropout=0.0,
        layer_scale_init_value=0.1,
        use_mean_pooling=True,
    )


def tower_image_processor() -> Any:
    """How the tower's pictures are made: 32 x 32 pixels, colours from -1 to 1."""
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    half = [0.5, 0.5, 0.5]
    size = {"height": SIDE, "width": SIDE}
    return GotOcr2ImageProcessorPil(size=size, image_mean=half, image_std=half, crop_to_patches=False, max_patches=1)


@final
class DigitReader(nn.Module):
    """The tower with a throw-away head that names the digit under each image token."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.tower = InternVLVisionModel(tower_config())
            self.head = nn.Sequential(nn.LayerNorm(4 * WIDTH), nn.Linear(4 * WIDTH, 10))

    def forward(self, pixels: Float[Tensor, "N 3 32 32"]) -> Float[Tensor, "N 4 10"]:
        """Logits over the ten digits, for each quarter in reading order."""
        patches = self.tower(pixel_values=pixels).last_hidden_state[:, 1:]
        side = SIDE // PATCH
        quarters = patches.view(-1, GRID, side // GRID, GRID, side // GRID, WIDTH).transpose(2, 3)
        logits: Tensor = self.head(quarters.reshape(-1, TOKENS, 4 * WIDTH))
        return logits


def train_tower(run: StageRun, settings: TowerSettings, device: torch.device) -> InternVLVisionModel:
    """Train the reader, log its accuracy on the tuning pictures, return the tower without its head."""
    reader = DigitReader(run.seed("init")).to(device)
    learner = Learner(
        [ParameterGroup("vision", dict(reader.named_parameters()), settings.learning_rate, settings.weight_decay)],
        betas=(0.9, 0.999),
        clip_norm=1.0,
        schedule=cosine(warmup=0.1, floor=0.0),
    )
    train = draw_scenes("train", settings.scenes, run.seed("scenes"))
    tuning = draw_scenes("tuning", 480, "tower")
    pixels, digits = normalised(train.pixels).to(device), train.digits.to(device)
    for step in run.steps(settings.steps, {"learner": learner}):
        rng = torch.Generator().manual_seed(run.seed(step, "batch"))
        rows = torch.randint(len(digits), (settings.batch_size,), generator=rng)
        run.log(learner.update(_parts(reader, pixels[rows], digits[rows]), span_of(step, settings.steps)))
        if step + 1 == settings.steps:
            run.log(_accuracy(reader, normalised(tuning.pixels).to(device), tuning.digits.to(device)))
    tower: InternVLVisionModel = reader.tower.eval()
    return tower


def _parts(reader: DigitReader, pixels: Tensor, digits: Int[Tensor, "N 4"]) -> Iterable:
    def part() -> LossPart:
        logits = reader(pixels).flatten(0, 1)
        right = (logits.detach().argmax(-1) == digits.flatten()).float().mean()
        return LossPart(functional.cross_entropy(logits, digits.flatten()), {"accuracy": right})

    return [part]


@torch.no_grad()
def _accuracy(reader: DigitReader, pixels: Tensor, digits: Tensor) -> dict[str, float]:
    right = reader(pixels).argmax(-1) == digits
    return {
        "tuning/digit_accuracy": right.float().mean().item(),
        "tuning/scene_accuracy": right.all(1).float().mean().item(),
    }
