"""Gemma 3: a SigLIP tower, averages of neighbouring patches, one projection; a picture's tokens see each other.

The decoder's layers have a sliding window, but for every sixth. Text embeddings are scaled inside the embedding module,
image embeddings are not.
"""

import math
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vergence.model.families.family import (
    Family,
    Frame,
    Grid,
    Pixels,
    image_token,
    sequence_positions,
    stacked_rows,
)
from vergence.model.families.processor_files import write_processor_files, write_processor_readme
from vergence.model.pretrained import image_processor_from


def _tower(model: Any, pixels: Pixels) -> Float[Tensor, "F D"]:
    """Patches in squares, averaged: the averages have no parameters, so the adapter begins behind them."""
    core = model.model
    patches = core.vision_tower(pixel_values=pixels.values).last_hidden_state
    side = math.isqrt(patches.shape[1])
    square = patches.transpose(1, 2).unflatten(2, (side, side))
    averages: Tensor = core.multi_modal_projector.avg_pool(square)
    return averages.flatten(2).transpose(1, 2).flatten(0, 1)


def _project(model: Any, features: Float[Tensor, "F D"]) -> Float[Tensor, "F W"]:
    projector = model.model.multi_modal_projector
    normed = projector.mm_soft_emb_norm(features)
    return torch.matmul(normed, projector.mm_input_projection_weight).type_as(features)


def crops(image_processor: Any, frame: Frame) -> int:
    """How many crops a picture gets beside itself; 0 unless the checkpoint's image processor pans and scans.

    A long picture is cut across its longer side, into as many pieces as its sides' ratio says, 2 or more.
    """
    if not image_processor.do_pan_and_scan:
        return 0
    long, short = max(frame.height, frame.width), min(frame.height, frame.width)
    smallest = image_processor.pan_and_scan_min_crop_size
    if long / short < image_processor.pan_and_scan_min_ratio_to_activate:
        return 0
    pieces = min(long // smallest, math.floor(long / short + 0.5))
    pieces = min(max(2, pieces), image_processor.pan_and_scan_max_num_crops)
    return pieces if min(math.ceil(long / pieces), short) >= smallest else 0


def _grid(config: Any, image_processor: Any, frame: Frame) -> Grid:
    side = math.isqrt(config.mm_tokens_per_image)
    return (1 + crops(image_processor, frame), side, side)


def _placeholder(config: Any, tokenizer: Any, image_processor: Any, frame: Frame) -> str:
    begin, end = tokenizer.convert_ids_to_tokens([config.boi_token_id, config.eoi_token_id])
    one = f"\n\n{begin}{image_token(config, tokenizer) * config.mm_tokens_per_image}{end}\n\n"
    count = crops(image_processor, frame)
    if count == 0:
        return one
    # the words that the model was trained with
    return f"Here is the original image {one} and here are some crops to help you see better {' '.join([one] * count)}"


def _mark(config: Any, tokenizer: Any) -> str:
    token: str = tokenizer.convert_ids_to_tokens(config.boi_token_id)
    return token


def _image_processor(directory: str) -> Any:
    # by name: the automatic class fails without torchvision on transformers 5.17
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    return image_processor_from(Gemma3ImageProcessorPil, directory)


def _write_extras(directory: Path, config: Any, example_question: str) -> None:
    named = {"processor_class": "Gemma3Processor"}
    processor = named | {"image_seq_length": config.mm_tokens_per_image}
    write_processor_files(directory, {"processor_config.json": processor, "preprocessor_config.json": named})
    write_processor_readme(directory, example_question)


FAMILY = Family(
    model_type="gemma3",
    towers=("siglip_vision_model",),
    roles={
        "vision": ("model.vision_tower.",),
        "adapter": ("model.multi_modal_projector.",),
        "language": ("model.language_model.", "lm_head."),
    },
    unused=lambda config: ("model.vision_tower.head.",),  # it pools patches for other uses
    tower=_tower,
    project=_project,
    language=lambda model: model.model.language_model,
    image_token_id=lambda config: int(config.image_token_id),
    grid=_grid,
    placeholder=_placeholder,
    positions=sequence_positions,
    image_processor=_image_processor,
    read=stacked_rows,
    write_extras=_write_extras,
    mark=_mark,
    two_way=lambda config: (int(config.image_token_id),),
)
