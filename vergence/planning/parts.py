"""The model directories that a recipe names, opened as plain files: what a run would refuse is refused here, at once.

Nothing is imported that takes long (no torch, no transformers) and no weight is read, so `vergence check` can do it.
What only transformers knows, such as whether a value of a config is one of its class's, is left to the run, which does
the same first.
"""

from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vergence.errors import ModelError, RecipeError
from vergence.model.config_file import TOWER_LAYOUT, check_transformers_layout, own_code_refused, raw_config, read_json
from vergence.model.families.supported import FREE_TOWERS, SUPPORTED, unsupported, unsupported_tower
from vergence.model.families.towers import TOWERS
from vergence.model.needed_files import (
    base_of,
    check_chat_template,
    check_image_processor,
    check_tokenizer,
    check_weights,
)
from vergence.recipe.reward_model import LoadRewardModelStage
from vergence.recipe.schema import Recipe
from vergence.recipe.stages import AssembleStage, LoadStage

_NAFLEX = "siglip2_vision_model"
_TWO_HALVES = {"clip": "clip_vision_model", "siglip": "siglip_vision_model", "siglip2": _NAFLEX}
"""Models of pictures and texts, and what their tower is where the file does not say."""
_AS_INTERNVIT = ("internvl_vision", TOWER_LAYOUT, "dinov2")
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


def check_parts(recipe: Recipe, *, all_there: bool) -> tuple[Path, ...]:
    """Every model directory that a recipe names. Gives those that are not there; with `all_there` they are refused too.

    Raises ModelError or RecipeError in one line that names the directory.
    """
    absent: list[Path] = []

    def look(path: Path | None, check: Callable[[Path], None]) -> None:
        if path is None:
            return
        if path.is_dir() or all_there:
            check(path)
        else:
            absent.append(path)

    for stage in recipe.stage:
        match stage:
            case LoadStage():
                look(stage.path, check_policy)
            case AssembleStage():
                look(stage.vision, partial(_check_vision, stage=stage))
                look(stage.language, _check_language)
                look(stage.adapter, partial(_check_adapter, model_type=stage.to))
            case LoadRewardModelStage(path=Path()):
                look(stage.path, partial(_check_reward_model, kind=stage.kind))
    return tuple(dict.fromkeys(absent))


def check_policy(path: Path) -> None:
    """A vision-language checkpoint, or low-rank updates of one. Raises ModelError."""
    config = _config(base_of(path))
    kind = config["model_type"]
    if kind not in SUPPORTED:
        raise ModelError(f"{path}: {unsupported(kind)}")
    tower = _section(config, "vision_config").get("model_type")
    if kind in FREE_TOWERS and tower is not None and tower not in SUPPORTED[kind]:
        raise ModelError(f"{path}: {unsupported_tower(kind, tower)}")
    folder = base_of(path)
    check_weights(folder)
    check_tokenizer(folder)
    check_chat_template(folder)
    check_image_processor(folder)


def _check_vision(path: Path, stage: AssembleStage) -> None:
    raw = raw_config(path)
    config = raw if raw["model_type"] == TOWER_LAYOUT else _config(path)
    own = _section(config, "vision_config") or config
    kind = own.get("model_type", _TWO_HALVES.get(config["model_type"], config["model_type"]))
    if config["model_type"] == "internvl":
        kind = "internvl_vision"  # whatever the file says, it is read as one
    if kind not in (*TOWERS, _NAFLEX, TOWER_LAYOUT):
        raise ModelError(
            f'{path}: model type "{kind}" is not a vision tower that can be assembled; expected one of '
            f"{', '.join((*TOWERS, _NAFLEX, TOWER_LAYOUT))}, or a model that has one"
        )
    if stage.to == "internvl" and (kind not in _AS_INTERNVIT or own.get("use_swiglu_ffn")):
        raise ModelError(
            f'{path}: transformers\' InternVL class reads every tower as an InternViT, and a tower of type "{kind}" '
            'does not compute what an InternViT does; use --to llava (in a recipe, to = "llava")'
        )
    if stage.to == "llava" and stage.max_tiles > 1:
        raise ModelError(
            f"{stage.max_tiles} tiles: only a model of the InternVL class cuts a picture into tiles; use 1"
        )
    patch = own.get("patch_size")
    patch = patch[0] if isinstance(patch, list) and patch else patch
    if stage.image_size is not None and isinstance(patch, int) and patch > 0 and stage.image_size % patch:
        raise ModelError(
            f"{path}: pictures of {stage.image_size} pixels are no whole number of patches of {patch} pixels; give an "
            f"image size that is one, such as {max(stage.image_size // patch, 1) * patch}"
        )
    check_weights(path)


