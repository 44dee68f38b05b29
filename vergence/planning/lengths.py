"""How long prompts will be: measured on the recipe's own data where they and the model are there, else as told."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vergence.errors import ModelError
from vergence.model.families.family import Frame
from vergence.model.families.known import family_of
from vergence.model.needed_files import base_of
from vergence.model.policy import Policy, encode, processors_template
from vergence.model.pretrained import model_built, read_config, reason_of, tokenizer_from
from vergence.planning.shape import ModelShape
from vergence.planning.work import Lengths
from vergence.types import Problem

LOOKED_AT = 64
"""Problems whose prompts are made to measure their lengths."""


def told_lengths(
    shape: ModelShape, config: Any, *, text_tokens: int, pictures: int, size: tuple[int, int], response_tokens: int
) -> Lengths:
    """From numbers; a picture of `size` (height, width) is cut as the model's published processor does it."""
    height, width = size
    grid = family_of(config).grid(config, published_processor(config), Frame(height, width, pictures < 2))
    return Lengths(
        text_tokens=text_tokens,
        pictures=pictures,
        patches=math.prod(grid) * shape.tower.fold,
        response_tokens=response_tokens,
    )


def data_lengths(shape: ModelShape, directory: Path, problems: list[Problem], response_tokens: int) -> Lengths:
    """Mean lengths of the prompts of `problems`, made by the model's own tokenizer and processor; no weights."""
    policy = weightless(directory)
    prompts = [encode(policy, problem) for problem in problems[:LOOKED_AT]]
    image = [int((prompt.token_ids == policy.image_token_id).sum()) for prompt in prompts]
    whole = [len(prompt.token_ids) for prompt in prompts]
    count = sum(len(prompt.problem.images) for prompt in prompts)
    return Lengths(
        text_tokens=round(float(np.mean(np.subtract(whole, image)))),
        pictures=round(count / len(prompts)),
        patches=round(sum(image) * shape.tower.fold / max(1, count)),
        response_tokens=response_tokens,
    )


def weightless(directory: Path) -> Policy:
    """A checkpoint's tokenizer, processor and config; its model has no memory. Low-rank updates are read as what they
    belong to. Raises ModelError if the directory holds none.
    """
    from transformers import AutoModelForImageTextToText

    directory = base_of(directory)
    config = read_config(directory)
    family = family_of(config)
    try:
        with torch.device("meta"):
            model: Any = model_built(AutoModelForImageTextToText, config)
        tokenizer = tokenizer_from(directory)
        tokenizer.chat_template = tokenizer.chat_template or processors_template(directory)
        processor = family.image_processor(str(directory))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{directory}: not a loadable vision-language model ({reason_of(error)})") from error
    return Policy(model, tokenizer, processor, family, torch.float32)


def published_processor(config: Any) -> Any:
    """The image processor that models of this kind are published with. Tiles: up to 12 and a thumbnail, as in R1V2."""
    match config.model_type:
        case "qwen2_5_vl":
            from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

            vision = config.vision_config
            return Qwen2VLImageProcessorPil(
                size={"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 16384},
                patch_size=vision.patch_size,
                merge_size=vision.spatial_merge_size,
            )
        case "internvl":
            from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

            height, width = config.vision_config.image_size
            return GotOcr2ImageProcessorPil(
                size={"height": height, "width": width}, crop_to_patches=True, min_patches=1, max_patches=12
            )
    return None  # families whose pictures take the same number of tokens whatever their size
