"""InternVL, R1V2's own family: vision tower, pixel shuffle, two-layer MLP adapter, any decoder."""

import math
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from vergence.model.families.family import Family, Frame, Grid, Pixels, image_token, sequence_positions, stacked_rows
from vergence.model.families.processor_files import write_processor_files, write_readme
from vergence.model.families.towers import never_read, unread
from vergence.model.pretrained import image_processor_from

IMAGE_TOKEN = "<IMG_CONTEXT>"
IMAGE_START = "<img>"
IMAGE_END = "</img>"
VIDEO_TOKEN = "<video>"

_EXAMPLE = """\
With torchvision installed, `AutoProcessor` and `AutoModelForImageTextToText` load it. Without torchvision:

```python
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

folder, question = ".", {question!r}
model, tokenizer = AutoModelForImageTextToText.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
pixels = AutoImageProcessor.from_pretrained(folder)(Image.open("picture.png").convert("RGB"), return_tensors="pt")
message = {{"role": "user", "content": [{{"type": "image"}}, {{"type": "text", "text": question}}]}}
prompt = tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
tiles = int(pixels["num_patches"][0])
prompt = prompt.replace("<IMG_CONTEXT>", "<img>" + "<IMG_CONTEXT>" * {tokens} * tiles + "</img>")
inputs = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
answer = model.generate(**inputs, pixel_values=pixels["pixel_values"], max_new_tokens=64, do_sample=False)
print(tokenizer.decode(answer[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
```

`AutoImageProcessor` needs transformers 5.18 or newer where torchvision is absent.
"""


def _unused(config: Any) -> tuple[str, ...]:
    """Where an inner layer is read, the tower's layers behind it, and the norm that only its last output passes."""
    vision, layer = config.vision_config, config.vision_feature_layer
    if layer == -1:
        return never_read("model.vision_tower.")
    return unread(vision, "model.vision_tower.", layer if layer >= 0 else vision.num_hidden_layers + 1 + layer)


def _tower(model: Any, pixels: Pixels) -> Float[Tensor, "F D"]:
    core, config = model.model, model.config
    layer = config.vision_feature_layer
    output = core.vision_tower(pixel_values=pixels.values, output_hidden_states=layer != -1)
    hidden = output.last_hidden_state if layer == -1 else output.hidden_states[layer]
    return shuffled(core, hidden, config).flatten(0, 1)


def shuffled(core: Any, hidden: Tensor, config: Any) -> Tensor:
    """Drop the class token and fold neighbouring patches into one (pixel shuffle, R1V2 section 1.2)."""
    if config.vision_feature_select_strategy == "default":
        hidden = hidden[:, 1:]
    side = int(hidden.shape[1] ** 0.5)
    square = hidden.reshape(hidden.shape[0], side, side, hidden.shape[-1])
    folded: Tensor = core.pixel_shuffle(square, scale_factor=config.downsample_ratio)
    return folded.reshape(hidden.shape[0], -1, folded.shape[-1])


def _project(model: Any, features: Float[Tensor, "F D"]) -> Float[Tensor, "F W"]:
    projected: Tensor = model.model.multi_modal_projector(features)
    return projected


def _grid(config: Any, image_processor: Any, frame: Frame) -> Grid:
    tiles = int(image_processor.get_number_of_image_patches(frame.height, frame.width))
    side = math.isqrt(config.image_seq_length)
    if side * side == config.image_seq_length:
        return (tiles, side, side)
    return (tiles * config.image_seq_length, 1, 1)


def _placeholder(config: Any, tokenizer: Any, image_processor: Any, frame: Frame) -> str:
    tokens = math.prod(_grid(config, image_processor, frame))
    return f"{IMAGE_START}{image_token(config, tokenizer) * tokens}{IMAGE_END}"


def _image_processor(directory: str) -> Any:
    # by name: the automatic class fails without torchvision on transformers 5.17
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    return image_processor_from(GotOcr2ImageProcessorPil, directory)


def _write_extras(directory: Path, config: Any, example_question: str) -> None:
    """What `AutoProcessor` reads beside tokenizer and image processor, and a README with an example that runs.

    Written by hand because transformers cannot build its own InternVL processor without torchvision.
    """
    files = {
        "processor_config.json": {
            "processor_class": "InternVLProcessor",
            "image_seq_length": config.image_seq_length,
        },
        "video_preprocessor_config.json": {
            "video_processor_type": "InternVLVideoProcessor",
            "processor_class": "InternVLProcessor",
        },
        "preprocessor_config.json": {"processor_class": "InternVLProcessor"},
    }
    write_processor_files(directory, files)
    write_readme(directory, _EXAMPLE.format(question=example_question, tokens=config.image_seq_length))


FAMILY = Family(
    model_type="internvl",
    towers=("internvl_vision",),
    roles={
        "vision": ("model.vision_tower.",),
        "adapter": ("model.multi_modal_projector.",),
        "language": ("model.language_model.", "lm_head."),
    },
    unused=_unused,
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
)
