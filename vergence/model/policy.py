"""A vision-language model together with what is needed to talk to it."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from vergence.data.images import check_header, load_image
from vergence.errors import DataError, ModelError
from vergence.model.batch import shown
from vergence.model.families.family import Family, Frame, Grid, Pixels, joined
from vergence.model.families.known import family_of
from vergence.model.meter import Meter
from vergence.model.needed_files import base_of
from vergence.model.pretrained import model_from, read_config, reason_of, tokenizer_from
from vergence.types import IMAGE_MARK, ImageRef, Problem, Prompt

DtypeName = Literal["auto", "float32", "bfloat16"]
"""What passes compute in, as recipes name it."""


_TAGS = re.compile(r"(?:</?(?:think|answer)>\s*)+\Z")


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A model, its tokenizer, its image processor and its family."""

    model: Any
    """A transformers vision-language model with a head."""
    tokenizer: Any
    image_processor: Any
    family: Family
    compute_dtype: torch.dtype
    """What forward passes compute in; trained weights stay fp32."""
    meter: Meter = field(default_factory=Meter)
    """Counts the tokens that go through the decoder."""

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
    def placeholder_token_ids(self) -> tuple[int, ...]:
        """The placeholders of pictures and videos."""
        video = getattr(self.config, "video_token_id", None)
        return tuple(sorted({self.image_token_id, *([] if video is None else [video])}))

    @property
    def banned_token_ids(self) -> tuple[int, ...]:
        """Ids that are never sampled: placeholders, which would ask for features that are not there, and those that the
        checkpoint's generation config suppresses.
        """
        suppressed = getattr(self.model.generation_config, "suppress_tokens", None) or ()
        return tuple(sorted({*self.placeholder_token_ids, *map(int, suppressed)}))


def load_policy(directory: Path, device: torch.device, dtype: DtypeName = "auto") -> Policy:
    """Read a Hugging Face vision-language checkpoint that computes in `dtype`.

    A directory with low-rank updates alone is read as the model they belong to, with the updates in it. Raises
    ModelError if the directory holds none, or one of a family that is not supported.
    """
    from transformers import AutoModelForImageTextToText

    if (directory / "adapter_config.json").is_file():
        from vergence.model.lora import load_low_rank

        policy = load_policy(base_of(directory), device, dtype)
        load_low_rank(policy, directory)
        return policy
    family = family_of(read_config(directory))
    try:
        model: Any = model_from(AutoModelForImageTextToText, directory, dtype=torch.float32)
        tokenizer = tokenizer_from(directory)
        tokenizer.chat_template = tokenizer.chat_template or processors_template(directory)
        processor = family.image_processor(str(directory))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{directory}: not a loadable vision-language model ({reason_of(error)})") from error
    model.to(device).eval()  # dropout stays off: sampler and learner must compute the same numbers
    model.requires_grad_(False)
    return Policy(model, tokenizer, processor, family, compute_dtype(device, dtype))


def processors_template(directory: Path) -> str | None:
    """The chat template of a checkpoint that older versions saved with its processor alone."""
    path = directory / "chat_template.json"
    return json.loads(path.read_text(encoding="utf-8"))["chat_template"] if path.is_file() else None


def compute_dtype(device: torch.device, dtype: DtypeName = "auto") -> torch.dtype:
    """What a name means on a device; auto is bfloat16 on a GPU and float32, which is exact, elsewhere."""
    match dtype:
        case "auto":
            return torch.bfloat16 if device.type == "cuda" else torch.float32
        case "float32":
            return torch.float32
        case "bfloat16":
            return torch.bfloat16