def _check_language(path: Path) -> None:
    config = _config(path)
    own = _section(config, "text_config") or config
    if own.get("is_encoder_decoder") or config.get("is_encoder_decoder"):
        raise ModelError(
            f'{path}: model type "{config["model_type"]}" is an encoder with a decoder; expected a decoder alone, '
            "which can continue a prompt that holds a picture"
        )
    experts = next((key for key in _EXPERTS if isinstance(own.get(key), int) and own[key] > 1), None)
    if experts is not None:
        raise ModelError(
            f"{path}: {experts} = {own[experts]}: mixtures of experts cannot be put together; take a dense language "
            "model"
        )
    check_weights(path)
    check_tokenizer(path)


def _check_adapter(path: Path, model_type: str) -> None:
    kind = _config(path)["model_type"]
    if kind != model_type:
        raise ModelError(
            f'{path}: model type "{kind}" has no adapter of a model of type "{model_type}"; give a {model_type} '
            "checkpoint, or put the parts together as the class that the adapter is from"
        )
    check_weights(path)


def _check_reward_model(path: Path, kind: str) -> None:
    found, folder = _reward_model_kind(path)
    if found != kind:
        raise RecipeError(f'{path}: a reward model of kind "{found}"; set kind = "{found}"')
    match found:
        case "vergence":
            check_policy(folder)
            if not (folder / "reward_head.safetensors").is_file():
                raise ModelError(f"{folder}: has a reward.json and no reward_head.safetensors; copy it there")
        case "value_head":
            check_policy(folder)
        case "classifier":
            config = _config(folder)
            labels = config.get("id2label") or {}
            count = config.get("num_labels", len(labels) if isinstance(labels, dict) and labels else 2)
            if count != 1:
                raise ModelError(f"{folder}: a classifier with {count} labels; a reward model has one")
            check_weights(folder)
            check_tokenizer(folder)
            check_chat_template(folder)


def _reward_model_kind(path: Path) -> tuple[str, Path]:
    """Of a directory, as `vergence/scoring/load.py` sees it, and where its model is."""
    if (path / "source.json").is_file():
        said = read_json(path / "source.json")
        if said.get("kind") == "http":
            return "http", path
        return _reward_model_kind(Path(str(said.get("place"))))
    for folder in (path, path / "reward_model"):
        if (folder / "reward.json").is_file():
            return "vergence", folder
    if not path.is_dir():
        raise ModelError(f"{path}: no such directory; expected a reward model")
    if any((path / name).is_file() for name in ("value_head.safetensors", "value_head.bin")):
        return "value_head", path
    architectures = _config(path).get("architectures") or []
    if any(str(name).endswith("ForSequenceClassification") for name in architectures):
        return "classifier", path
    raise ModelError(
        f"{path}: no reward model; expected reward.json (one made by Vergence), value_head.safetensors (a value head), "
        f"or a sequence classifier, found {', '.join(map(str, architectures)) or 'a config without a class'}"
    )


def _config(path: Path) -> Mapping[str, Any]:
    config = raw_config(path)
    check_transformers_layout(path, config)
    kind = config["model_type"]
    if "AutoConfig" in _section(config, "auto_map") and not _known(kind):
        raise own_code_refused(path, kind)
    if config.get("quantization_config"):
        raise ModelError(f"{path}: its weights are quantised; take the checkpoint that it was made from")
    return config


def _known(kind: str) -> bool:
    """Whether transformers has such a model, by the folder that it would be in."""
    spec = find_spec("transformers")
    places = list(spec.submodule_search_locations or ()) if spec else []
    return any((Path(place) / "models" / kind.replace("-", "_")).is_dir() for place in places)


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name)
    return found if isinstance(found, dict) else {}
