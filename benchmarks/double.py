"""Runs a `vergence` command in double precision: `python -m benchmarks.double ARGUMENTS...`.

In single precision two programs that compute the same drift apart within a few updates, because AdamW turns rounding of
a tiny gradient into a full step. In double precision the drift stays small for a whole run, so equal stays visible.
Only types are changed, from outside: whatever source tree is on the path is run as it is.
"""

import contextlib
import os
import sys
from typing import Any

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import torch
import transformers


def widen() -> None:
    """Make models, pixels and everything that asks for `.float()` double."""
    from vergence.model import policy, reward_head, vision

    tensor: Any = torch.Tensor
    models: Any = transformers.AutoModelForImageTextToText
    of_policy: Any = policy
    of_rewards: Any = reward_head
    of_vision: Any = vision

    torch.set_default_dtype(torch.float64)
    tensor.float = tensor.double
    load, read = models.from_pretrained, of_rewards.load_file
    models.from_pretrained = lambda *a, **k: load(*a, **k | {"dtype": torch.float64}).double()
    of_rewards.load_file = lambda path: {name: value.double() for name, value in read(path).items()}
    of_policy.compute_dtype = lambda device: torch.float64
    of_policy.Policy.precision = lambda self: contextlib.nullcontext()
    if hasattr(of_vision, "pixel_tiles"):  # as it was before prompts were packed
        tiles = of_vision.pixel_tiles
        of_vision.pixel_tiles = lambda *a: (lambda values, counts: (values.double(), counts))(*tiles(*a))
    else:
        pixels: Any = of_vision.Pixels
        move = pixels.to
        pixels.to = lambda self, device: pixels(move(self, device).values.double(), self.rows, self.grids)


if __name__ == "__main__":
    widen()
    from vergence.cli import main

    sys.exit(main(sys.argv[1:]))
