"""Idefics3 and SmolVLM: a picture cut into square tiles with a small copy of it behind them, pixel shuffle, one layer.

The prompt names the tiles' rows and columns. The two families differ in names alone.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from vergence.model.families.family import Family, Frame, Grid, Pixels, image_token, sequence_positions
from vergence.model.families.processor_files import write_processor_files, write_processor_readme
from vergence.model.pretrained import image_processor_from

LARGEST = 4096
"""Pixels of the longer side that a picture is never enlarged beyond."""


def tiles(image_processor: Any, frame: Frame) -> tuple[int, int]:
    """Rows and columns of the tiles that a picture is cut into; (0, 0) if it is not cut.

    The picture is resized so that its longer side has the wanted length, then stretched to whole tiles. Each step
    rounds as the image processor does, because one pixel can make a row of tiles.
    """
    if not image_processor.do_image_splitting:
        return (0, 0)
    edge = image_processor.max_image_size["longest_edge"]
    height, width = _enlarged(image_processor, frame)
    if width >= height:
        columns = math.ceil(width / edge)
        rows = math.ceil(int(columns * edge / (width / height)) / edge)
    else:
        rows = math.ceil(height / edge)
        columns = math.ceil(int(rows * edge * (width / height)) / edge)
    return (rows, columns) if max(rows, columns) > 1 else (0, 0)


def _enlarged(image_processor: Any, frame: Frame) -> tuple[int, int]:
    """Height and width before the picture is cut."""
    size = image_processor.size
    if not image_processor.do_resize:
        return frame.height, frame.width
    if not size.get("longest_edge"):
        return size["height"], size["width"]
    height, width = _fitted(frame.height, frame.width, size["longest_edge"], even=True)
    return _fitted(height, width, LARGEST) if max(height, width) > LARGEST else (height, width)


def _fitted(height: int, width: int, longest: int, *, even: bool = False) -> tuple[int, int]:
    """Height and width in the same proportion whose longer is `longest`; the other rounded down, then up if odd."""
    ratio = width / height
    other = int(longest / ratio) if width >= height else int(longest * ratio)
    other = max(other + (other % 2 if even else 0), 1)
    return (other, longest) if width >= height else (longest, other)


def _side(config: Any, edge: int) -> int:
    """Image tokens along the side of a tile: its patches, folded by the pixel shuffle."""
    return int(edge // config.vision_config.patch_size // config.scale_factor)


def _grid(config: Any, image_processor: Any, frame: Frame) -> Grid:
    rows, columns = tiles(image_processor, frame)
    side = _side(config, image_processor.max_image_size["longest_edge"])
    return (rows * columns + 1, side, side)


def _placeholder(config: Any, tokenizer: Any, image_processor: Any, frame: Frame) -> str:
    """Rows of tiles, each tile with its name, and the whole picture behind an empty line."""
    around = getattr(tokenizer, "fake_image_token", "<fake_token_around_image>")
    whole = getattr(tokenizer, "global_image_token", "<global-img>")
    (rows, columns), (_, side, _) = tiles(image_processor, frame), _grid(config, image_processor, frame)
    one = image_token(config, tokenizer) * side**2
    lines = [
        "".join(f"{around}<row_{row}_col_{column}>{one}" for column in range(1, columns + 1)) + "\n"
        for row in range(1, rows + 1)
    ]
    return "".join(lines) + ("\n" if lines else "") + f"{around}{whole}{one}{around}"


def _read(image_processor: Any, picture: Any, frame: Frame) -> Tensor:
    # one picture by itself: all its tiles are squares of one size, and none is padding
    values: Tensor = image_processor([picture], return_tensors="pt")["pixel_values"][0]
    return values


def _tower(model: Any, pixels: Pixels) -> Float[Tensor, "F D"]:
    core = model.model
    patches = core.vision_model(pixel_values=pixels.values).last_hidden_state
    folded: Tensor = core.connector.pixel_shuffle(patches, model.config.scale_factor)
    return folded.flatten(0, 1)


def _project(model: Any, features: Float[Tensor, "F D"]) -> Float[Tensor, "F W"]:
    projected: Tensor = model.model.connector.modality_projection(features)
    return projected


def _idefics3_processor(directory: str) -> Any:
    # by name: the automatic class fails without torchvision on transformers 5.17
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    return image_processor_from(Idefics3ImageProcessorPil, directory)


def _smolvlm_processor(directory: str) -> Any:
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    return image_processor_from(SmolVLMImageProcessorPil, directory)


def _write_idefics3(directory: Path, config: Any, example_question: str) -> None:
    _write_extras(directory, config, example_question, "Idefics3Processor", {}, "")


def _write_smolvlm(directory: Path, config: Any, example_question: str) -> None:
    named = {"processor_class": "SmolVLMProcessor", "video_processor_type": "SmolVLMVideoProcessor"}
    files = {"video_preprocessor_config.json": named}
    note = "`AutoProcessor` needs torchvision and num2words for this model."
    _write_extras(directory, config, example_question, "SmolVLMProcessor", files, note)


def _write_extras(
    directory: Path,
    config: Any,
    example_question: str,
    processor: str,
    others: Mapping[str, Mapping[str, Any]],
    note: str,
) -> None:
    edge = json.loads((directory / "preprocessor_config.json").read_text())["max_image_size"]["longest_edge"]
    named = {"processor_class": processor}
    whole = named | {"image_seq_len": _side(config, edge) ** 2}
    write_processor_files(directory, {"processor_config.json": whole, "preprocessor_config.json": named, **others})
    write_processor_readme(directory, example_question, note)


def _family(
    model_type: str, tower: str, processor: Callable[[str], Any], write_extras: Callable[[Path, Any, str], None]
) -> Family:
    return Family(
        model_type=model_type,
        towers=(tower,),
        roles={
            "vision": ("model.vision_model.",),
            "adapter": ("model.connector.",),
            "language": ("model.text_model.", "lm_head."),
        },
        unused=lambda config: (),
        tower=_tower,
        project=_project,
        language=lambda model: model.model.text_model,
        image_token_id=lambda config: int(config.image_token_id),
        grid=_grid,
        placeholder=_placeholder,
        positions=sequence_positions,
        image_processor=processor,
        read=_read,
        write_extras=write_extras,
    )


FAMILY = _family("idefics3", "idefics3_vision", _idefics3_processor, _write_idefics3)
SMOLVLM = _family("smolvlm", "smolvlm_vision", _smolvlm_processor, _write_smolvlm)
