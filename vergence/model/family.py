"""The seam between Vergence and a family of Hugging Face models: where its parts are, how images expand.

A family is one frozen value made by one small file. Everything else about a model is generic.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

Role = Literal["vision", "adapter", "language"]
ROLES: tuple[Role, ...] = ("vision", "adapter", "language")


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """How one family of models is laid out."""

    model_type: str
    """`config.model_type` of the checkpoints it serves."""
    roles: dict[Role, tuple[str, ...]]
    """Role to the prefixes of its parameters' names."""
    tower: Callable[[Any, Tensor], Tensor]
    """(model, pixel tiles [K, 3, H, W]) -> tower features [K, tokens, D], up to but not including the adapter."""
    project: Callable[[Any, Tensor], Tensor]
    """(model, tower features) -> image embeddings [K, tokens, width of the language model]."""
    language: Callable[[Any], Any]
    """The decoder without its head: takes inputs_embeds and a cache, gives last_hidden_state."""
    image_token_id: Callable[[Any], int]
    """(config) -> the id of the placeholder that an image embedding replaces."""
    placeholder: Callable[[Any, Any, int], str]
    """(config, tokenizer, tiles of an image) -> the text that stands for that image in a prompt."""
    tiles: Callable[[Any, int, int], int]
    """(image processor, height, width) -> into how many tiles a picture of that size is cut."""
    image_processor: Callable[[str], Any]
    """(model directory) -> the PIL image processor, which needs no torchvision."""
    write_extras: Callable[[Path, Any, str], None]
    """(directory, config, an example question) -> writes what the parts do not save by themselves."""
