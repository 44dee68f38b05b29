"""Real handwritten digits (scikit-learn's, 1,797 pictures of 8x8) drawn onto 2x2 scenes of 32x32 pixels.

The pictures are split three ways *by picture*, never by scene: train (1,077) for training, tuning (360) for
choosing settings, test (360) for published numbers only.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from vergence.seeds import seed_of

Split = Literal["train", "tuning", "test"]

GRID = 2
CELL = 16
SIDE = GRID * CELL
_BOUNDS: dict[Split, tuple[int, int]] = {"train": (0, 1077), "tuning": (1077, 1437), "test": (1437, 1797)}


@dataclass(frozen=True, slots=True, eq=False)
class Scenes:
    """N scenes and what is on them."""

    pixels: UInt8[Tensor, "N 32 32"]
    """Grey, 0 is background."""
    digits: Int[Tensor, "N 4"]
    """Reading order: top left, top right, bottom left, bottom right."""


@cache
def _pictures(split: Split) -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits  # heavy, and needed by this task alone

    data = load_digits()
    order = np.random.RandomState(0).permutation(len(data.target))  # the split is the same for every seed
    chosen = order[slice(*_BOUNDS[split])]
    images = torch.from_numpy(data.images[chosen] / 16.0).float()
    return images, torch.from_numpy(data.target[chosen]).long()


def draw_scenes(split: Split, count: int, *key: int | str) -> Scenes:
    """`count` scenes from the pictures of one split; equal keys give equal scenes.

    Each digit is enlarged from 8x8 to 16x16 through a random affine grid: scale 1.1 +- 15 %, rotation +- 0.2 rad,
    shear +- 0.2, shift +- 0.12 of the half width.
    """
    images, labels = _pictures(split)
    rng = torch.Generator().manual_seed(seed_of("scenes", split, *key))
    total = count * GRID * GRID
    picked = torch.randint(len(images), (total,), generator=rng)

    def uniform(half_width: float) -> Tensor:
        return (torch.rand(total, generator=rng) * 2 - 1) * half_width

    scale, angle, shear = 1.1 * (1 + uniform(0.15)), uniform(0.2), uniform(0.2)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    first = torch.stack([cos, shear * cos - sin, uniform(0.12)], dim=1)
    second = torch.stack([sin, shear * sin + cos, uniform(0.12)], dim=1)
    grid = functional.affine_grid(torch.stack([first, second], dim=1), [total, 1, CELL, CELL], align_corners=False)
    cells = functional.grid_sample(images[picked, None], grid, align_corners=False)
    tiles = cells.view(count, GRID, GRID, CELL, CELL).transpose(2, 3).reshape(count, SIDE, SIDE)
    pixels = (tiles.clamp(0, 1) * 255).round().to(torch.uint8)
    return Scenes(pixels, labels[picked].view(count, GRID * GRID))


def normalised(pixels: UInt8[Tensor, "N 32 32"]) -> Float[Tensor, "N 3 32 32"]:
    """Pixels as the image processor hands them to the tower: -1..1, three equal channels."""
    return (pixels.float() / 127.5 - 1.0)[:, None].expand(-1, 3, -1, -1)
