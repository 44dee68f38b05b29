"""Qwen2.5-VL: a tower with windowed attention over pictures of any size, a merger as adapter, positions of three axes.

The merger lies inside the tower's module and folds each square of patches into one image token.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vergence.errors import ModelError
from vergence.model.families.family import Family, Frame, Grid, Pixels, image_token, stacked_rows
from vergence.model.families.processor_files import write_processor_files, write_processor_readme
from vergence.model.pretrained import image_processor_from
from vergence.types import Ints


def mrope_positions(ids: Ints, image_token_id: int, grids: Sequence[Grid]) -> Ints:
    """[3, S] positions in time, height and width of each token of a prompt.

    Text counts up on all three axes alike. A picture's tokens stand at its start plus their place in its grid, and the
    text behind it goes on past the picture's longer side. Example: two words, a picture of 2 x 2 tokens, one word:

        time    0 1 2 2 2 2 4
        height  0 1 2 2 3 3 4
        width   0 1 2 3 2 3 4

    Raises ModelError if the placeholders among `ids` are not those of the pictures.
    """
    placeholders = np.flatnonzero(ids == image_token_id)
    sizes = [time * height * width for time, height, width in grids]
    if len(placeholders) != sum(sizes):
        raise ModelError(
            f"{len(placeholders)} image placeholders for {sum(sizes)} image tokens of {len(grids)} pictures; "
            "the question must not contain the placeholder, and the tokenizer must know it as one token"
        )
    starts = placeholders[np.cumsum([0, *sizes[:-1]])].tolist() if sizes else []
    pieces: list[Ints] = []
    done, position = 0, 0
    for start, size, grid in zip(starts, sizes, grids, strict=True):
        pieces.append(_text_positions(position, start - done))
        position += start - done
        pieces.append(position + np.indices(grid).reshape(3, -1))
        position += max(grid[1:])
        done = start + size
    pieces.append(_text_positions(position, len(ids) - done))
    return np.concatenate(pieces, axis=1)


def positions(config: Any, ids: Ints, grids: Sequence[Grid]) -> Ints:
    """[3, S] see `mrope_positions`."""
    return mrope_positions(ids, int(config.image_token_id), grids)


def _text_positions(start: int, length: int) -> Ints:
    return np.tile(np.arange(start, start + length), (3, 1))


def window_order(grids: Sequence[Grid], side: int) -> Ints:
    """[F] which image token stands where inside the tower, which sorts each picture into windows of `side` x `side`.

    Windows go in reading order, and so do the tokens of a window.
    """
    orders, done = [], 0
    for grid in grids:
        time, row, column = np.indices(grid).reshape(3, -1)
        orders.append(done + np.lexsort((column, row, column // side, row // side, time)))
        done += grid[0] * grid[1] * grid[2]
    return np.concatenate(orders)


def _tower(model: Any, pixels: Pixels) -> Float[Tensor, "F D"]:
    """Patches of one image token side by side: D is the tower's width times the patches that the merger folds."""
    config = model.config.vision_config
    merge = config.spatial_merge_size
    patches = torch.tensor([(time, merge * height, merge * width) for time, height, width in pixels.grids])
    # the tower runs its merger as well; that is small, and what stands before it is what both ways are built on
    output = model.model.visual(pixels.values, grid_thw=patches.to(pixels.values.device))
    order = window_order(pixels.grids, config.window_size // merge // config.patch_size)
    in_place = torch.from_numpy(np.argsort(order)).to(pixels.values.device)
    features: Tensor = output.last_hidden_state.reshape(len(order), -1)[in_place]
    return features


def _project(model: Any, features: Float[Tensor, "F D"]) -> Float[Tensor, "F W"]:
    projected: Tensor = model.model.visual.merger(features.reshape(-1, model.config.vision_config.hidden_size))
    return projected


def grid(config: Any, image_processor: Any, frame: Frame) -> Grid:
    """A picture of any size becomes whole cells of merged patches. Raises ValueError for one that is far too narrow."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    cell = image_processor.patch_size * image_processor.merge_size
    size = image_processor.size
    least, most = size["shortest_edge"], size["longest_edge"]
    resized = smart_resize(frame.height, frame.width, cell, min_pixels=least, max_pixels=most)
    return (1, resized[0] // cell, resized[1] // cell)


def placeholder(config: Any, tokenizer: Any, image_processor: Any, frame: Frame) -> str:
    """One placeholder for each cell."""
    # the chat template writes <|vision_start|> and <|vision_end|> around it
    return image_token(config, tokenizer) * math.prod(grid(config, image_processor, frame))


def image_processor(directory: str) -> Any:
    """The one that all of Qwen's models have, from Qwen2-VL on."""
    # by name: the automatic class fails without torchvision on transformers 5.17
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    return image_processor_from(Qwen2VLImageProcessorPil, directory)


def _write_extras(directory: Path, config: Any, example_question: str) -> None:
    named = {"processor_class": "Qwen2_5_VLProcessor"}
    video = named | {"video_processor_type": "Qwen2VLVideoProcessor"}
    files = {"processor_config.json": named, "video_preprocessor_config.json": video, "preprocessor_config.json": named}
    write_processor_files(directory, files)
    write_processor_readme(directory, example_question, "`AutoProcessor` needs torchvision for this model.")


FAMILY = Family(
    model_type="qwen2_5_vl",
    towers=("qwen2_5_vl_vision", "qwen2_5_vl"),  # the second is what older checkpoints call it
    roles={
        "vision": ("model.visual.",),
        "adapter": ("model.visual.merger.",),
        "language": ("model.language_model.", "lm_head."),
    },
    unused=lambda config: (),
    tower=_tower,
    project=_project,
    language=lambda model: model.model.language_model,
    image_token_id=lambda config: int(config.image_token_id),
    grid=grid,
    placeholder=placeholder,
    positions=positions,
    image_processor=image_processor,
    read=stacked_rows,
    write_extras=_write_extras,
)
