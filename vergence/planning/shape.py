"""What of a model decides its memory and its work: parameters by role, widths, layers. No weight is loaded."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vergence.assembly.intern_vit import tower_config
from vergence.errors import ModelError
from vergence.model.bfloat16 import large_weights
from vergence.model.config_file import TOWER_LAYOUT, raw_config
from vergence.model.families.family import ROLES, Role
from vergence.model.families.known import family_of
from vergence.model.pretrained import model_built, read_config
from vergence.planning.published import published_config
from vergence.recipe.schema import Recipe
from vergence.recipe.stages import AssembleStage, LoadStage


@dataclass(frozen=True, slots=True)
class Decoder:
    """The language model's shape."""

    layers: int
    width: int
    query_width: int
    """Query heads times their size."""
    key_width: int
    """Key heads times their size."""
    inner: int
    vocabulary: int
    products: int
    """Weights that every token is multiplied with, all layers together; embeddings and head are not among them."""


@dataclass(frozen=True, slots=True)
class TowerShape:
    """The vision tower's shape."""

    layers: int
    width: int
    inner: int
    products: int
    """Weights that every patch is multiplied with, all layers together."""
    patch: int
    """Side of a patch in pixels."""
    fold: int
    """How many patches become one image token."""
    class_tokens: int
    tile: int
    """Side in pixels of what is encoded at once; 0 where a picture is encoded in its own size."""
    spans: tuple[int, ...]
    """[layers] how many patches a patch attends to; 0 is all of its tile or picture."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A model, for a plan."""

    name: str
    parameters: dict[Role, int]
    decoder: Decoder
    tower: TowerShape
    adapter_products: int
    """Weights that every image token is multiplied with."""
    large: dict[Role, int]
    """Numbers that can be held in bfloat16 (vergence/model/bfloat16.py)."""
    linears: dict[Role, tuple[tuple[str, int, int], ...]]
    """Last name, width of the input, width of the output of each product, the head left out."""

    @property
    def total(self) -> int:
        """Parameters of all roles."""
        return sum(self.parameters.values())


def recipe_config(recipe: Recipe) -> tuple[str, Any]:
    """Name and config of the policy that a recipe loads or assembles.

    Folders that are there are read; a folder that is not there may be called like a published model. Raises ModelError
    if neither is so, or if the recipe trains its parts from nothing.
    """
    for stage in recipe.stage:
        match stage:
            case LoadStage():
                return stage.path.name, config_of(stage.path)
            case AssembleStage(vision=Path() as vision, language=Path() as language):
                return f"{vision.name} + {language.name}", _composed(config_of(vision), config_of(language))
    raise ModelError(
        f'{recipe.name}: no stage "load", and no "assemble" that names both parts, so there is nothing to plan with; '
        "a built-in task that trains its own parts needs no plan"
    )


def recipe_folder(recipe: Recipe) -> Path | None:
    """The folder of the checkpoint that a recipe loads, where it is there."""
    found = [stage.path for stage in recipe.stage if isinstance(stage, LoadStage)]
    return found[0] if found and (found[0] / "config.json").is_file() else None


def config_of(path: Path) -> Any:
    """Of a folder, or of the published model of that name. Raises ModelError."""
    if (path / "config.json").is_file():
        raw = raw_config(path)
        if raw["model_type"] == TOWER_LAYOUT:
            return tower_config(path, raw)
        config = read_config(path)
        return getattr(config, "vision_config", config) if config.model_type in _TWO_TOWERS else config
    return published_config(path.name)


_TWO_TOWERS = ("clip", "siglip")


def _composed(vision: Any, language: Any) -> Any:
    from transformers import InternVLConfig

    side = _side(vision.image_size) // _side(vision.patch_size)
    return InternVLConfig(
        vision_config=vision,
        text_config=language,
        image_seq_length=side * side // 4,
        image_token_id=language.vocab_size - 1,
        tie_word_embeddings=bool(language.tie_word_embeddings),
    )