def encode(policy: Policy, problem: Problem, response: str | None = None) -> Prompt:
    """Apply the chat template and expand each image placeholder to the number of tokens its image takes.

    With a response, the whole conversation of two turns as the template writes it, its end included.

    Raises ModelError if the chat template and the pictures do not fit, DataError if a picture cannot be read, if the
    question says otherwise than its pictures where they stand, or if it holds the model's placeholder itself.
    """
    if policy.tokenizer.chat_template is None:
        raise ModelError("the checkpoint's tokenizer has no chat template; add a chat_template.jinja to its directory")
    mark = policy.family.mark(policy.config, policy.tokenizer)
    _check_words(policy, problem, mark)
    turns = [{"role": "user", "content": _content(problem)}]
    if response is not None:
        turns.append({"role": "assistant", "content": [{"type": "text", "text": response}]})
    text = policy.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=response is None)
    pieces = text.split(mark)
    if len(pieces) != len(problem.images) + 1:
        raise ModelError(
            f"problem {problem.id}: the chat template wrote {len(pieces) - 1} image placeholders for "
            f"{len(problem.images)} images; the template must write {mark!r} once for each image"
        )
    frames = [frame_of(image) for image in shown(problem)]
    grids = [_grid(policy, image, frame) for image, frame in zip(problem.images, frames, strict=True)]
    expanded = pieces[0]
    for frame, piece in zip(frames, pieces[1:], strict=True):
        expanded += policy.family.placeholder(policy.config, policy.tokenizer, policy.image_processor, frame) + piece
    # as transformers' processors do it: a template that leaves the begin token to the tokenizer gets it from there
    begin = policy.tokenizer.bos_token
    special = begin is not None and not expanded.startswith(begin)
    ids = np.asarray(policy.tokenizer(expanded, add_special_tokens=special)["input_ids"], dtype=np.int64)
    written, expected = int((ids == policy.image_token_id).sum()), sum(math.prod(grid) for grid in grids)
    if written != expected:
        raise ModelError(
            f"problem {problem.id}: {written} image placeholders for {expected} image tokens of {len(grids)} pictures; "
            "the tokenizer must know the placeholder as one token"
        )
    prefill = _prefill(policy, problem, text) if response is None else ""
    return Prompt(problem, ids, policy.family.positions(policy.config, ids, grids), prefill)


def _prefill(policy: Policy, problem: Problem, text: str) -> str:
    """The tags at the end of a prompt's text that belong to the response: that the generation prompt ends with."""
    tags = _TAGS.search(text)
    if tags is None:
        return ""
    asked = policy.tokenizer.apply_chat_template([{"role": "user", "content": _content(problem)}], tokenize=False)
    return tags.group() if text.startswith(asked) and len(asked) <= tags.start() else ""


def _check_words(policy: Policy, problem: Problem, mark: str) -> None:
    """Raises DataError if the text of a question would be read as a picture."""
    kept = [mark, *policy.tokenizer.convert_ids_to_tokens(list(policy.placeholder_token_ids))]
    texts = problem.question.split(IMAGE_MARK)
    found = next((word for word in kept if any(word in text for text in texts)), None)
    if found is not None:
        raise DataError(
            f"problem {problem.id}: its question holds {found}, which this model reads as a picture; remove it, or "
            f"write {IMAGE_MARK} where a picture stands"
        )


def _content(problem: Problem) -> list[dict[str, str]]:
    """The question's pieces of text and its pictures, in order: where it says, or else in front of it."""
    texts = problem.question.split(IMAGE_MARK)
    if len(texts) == 1:
        texts = [""] * len(problem.images) + texts
    if len(texts) != len(problem.images) + 1:
        raise DataError(
            f"problem {problem.id}: its question says {len(texts) - 1} times where a picture stands ({IMAGE_MARK}), "
            f"and it has {len(problem.images)}; expected one mark for each, or none at all"
        )
    content = [part for text in texts for part in ({"type": "text", "text": text}, {"type": "image"})][:-1]
    return [part for part in content if part.get("text") != ""]


def preprocess(policy: Policy, images: Sequence[ImageRef]) -> Pixels:
    """Decode and preprocess pictures, each by itself. Raises DataError if one cannot be decoded."""
    return joined([_preprocessed(policy, image) for image in images])


def _preprocessed(policy: Policy, image: ImageRef) -> Pixels:
    picture = load_image(image)
    frame = Frame(picture.height, picture.width, image.alone)
    values = policy.family.read(policy.image_processor, picture, frame)
    return Pixels(values, (len(values),), (_grid(policy, image, frame),), (frame,))


def unknown_words(policy: Policy, prompt: Prompt) -> bool:
    """Whether the model's vocabulary lacks a word of the prompt."""
    unknown = policy.tokenizer.unk_token_id
    return unknown is not None and bool((prompt.token_ids == unknown).any())


def _grid(policy: Policy, image: ImageRef, frame: Frame) -> Grid:
    try:
        return policy.family.grid(policy.config, policy.image_processor, frame)
    except ValueError as error:
        raise DataError(
            f"image {image.path}: {frame.height} x {frame.width} pixels, which this model does not read ({error}); "
            "cut it or replace it"
        ) from error


def frame_of(image: ImageRef) -> Frame:
    """A picture's frame as it will be shown, from the file's header. Raises DataError if it cannot be read."""
    width, height = check_header(Path(image.path), "")
    return Frame(height, width, image.alone)
