"""The parts of an assembly: a vision tower, a language model, an adapter, each by itself or out of a larger model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vergence.assembly.checkpoint import Checkpoint, below, loader_of, open_checkpoint, shapes, without_numbers
from vergence.assembly.intern_vit import tower_config, tower_origin
from vergence.assembly.origins import gathered
from vergence.assembly.reference import check_tower
from vergence.assembly.stored import Source, stored_tensors
from vergence.errors import ModelError
from vergence.model.config_file import TOWER_LAYOUT, raw_config
from vergence.model.families.towers import TOWERS
from vergence.model.pretrained import read_config

NAFLEX = "siglip2_vision_model"
"""Reads patches in place of pictures; at a fixed square it computes what a SigLIP tower does."""

EMBEDDING = "embed_tokens.weight"
"""In a decoder."""
_TOWER_PLACES = ("model.vision_tower", "vision_model")
_LANGUAGE_PLACE = "model.language_model"
_ADAPTER_PLACE = "model.multi_modal_projector"
_HEAD = "lm_head.weight"


@dataclass(frozen=True, slots=True, eq=False)
class VisionPart:
    """A vision tower."""

    directory: Path
    config: Any
    """The tower's own."""
    tensors: dict[str, Source]
    """By their names in the tower."""
    within: bool
    """Whether the directory holds a larger model, of which this is a part, or one that transformers reads only by other
    names: then it is built out of its tensors, and not loaded from the directory."""


@dataclass(frozen=True, slots=True, eq=False)
class LanguagePart:
    """A decoder with its head."""

    directory: Path
    config: Any
    """The language model's own."""
    tensors: dict[str, Source]
    """By their names in the decoder, without its head."""
    head: Source | None
    """None where the head is the embedding."""
    within: bool
    """Whether the directory holds a larger model, of which this is a part."""


@dataclass(frozen=True, slots=True, eq=False)
class AdapterPart:
    """A trained adapter."""

    directory: Path
    config: Any
    """Of the whole model that it was trained in."""
    tensors: dict[str, Source]
    """By their names in the adapter."""


def read_vision(directory: Path) -> VisionPart:
    """A tower saved by itself, or the tower of a larger model. Raises ModelError if there is none that is known."""
    raw = raw_config(directory)
    if raw["model_type"] == TOWER_LAYOUT:
        return published_tower(directory, raw)
    config = read_config(directory)
    own = getattr(config, "vision_config", config)
    known = (*TOWERS, NAFLEX)
    if own.model_type not in known:
        within = f' (in a model of type "{config.model_type}")' if own is not config else ""
        raise ModelError(
            f'{directory}: model type "{own.model_type}"{within} is not a vision tower that can be assembled; '
            f"expected one of {', '.join(known)}, or a model that has one"
        )
    checkpoint = open_checkpoint(directory, config)
    places = ("",) if own is config else _TOWER_PLACES
    place = _present(checkpoint, places, "vision tower")
    return VisionPart(directory, own, below(checkpoint, place), own is not config)


def published_tower(directory: Path, raw: Mapping[str, Any]) -> VisionPart:
    """An InternViT in its authors' layout; `raw` is its config.

    Raises ModelError where it is none that transformers' class can be, ParityError where the installed transformers
    computes something else.
    """
    from transformers import InternVLVisionModel

    config = tower_config(directory, raw)
    check_tower(directory, raw)
    wanted = shapes(without_numbers(InternVLVisionModel, config))
    found = gathered(directory, stored_tensors(directory), wanted, lambda name: tower_origin(name, config))
    return VisionPart(directory, config, found, within=True)


def read_language(directory: Path) -> LanguagePart:
    """A causal language model, or that of a vision-language model. Raises ModelError if it is none, or one whose head
    is not one matrix: the vision-language classes have nothing else.
    """
    from transformers import AutoModelForCausalLM

    config = read_config(directory)
    own = getattr(config, "text_config", config)
    if getattr(own, "is_encoder_decoder", False):
        raise ModelError(
            f'{directory}: model type "{own.model_type}" is an encoder with a decoder; expected a decoder alone, which '
            "can continue a prompt that holds a picture"
        )
    within = own is not config
    if not within and loader_of(config) is not AutoModelForCausalLM:
        raise _no_language_model(directory, own, "transformers has no class of it that continues texts")
    checkpoint = open_checkpoint(directory, config)
    place = checkpoint.skeleton.base_model_prefix
    if within:
        place = _present(checkpoint, (_LANGUAGE_PLACE,), "language model")
    names = list(checkpoint.skeleton.state_dict())
    outside = [name for name in names if not within and not name.startswith(f"{place}.") and name != _HEAD]
    if _HEAD not in names or outside:
        found = f"there is also {outside[0]}" if outside else "there is no head"
        raise _no_language_model(directory, own, f"beside its decoder {found}; expected {_HEAD} and nothing else")
    if f"{place}.{EMBEDDING}" not in names:
        raise _no_language_model(directory, own, f"its decoder has no {EMBEDDING}")
    head = None if getattr(config, "tie_word_embeddings", False) else below(checkpoint, "lm_head")["weight"]
    return LanguagePart(directory, own, below(checkpoint, place), head, within)


def _no_language_model(directory: Path, config: Any, reason: str) -> ModelError:
    return ModelError(
        f'{directory}: model type "{config.model_type}" is not a language model that can be assembled ({reason})'
    )


def read_adapter(directory: Path, model_type: str) -> AdapterPart:
    """The adapter of a vision-language model of that class. Raises ModelError if it is of another."""
    config = read_config(directory)
    if config.model_type != model_type:
        raise ModelError(
            f'{directory}: model type "{config.model_type}" has no adapter of a model of type "{model_type}"; '
            f"give a {model_type} checkpoint, or put the parts together as the class that the adapter is from"
        )
    return AdapterPart(directory, config, below(open_checkpoint(directory, config), _ADAPTER_PLACE))


def _present(checkpoint: Checkpoint, places: tuple[str, ...], what: str) -> str:
    modules = {name for name, _ in checkpoint.skeleton.named_modules()}
    for place in places:
        if place in modules:
            return place
    raise ModelError(
        f"{checkpoint.directory}: {type(checkpoint.skeleton).__name__} keeps its {what} elsewhere than expected "
        f"({' or '.join(places)}); save that part by itself"
    )