def shape_of(name: str, config: Any) -> ModelShape:
    """Built from nothing on a device without memory, then counted. Raises ModelError if the family is not supported."""
    from transformers import AutoModelForImageTextToText

    family = family_of(config)
    with torch.device("meta"):
        model: Any = model_built(AutoModelForImageTextToText, config)
    owners = sorted(((prefix, role) for role in ROLES for prefix in family.roles[role]), key=lambda one: -len(one[0]))

    def role_of(parameter: str) -> Role:
        return next(role for prefix, role in owners if parameter.startswith(prefix))

    unused = family.unused(config)
    counts: dict[Role, int] = dict.fromkeys(ROLES, 0)
    products: dict[Role, int] = dict.fromkeys(ROLES, 0)
    for parameter, tensor in model.named_parameters():
        role = role_of(parameter)
        counts[role] += tensor.numel()
        if (
            tensor.ndim >= 2
            and not parameter.startswith(unused)
            and not any(word in parameter for word in ("embed_tokens", "lm_head", "position_embed"))
        ):
            products[role] += tensor.numel()
    text = config.get_text_config()
    heads = text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // heads
    decoder = Decoder(
        layers=text.num_hidden_layers,
        width=text.hidden_size,
        query_width=heads * size,
        key_width=getattr(text, "num_key_value_heads", heads) * size,
        inner=text.intermediate_size,
        vocabulary=text.vocab_size,
        products=products["language"],
    )
    idle = sum(".layer" in prefix for prefix in unused)  # whole layers behind the one that is read
    large: dict[Role, int] = dict.fromkeys(ROLES, 0)
    short = large_weights(model)
    for parameter, tensor in model.named_parameters():
        large[role_of(parameter)] += tensor.numel() if id(tensor) in short else 0
    head = model.get_output_embeddings()
    linears: dict[Role, list[tuple[str, int, int]]] = {role: [] for role in ROLES}
    for full, module in model.named_modules():
        if isinstance(module, nn.Linear) and module is not head:
            linears[role_of(f"{full}.weight")].append((full.split(".")[-1], module.in_features, module.out_features))
    return ModelShape(
        name,
        counts,
        decoder,
        _tower_shape(config, products["vision"], idle),
        products["adapter"],
        large,
        {role: tuple(found) for role, found in linears.items()},
    )


def _tower_shape(config: Any, products: int, idle: int) -> TowerShape:
    vision = config.vision_config
    layers, patch = int(getattr(vision, "depth", 0) or vision.num_hidden_layers) - idle, _side(vision.patch_size)
    tile = _side(getattr(vision, "image_size", None) or 0)
    spans = [0] * layers
    if window := getattr(vision, "window_size", None):
        full = set(vision.fullatt_block_indexes)
        spans = [0 if layer in full else (window // patch) ** 2 for layer in range(layers)]
    return TowerShape(
        layers=layers,
        width=vision.hidden_size,
        inner=vision.intermediate_size,
        products=products,
        patch=patch,
        fold=_fold(config),
        class_tokens=0 if getattr(vision, "spatial_merge_size", None) else 1,
        tile=0 if getattr(vision, "spatial_merge_size", None) else tile,
        spans=tuple(spans),
    )


def _fold(config: Any) -> int:
    if merge := getattr(config.vision_config, "spatial_merge_size", None):
        return int(merge) * int(merge)
    if ratio := getattr(config, "downsample_ratio", None):
        return round(1 / float(ratio) ** 2)
    if scale := getattr(config, "scale_factor", None):
        return int(scale) * int(scale)
    if tokens := getattr(config, "mm_tokens_per_image", None):
        vision = config.vision_config
        return math.ceil((_side(vision.image_size) // _side(vision.patch_size)) ** 2 / int(tokens))
    return 1


def _side(size: Any) -> int:
    return int(size[0]) if isinstance(size, list | tuple) else int(size)
