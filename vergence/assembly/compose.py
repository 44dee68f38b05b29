"""Parts -> the config and the tensors of one whole model. Nothing is read but what is small, and nothing written."""

import json
import math
from dataclasses import dataclass
from typing import Any, Literal

import torch

from vergence.assembly.adapter import fresh_adapter, trained_adapter, trained_keys
from vergence.assembly.checkpoint import file_names, without_numbers
from vergence.assembly.layouts import as_read_by
from vergence.assembly.parts import EMBEDDING, AdapterPart, LanguagePart, VisionPart
from vergence.assembly.pictures import Pictures
from vergence.assembly.shards import Written
from vergence.assembly.stored import Source
from vergence.assembly.vocabulary import with_rows
from vergence.errors import ModelError
from vergence.model.families.towers import TOWERS

ModelType = Literal["internvl", "llava"]
NumberFormat = Literal["keep", "float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True, eq=False)
class Composition:
    """A whole model, as a config and tensors that are still where they were."""

    model_class: Any
    config: Any
    skeleton: Any
    tensors: dict[str, Source]
    """By their names in the loaded model. A head that is the embedding has none."""


def compose(
    vision: VisionPart,
    language: LanguagePart,
    adapter: AdapterPart | None,
    *,
    model_type: ModelType,
    pictures: Pictures,
    rows: int,
    image_token_id: int,
    feature_layer: int | None,
    number_format: NumberFormat,
    seed: int,
) -> Composition:
    """Put the parts under the names of a model of that class. Raises ModelError if they do not fit.

    `feature_layer` is the tower's hidden state that is read; None is the adapter's, or the usual one of the tower.
    """
    fitted = as_read_by(model_type, vision, pictures.side)
    keys = trained_keys(adapter) if adapter else _usual_keys(fitted, model_type, feature_layer)
    if adapter and feature_layer not in (None, keys["vision_feature_layer"]):
        raise ModelError(
            f"{adapter.directory}: its adapter was trained on hidden state {keys['vision_feature_layer']} of the "
            f"tower, and {feature_layer} is asked for; leave the feature layer out"
        )
    dtype = DTYPES.get(number_format, language.tensors[EMBEDDING].dtype)
    keys |= {"dtype": dtype, "tie_word_embeddings": language.head is None}
    parts = {
        "vision_config": _part(fitted.config, dtype=DTYPES.get(number_format, widest(fitted.tensors))),
        "text_config": _part(language.config, dtype=dtype, vocab_size=rows, tie_word_embeddings=language.head is None),
    }
    model_class, config = _configured(model_type, parts, keys, pictures, image_token_id)
    skeleton = without_numbers(model_class, config)
    tensors: dict[str, Source] = {f"model.vision_tower.{name}": source for name, source in fitted.tensors.items()}
    tensors |= trained_adapter(adapter, skeleton) if adapter else fresh_adapter(model_class, config, seed)
    for name, source in language.tensors.items():
        tensors[f"model.language_model.{name}"] = with_rows(source, rows) if name == EMBEDDING else source
    if language.head is not None:
        tensors["lm_head.weight"] = with_rows(language.head, rows)
    _check_names(skeleton, tensors, tied=language.head is None)
    return Composition(model_class, config, skeleton, tensors)


def to_write(composition: Composition, number_format: NumberFormat) -> list[Written]:
    """Every tensor as it is to stand in the files, in the order of the model."""
    names = file_names(composition.skeleton)
    chosen = DTYPES.get(number_format)
    found = [(name, composition.tensors[name]) for name in names if name in composition.tensors]
    return [
        Written(names[name], one, chosen if chosen and one.dtype.is_floating_point else one.dtype)
        for name, one in found
    ]


def parameters(composition: Composition, place: str) -> int:
    """How many numbers there are below a place."""
    return sum(math.prod(one.shape) for name, one in composition.tensors.items() if name.startswith(place))


DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""What a number format is called by torch."""


def _usual_keys(vision: VisionPart, model_type: ModelType, feature_layer: int | None) -> dict[str, Any]:
    kind = TOWERS[vision.config.model_type]
    usual = -1 if model_type == "internvl" else kind.feature_layer
    layer = usual if feature_layer is None else feature_layer
    states = vision.config.num_hidden_layers + 1
    if not -states <= layer < states:
        raise ModelError(
            f"{vision.directory}: feature layer {layer}; the tower has hidden states {-states} to {states - 1}, "
            "0 being what enters the first layer"
        )
    strategy = "default" if kind.leading(vision.config) else "full"
    return {"vision_feature_layer": layer, "vision_feature_select_strategy": strategy}


def _configured(
    model_type: ModelType, parts: dict[str, Any], keys: dict[str, Any], pictures: Pictures, image_token_id: int
) -> tuple[Any, Any]:
    """The class and its config, read back from JSON as `from_pretrained` reads it."""
    from transformers import (
        InternVLConfig,
        InternVLForConditionalGeneration,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )

    config: Any
    model_class: Any
    if model_type == "internvl":
        ratio = keys.setdefault("downsample_ratio", 0.5)
        length = round((pictures.patches * ratio) ** 2)
        model_class = InternVLForConditionalGeneration
        config = InternVLConfig(**parts, **keys, image_token_id=image_token_id, image_seq_length=length)
    else:
        vision = parts["vision_config"]
        dropped = keys["vision_feature_select_strategy"] == "default"
        length = pictures.patches**2 + TOWERS[vision.model_type].leading(vision) - dropped
        model_class = LlavaForConditionalGeneration
        config = LlavaConfig(**parts, **keys, image_token_index=image_token_id, image_seq_length=length)
    config.architectures = [model_class.__name__]
    return model_class, type(config).from_dict(json.loads(config.to_json_string(use_diff=False)))


def _part(config: Any, **changes: Any) -> Any:
    part = type(config).from_dict(config.to_dict() | changes)
    part._name_or_path = ""  # a path of this machine has no place in a checkpoint
    return part


def widest(tensors: dict[str, Source]) -> torch.dtype:
    """The number format of the most bits among them."""
    floating = [source.dtype for source in tensors.values() if source.dtype.is_floating_point]
    return max(floating, key=lambda dtype: dtype.itemsize)


def _check_names(skeleton: Any, tensors: dict[str, Source], *, tied: bool) -> None:
    """The parts hold what the class expects, tensor for tensor. Raises ModelError otherwise."""
    wanted = {name: tuple(tensor.shape) for name, tensor in skeleton.state_dict().items()}
    if tied:
        del wanted["lm_head.weight"]
    for name in sorted(wanted.keys() | tensors.keys()):
        found = tensors[name].shape if name in tensors else "nothing"
        if wanted.get(name, "nothing") != found:
            raise ModelError(
                f"{type(skeleton).__name__} expects {wanted.get(name, 'nothing')} as {name}, and the parts give "
                f"{found}; parts of these classes cannot be put together"
            )
