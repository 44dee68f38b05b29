"""Where to compute."""

import torch

from vergence.errors import RecipeError


def choose_device(name: str) -> torch.device:
    """`auto` takes a GPU where there is one. Raises RecipeError if the device asked for is absent."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise RecipeError(f'device = "{name}": this machine has none; use "auto" or "cpu"')
    return torch.device(name)
