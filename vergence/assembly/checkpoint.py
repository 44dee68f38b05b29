"""A checkpoint that is opened without being loaded: its config, its class without numbers, where its tensors lie.

Files of different ages name the same tensor differently. transformers renames them while loading; the same rules are
applied here, so that every tensor is known by the name that it has in a loaded model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vergence.assembly.stored import Source, stored_tensors
from vergence.errors import ModelError, ParityError
from vergence.model.pretrained import model_built


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """One model directory."""

    directory: Path
    config: Any
    skeleton: Any
    """Its class, built on torch's meta device: names and shapes, and no numbers."""
    tensors: dict[str, Source]
    """By their names in a loaded model."""


def open_checkpoint(directory: Path, config: Any) -> Checkpoint:
    """Raises ModelError where the weights cannot be read, or are quantised."""
    if getattr(config, "quantization_config", None) is not None:
        raise ModelError(
            f"{directory}: its weights are quantised, and parts are put together in 16 or 32 bits; "
            "take the checkpoint that it was made from"
        )
    skeleton = without_numbers(partial(model_built, loader_of(config)), config)
    stored = stored_tensors(directory)
    names = loaded_names(skeleton, list(stored))
    return Checkpoint(directory, config, skeleton, {names[name]: source for name, source in stored.items()})


def loader_of(config: Any) -> Any:
    """transformers' automatic class for such a checkpoint: vision-language, causal language model, or anything else."""
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    )

    if config.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES and hasattr(config, "vision_config"):
        return AutoModelForImageTextToText
    return AutoModelForCausalLM if config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else AutoModel


def without_numbers(build: Callable[[Any], Any], config: Any) -> Any:
    """The model on torch's meta device; milliseconds and no memory, whatever its size."""
    with torch.device("meta"):
        return build(config)


def shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """Of every tensor by its name."""
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def fill(model: Any, tensors: dict[str, Tensor]) -> None:
    """Give a model these tensors; a head that is the embedding needs none. Raises ParityError if others are missing."""
    missing, unexpected = model.load_state_dict(tensors, strict=False, assign=True)
    model.tie_weights()
    if unexpected or set(missing) - {"lm_head.weight"}:
        raise ParityError(f"{type(model).__name__} lacks {missing[:3]} and does not know {unexpected[:3]}")


def loaded_names(skeleton: Any, names: list[str]) -> dict[str, str]:
    """Name in the files -> name in the loaded model, by transformers' own rules.

    A tensor that is cut up or merged while loading keeps a name that no model has.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming, rename_source_key

    rules = get_model_conversion_mapping(skeleton)
    renamings: Any = [rule for rule in rules if isinstance(rule, WeightRenaming)]
    converters: Any = [rule for rule in rules if not isinstance(rule, WeightRenaming)]
    known = skeleton.state_dict()
    found = {}
    for name in names:
        renamed, merged = rename_source_key(name, renamings, converters, skeleton.base_model_prefix, known)
        if renamed not in known and name in known:  # it was no old name after all
            renamed, merged = rename_source_key(name, [], [], skeleton.base_model_prefix, known)
        found[name] = renamed if merged is None else f"(merged) {name}"
    return found


def file_names(skeleton: Any) -> dict[str, str]:
    """Name in the loaded model -> name in the files that `save_pretrained` writes, where that is only a renaming."""
    from transformers.core_model_loading import revert_weight_conversion

    tensors = skeleton.state_dict()
    reverted = {id(tensor): name for name, tensor in revert_weight_conversion(skeleton, dict(tensors)).items()}
    found = {name: reverted.get(id(tensor), name) for name, tensor in tensors.items()}  # a merged one is a new tensor
    back = loaded_names(skeleton, list(found.values()))
    return {name: stored if back[stored] == name else name for name, stored in found.items()}


def below(checkpoint: Checkpoint, place: str) -> dict[str, Source]:
    """The tensors of one module of the model, by their names in it.

    Raises ModelError if one is missing from the files or has another shape there.
    """
    prefix = f"{place}." if place else ""
    wanted = {
        name: tuple(tensor.shape)
        for name, tensor in checkpoint.skeleton.state_dict().items()
        if name.startswith(prefix)
    }
    missing = [name for name in wanted if name not in checkpoint.tensors]
    if missing:
        merged = any(name.startswith("(merged)") for name in checkpoint.tensors)
        reason = (
            "its files hold tensors that transformers cuts up or merges while loading (mixtures of experts, gated "
            "towers), and such parts cannot be put together"
            if merged
            else "copy or download it again"
        )
        raise ModelError(
            f"{checkpoint.directory}: its files lack {len(missing)} tensors of {type(checkpoint.skeleton).__name__}, "
            f"{missing[0]} for one; {reason}"
        )
    for name, shape in wanted.items():
        found = checkpoint.tensors[name].shape
        if found != shape:
            raise ModelError(
                f"{checkpoint.directory}: tensor {name} has the shape {found} in the files, and the config makes it "
                f"{shape}; one of the two belongs to another model"
            )
    return {name.removeprefix(prefix): checkpoint.tensors[name] for name in wanted}
