"""InternVL, R1V2's own family: vision tower, pixel shuffle, two-layer MLP adapter, any decoder."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from vergence.model.family import Family

IMAGE_TOKEN = "<IMG_CONTEXT>"
IMAGE_START = "<img>"
IMAGE_END = "</img>"
VIDEO_TOKEN = "<video>"

_README = """\
---
library_name: transformers
pipeline_tag: image-text-to-text
---
# A vision-language model trained with Vergence

An ordinary checkpoint: no remote code, no `vergence` needed. With torchvision installed, `AutoProcessor` and
`AutoModelForImageTextToText` load it. Without torchvision:

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


def _tower(model: Any, pixels: Tensor) -> Tensor:
    core, config = model.model, model.config
    layer = config.vision_feature_layer
    output = core.vision_tower(pixel_values=pixels, output_hidden_states=layer != -1)
    hidden = output.last_hidden_state if layer == -1 else output.hidden_states[layer]
    return shuffled(core, hidden, config)


def shuffled(core: Any, hidden: Tensor, config: Any) -> Tensor:
    """Drop the class token and fold neighbouring patches into one (pixel shuffle, R1V2 section 1.2)."""
    if config.vision_feature_select_strategy == "default":
        hidden = hidden[:, 1:]
    side = int(hidden.shape[1] ** 0.5)
    square = hidden.reshape(hidden.shape[0], side, side, hidden.shape[-1])
    folded: Tensor = core.pixel_shuffle(square, scale_factor=config.downsample_ratio)
    return folded.reshape(hidden.shape[0], -1, folded.shape[-1])


def _project(model: Any, features: Tensor) -> Tensor:
    projected: Tensor = model.model.multi_modal_projector(features)
    return projected


def _placeholder(config: Any, tokenizer: Any, tiles: int) -> str:
    token = tokenizer.convert_ids_to_tokens(config.image_token_id)
    return f"{IMAGE_START}{token * (config.image_seq_length * tiles)}{IMAGE_END}"


def _image_processor(directory: str) -> Any:
    # by name: the automatic class fails without torchvision on transformers 5.17
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    return GotOcr2ImageProcessorPil.from_pretrained(directory)


def _write_extras(directory: Path, config: Any, example_question: str) -> None:
    """What `AutoProcessor` reads beside tokenizer and image processor, and a README with an example that runs.

    Written by hand because transformers cannot build its own InternVL processor without torchvision.
    """
    processor = {"processor_class": "InternVLProcessor", "image_seq_length": config.image_seq_length}
    video = {"video_processor_type": "InternVLVideoProcessor", "processor_class": "InternVLProcessor"}
    image_path = directory / "preprocessor_config.json"
    image = json.loads(image_path.read_text()) | {"processor_class": "InternVLProcessor"}
    for name, content in (
        ("processor_config.json", processor),
        ("video_preprocessor_config.json", video),
        ("preprocessor_config.json", image),
    ):
        (directory / name).write_text(json.dumps(content, indent=2) + "\n")
    example = _README.format(question=example_question, tokens=config.image_seq_length)
    (directory / "README.md").write_text(example)


FAMILY = Family(
    model_type="internvl",
    roles={
        "vision": ("model.vision_tower.",),
        "adapter": ("model.multi_modal_projector.",),
        "language": ("model.language_model.", "lm_head."),
    },
    tower=_tower,
    project=_project,
    language=lambda model: model.model.language_model,
    image_token_id=lambda config: int(config.image_token_id),
    placeholder=_placeholder,
    tiles=lambda processor, height, width: int(processor.get_number_of_image_patches(height, width)),
    image_processor=_image_processor,
    write_extras=_write_extras,
)
