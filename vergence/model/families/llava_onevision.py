"""LLaVA-OneVision: a SigLIP tower over a whole picture and over tiles of it, an MLP adapter, any decoder.

A picture that is alone in its prompt is scaled to the best of several shapes and padded to whole tiles; the tower sees
the whole picture once more, scaled to one tile. Behind the adapter the tiles' patches are laid out as one sheet, the
padding is cut off, a sheet that is too large is scaled down, and each of its rows ends in a learned newline. A picture
among others is one padded square and one newline (transformers' `batch_num_images`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from vergence.errors import ModelError
from vergence.model.families.family import Family, Frame, Grid, Pixels, image_token, sequence_positions
from vergence.model.families.llava import layers_side_by_side, read_layers
from vergence.model.families.processor_files import write_processor_files, write_processor_readme
from vergence.model.families.towers import unread
from vergence.model.pretrained import image_processor_from

SCALED_DOWN = 1.1
"""How much longer than the limit a sheet's sides may be, taken together, before it is scaled down."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """How the tiles of one picture become rows of image tokens. All in patches, (rows, columns)."""

    tiles: tuple[int, int]
    """Tiles, not patches."""
    cut: tuple[int, int]
    """Padding at the top and at the bottom, at the left and at the right."""
    shown: tuple[int, int]
    """What is left, and scaled down."""

    @property
    def tokens(self) -> int:
        """Patches and newlines."""
        return self.shown[0] * (self.shown[1] + 1)


def sheet_of(config: Any, frame: Frame) -> Sheet:
    """The sheet of a picture that is alone in its prompt."""
    from transformers.image_processing_utils import select_best_resolution

    side, tile = _side(config), config.vision_config.image_size
    height, width = select_best_resolution((frame.height, frame.width), config.image_grid_pinpoints)
    tiles = (height // tile, width // tile)
    rows, columns = tiles[0] * side, tiles[1] * side
    above = left = 0
    # the side that the picture fills is kept, the other one loses what lies beyond the picture; transformers rounds
    # to seven places and then down
    if frame.width / frame.height > columns / rows:
        above = (rows - int(round(frame.height * (columns / frame.width), 7))) // 2
    else:
        left = (columns - int(round(frame.width * (rows / frame.height), 7))) // 2
    kept = (rows - 2 * above, columns - 2 * left)
    most = int(config.vision_aspect_ratio.rsplit("_", 1)[-1])
    ratio = math.sqrt(kept[0] * kept[1] / (most * side**2))
    shown = (int(kept[0] // ratio), int(kept[1] // ratio)) if ratio > SCALED_DOWN else kept
    return Sheet(tiles, (above, left), shown)


def _side(config: Any) -> int:
    """Patches of a tile, in a row."""
    if config.vision_feature_select_strategy != "full":
        raise ModelError(
            f'vision_feature_select_strategy = "{config.vision_feature_select_strategy}": expected "full", because the '
            "tower has no class token to leave out; correct the checkpoint's config.json"
        )
    return int(config.vision_config.image_size // config.vision_config.patch_size)


def _grid(config: Any, image_processor: Any, frame: Frame) -> Grid:
    tokens = _side(config) ** 2 + (sheet_of(config, frame).tokens if frame.alone else 1)
    return (tokens, 1, 1)  # rows of different lengths lie on no grid


def _placeholder(config: Any, tokenizer: Any, image_processor: Any, frame: Frame) -> str:
    return image_token(config, tokenizer) * math.prod(_grid(config, image_processor, frame))


def _read(image_processor: Any, picture: Any, frame: Frame) -> Tensor:
    # a picture is among others if the image processor sees two in one prompt; which others does not matter
    prompt = [picture] if frame.alone else [picture, picture]
    values: Tensor = image_processor([prompt], return_tensors="pt")["pixel_values"]
    return values[0]


def _features(config: Any, pixels: Pixels) -> list[int]:
    return [rows * _side(config) ** 2 for rows in pixels.rows]


def _project(model: Any, features: Float[Tensor, "F D"]) -> Float[Tensor, "F W"]:
    projected: Tensor = model.model.multi_modal_projector(features)
    return projected


def _arrange(model: Any, projected: Float[Tensor, "K W"], frames: Sequence[Frame]) -> Float[Tensor, "F W"]:
    side, newline = _side(model.config), model.model.image_newline.to(projected.dtype)
    sheets = [sheet_of(model.config, frame) if frame.alone else None for frame in frames]
    counts = [side**2 * (1 if sheet is None else 1 + math.prod(sheet.tiles)) for sheet in sheets]
    parts: list[Tensor] = []
    for sheet, rows in zip(sheets, projected.split(counts), strict=True):
        parts.append(rows[: side**2])
        parts.append(newline[None] if sheet is None else _laid_out(rows[side**2 :], sheet, side, newline))
    return torch.cat(parts)


def _laid_out(patches: Float[Tensor, "K W"], sheet: Sheet, side: int, newline: Float[Tensor, "W"]) -> Tensor:
    """[rows x (columns + 1), W] the sheet in reading order, each row with its newline."""
    (down, across), (above, left), width = sheet.tiles, sheet.cut, patches.shape[1]
    whole = patches.view(down, across, side, side, width).transpose(1, 2).reshape(down * side, across * side, width)
    kept = whole[above : down * side - above, left : across * side - left]
    if kept.shape[:2] != sheet.shown:
        kept = interpolate(kept.permute(2, 0, 1)[None], sheet.shown, mode="bilinear")[0].permute(1, 2, 0)
    ends = newline.expand(len(kept), 1, -1)
    return torch.cat([kept, ends], dim=1).flatten(0, 1)


def _unused(config: Any) -> tuple[str, ...]:
    """The tower's layers behind the last one that is read, and what only its last output passes."""
    return unread(config.vision_config, "model.vision_tower.", max(read_layers(config)))


def _image_processor(directory: str) -> Any:
    # by name: the automatic class fails without torchvision on transformers 5.17
    from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
        LlavaOnevisionImageProcessorPil,
    )

    return image_processor_from(LlavaOnevisionImageProcessorPil, directory)


def _write_extras(directory: Path, config: Any, example_question: str) -> None:
    named = {"processor_class": "LlavaOnevisionProcessor"}
    processor = named | {
        "num_image_tokens": _side(config) ** 2,
        "vision_feature_select_strategy": config.vision_feature_select_strategy,
        "vision_aspect_ratio": config.vision_aspect_ratio,
    }
    video = named | {"video_processor_type": "LlavaOnevisionVideoProcessor"}
    files = {
        "processor_config.json": processor,
        "video_preprocessor_config.json": video,
        "preprocessor_config.json": named,
    }
    write_processor_files(directory, files)
    write_processor_readme(directory, example_question, "`AutoProcessor` needs torchvision for this model.")


FAMILY = Family(
    model_type="llava_onevision",
    towers=("siglip_vision_model",),
    roles={
        "vision": ("model.vision_tower.",),
        "adapter": ("model.multi_modal_projector.", "model.image_newline"),
        "language": ("model.language_model.", "lm_head."),
    },
    unused=_unused,
    tower=lambda model, pixels: layers_side_by_side(model, pixels.values).flatten(0, 1),
    project=_project,
    language=lambda model: model.model.language_model,
    image_token_id=lambda config: int(config.image_token_id),
    grid=_grid,
    placeholder=_placeholder,
    positions=sequence_positions,
    image_processor=_image_processor,
    read=_read,
    write_extras=_write_extras,
    features=_features,
    arrange=_arrange,
)
