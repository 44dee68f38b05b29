"""A vision-language model together with what is needed to talk to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vergence.data.images import load_image
from vergence.errors import DataError, ModelError
from vergence.model.families import family_of
from vergence.model.family import Family
from vergence.types import ImageRef, Problem, Prompt


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A model, its tokenizer, its image processor and its family."""

    model: Any
    """A transformers vision-language model with a head."""
    tokenizer: Any
    image_processor: Any
    family: Family
    compute_dtype: torch.dtype
    """What forward passes compute in; weights stay fp32. bfloat16 on a GPU, float32 elsewhere."""

    @property
    def config(self) -> Any:
        """The model's Hugging Face config."""
        return self.model.config

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        device: torch.device = self.model.device
        return device

    def precision(self) -> "torch.autocast":
        """Context in which every forward pass of this policy runs, in sampling and in training alike."""
        return torch.autocast(self.device.type, self.compute_dtype, enabled=self.compute_dtype != torch.float32)

    @property
    def image_token_id(self) -> int:
        """The placeholder's id."""
        return self.family.image_token_id(self.config)

    @property
    def end_token_ids(self) -> tuple[int, ...]:
        """Every id that ends a completion."""
        configured = getattr(self.model.generation_config, "eos_token_id", None)
        ids = configured if isinstance(configured, list) else [configured]
        return tuple(sorted({int(i) for i in [*ids, self.tokenizer.eos_token_id] if i is not None}))

    @property
    def banned_token_ids(self) -> tuple[int, ...]:
        """Ids that are never sampled: the image placeholder, which would ask for features that are not there."""
        return (self.image_token_id,)


def load_policy(directory: Path, device: torch.device) -> Policy:
    """Read a Hugging Face vision-language checkpoint.

    Raises ModelError if the directory holds none, or one of a family that is not supported.
    """
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    family = family_of(read_config(directory))
    try:
        model: Any = AutoModelForImageTextToText.from_pretrained(directory, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(directory)
        processor = family.image_processor(str(directory))
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{directory}: not a loadable vision-language model ({reason})") from error
    model.to(device).eval()  # dropout stays off: sampler and learner must compute the same numbers
    model.requires_grad_(False)
    return Policy(model, tokenizer, processor, family, compute_dtype(device))


def read_config(directory: Path) -> Any:
    """The config of a Hugging Face model directory. Raises ModelError if it is none."""
    from transformers import AutoConfig

    if not (directory / "config.json").is_file():
        raise ModelError(f"{directory}: no config.json; expected a Hugging Face model directory")
    try:
        return AutoConfig.from_pretrained(directory)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{directory}: config.json cannot be read ({str(error).splitlines()[0]})") from error


def compute_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on a GPU; float32 elsewhere, where it is exact and nothing is gained."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def encode(policy: Policy, problem: Problem) -> Prompt:
    """Apply the chat template and expand each image placeholder to the number of tokens its image takes."""
    content = [{"type": "image"} for _ in problem.images] + [{"type": "text", "text": problem.question}]
    text = policy.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    token = policy.tokenizer.convert_ids_to_tokens(policy.image_token_id)
    pieces = text.split(token)
    if len(pieces) != len(problem.images) + 1:
        raise ModelError(
            f"problem {problem.id}: the chat template wrote {len(pieces) - 1} image placeholders for "
            f"{len(problem.images)} images; the template must write {token!r} once for each image"
        )
    expanded = pieces[0]
    for image, piece in zip(problem.images, pieces[1:], strict=True):
        expanded += policy.family.placeholder(policy.config, policy.tokenizer, _tiles(policy, image)) + piece
    ids = policy.tokenizer(expanded, add_special_tokens=False)["input_ids"]
    return Prompt(problem, np.asarray(ids, dtype=np.int64))


def pixel_tiles(policy: Policy, images: Sequence[ImageRef]) -> tuple[torch.Tensor, list[int]]:
    """Decode and preprocess pictures: pixel values [K, 3, H, W] of all their tiles, and the tiles per picture.

    Raises DataError if a picture cannot be decoded.
    """
    pictures = [load_image(image) for image in images]
    batch = policy.image_processor(pictures, return_tensors="pt")
    counts = batch["num_patches"] if "num_patches" in batch else [1] * len(images)
    return batch["pixel_values"], [int(count) for count in counts]


def unknown_words(policy: Policy, prompt: Prompt) -> bool:
    """Whether the model's vocabulary lacks a word of the prompt."""
    unknown = policy.tokenizer.unk_token_id
    return unknown is not None and bool((prompt.token_ids == unknown).any())


def _tiles(policy: Policy, image: ImageRef) -> int:
    from PIL import Image

    try:
        with Image.open(image.path) as opened:
            width, height = opened.size
    except OSError as error:
        raise DataError(f"image {image.path}: cannot be read ({error}); replace it") from error
    return policy.family.tiles(policy.image_processor, height, width)
