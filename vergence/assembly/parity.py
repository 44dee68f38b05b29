"""The proof that each half of an assembled model still computes what its parent computed.

Three things are compared, and none of them asks for the whole model in memory if it is large:

- every tensor in the files, bit by bit, with the parent's (`vergence/assembly/shards.py`);
- logits and tower features of the saved model, loaded by plain transformers, with those of its parents, where that
  fits into the memory allowed;
- otherwise the same of twins: models of the parents' own classes and configs, cut down to two layers and random
  numbers, put together in the same way. Equal functions and equal numbers are equal models.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from vergence.assembly.checkpoint import fill
from vergence.assembly.compose import Composition
from vergence.assembly.parts import EMBEDDING, NAFLEX, LanguagePart, VisionPart
from vergence.assembly.pictures import Pictures
from vergence.assembly.stored import whole
from vergence.assembly.twins import WORDS, twin_language, twin_vision
from vergence.errors import ParityError
from vergence.model.families.family import Pixels
from vergence.model.families.known import family_of
from vergence.model.families.towers import patch_size
from vergence.model.pretrained import model_built, model_from

TOLERANCE = 1e-5
"""Of text logits, and of the features of a NaFlex tower."""


@dataclass(frozen=True, slots=True)
class Parity:
    """The largest differences between the assembled model and its parents."""

    text_logits: float
    """Over the old vocabulary, on random text; must be at most 1e-5."""
    tower_features: float
    """On random pictures, as a share of the largest feature if that is above 1; must be 0, and at most 1e-5 for a
    SigLIP2 tower of the NaFlex kind, whose patches are cut by another operation."""
    of: Literal["models", "twins"]
    """Whose logits and features: those of the models themselves, or of their small twins."""
    equal_tensors: int
    """How many tensors in the files are bit for bit the parents'."""


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """What both sides are shown."""

    token_ids: Tensor
    """[4, 24], from the old vocabulary and without the image token."""
    pixels: Tensor
    """[2, 3, side, side]"""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a model, or its parents, make of the probe."""

    logits: Tensor
    """[4, 24, old vocabulary]"""
    features: Tensor
    """[image tokens of both pictures, tower width], as the adapter reads them."""


def make_probe(*, words: int, image_token_id: int, side: int, seed: int, device: torch.device) -> Probe:
    """Random text and random pictures; the same for the same arguments."""
    rng = torch.Generator().manual_seed(seed)
    ids = torch.randint(words, (4, 24), generator=rng)
    ids = torch.where(ids == image_token_id, (ids + 1) % words, ids)
    pixels = torch.rand(2, 3, side, side, generator=rng) * 2 - 1
    return Probe(ids.to(device), pixels.to(device))


def compare_models(
    directory: Path, vision: VisionPart, language: LanguagePart, pictures: Pictures, *, seed: int, device: torch.device
) -> tuple[float, float]:
    """The saved model, loaded by plain transformers in float32, against its parents, one after the other.

    Gives the largest difference of text logits and of tower features. Raises ParityError if transformers does not find
    every tensor in the files, or finds others.
    """
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText

    loader: Any = AutoModelForImageTextToText
    model, info = model_from(loader, directory, dtype=torch.float32, output_loading_info=True)
    astray = {kind: sorted(map(str, names))[:3] for kind, names in info.items() if names}
    if astray:
        raise ParityError(f"plain transformers does not load what was put together: {astray}; nothing was written")
    words = language.tensors[EMBEDDING].shape[0]
    token = int(model.config.image_token_id)
    probe = make_probe(words=words, image_token_id=token, side=pictures.side, seed=seed, device=device)
    config = model.config
    ours = _answers(model.to(device).eval(), probe, words)
    del model
    tower = _parent(AutoModel, vision.directory, vision.config, None if not vision.within else vision, device)
    features = _tower_features(tower, probe, config)
    del tower
    parent = _parent(
        AutoModelForCausalLM, language.directory, language.config, None if not language.within else language, device
    )
    logits = _logits(parent, probe)
    return _difference(ours, Answers(logits, features))


def compare_twins(
    vision: VisionPart, language: LanguagePart, pictures: Pictures, composed: Any, *, seed: int
) -> tuple[float, float]:
    """The same for small twins of all three. `composed` is (vision, language, rows, image token id) -> Composition."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        small_vision, tower = twin_vision(vision)
        small_language, parent = twin_language(language)
    composition: Composition = composed(small_vision, small_language, WORDS + 1, WORDS)
    model = composition.model_class(composition.config)
    fill(model, {name: whole(source) for name, source in composition.tensors.items()})
    probe = make_probe(words=WORDS, image_token_id=WORDS, side=pictures.side, seed=seed, device=torch.device("cpu"))
    theirs = Answers(_logits(parent, probe), _tower_features(tower, probe, composition.config))
    return _difference(_answers(model.eval(), probe, WORDS), theirs)


def check(text_logits: float, tower_features: float, vision: VisionPart, what: str) -> None:
    """Raises ParityError where a difference is larger than it may be."""
    limit = TOLERANCE if vision.config.model_type == NAFLEX else 0.0
    if text_logits > TOLERANCE or tower_features > limit:
        raise ParityError(
            f"{what}: text logits differ by {text_logits:.2e} from the parent's (limit {TOLERANCE}) and tower features "
            f"by {tower_features:.2e} (limit {limit}); nothing was written"
        )


@torch.no_grad()
def _answers(model: Any, probe: Probe, words: int) -> Answers:
    logits = model(input_ids=probe.token_ids).logits[..., :words].cpu()
    one = ((1, 1, 1),) * len(probe.pixels)  # the tower does not ask how the tokens lie
    features = family_of(model.config).tower(model, Pixels(probe.pixels, (1,) * len(probe.pixels), one))
    return Answers(logits, features.cpu())


@torch.no_grad()
def _logits(language_model: Any, probe: Probe) -> Tensor:
    logits: Tensor = language_model(input_ids=probe.token_ids).logits
    return logits.cpu()


@torch.no_grad()
def _tower_features(tower: Any, probe: Probe, config: Any) -> Tensor:
    """What transformers' own tower says, read as the config of the whole model reads it."""
    inputs: dict[str, Any] = {"pixel_values": probe.pixels}
    if tower.config.model_type == NAFLEX:
        inputs = _cut_up(probe.pixels, patch_size(tower.config))
    output = tower(**inputs, output_hidden_states=True)
    layer = config.vision_feature_layer
    if config.model_type == "internvl":
        hidden = output.last_hidden_state if layer == -1 else output.hidden_states[layer]
        return _shuffled(hidden, config).cpu()
    layers = [layer] if isinstance(layer, int) else layer
    hidden = torch.cat([output.hidden_states[one] for one in layers], dim=-1)
    kept = hidden[:, 1:] if config.vision_feature_select_strategy == "default" else hidden
    return kept.flatten(0, 1).cpu()


def _shuffled(hidden: Tensor, config: Any) -> Tensor:
    """2 x 2 neighbours side by side: those of the upper row first, each with its right neighbour."""
    kept = hidden[:, 1:] if config.vision_feature_select_strategy == "default" else hidden
    fold, side = round(1 / config.downsample_ratio), int(kept.shape[1] ** 0.5)
    cells = kept.unflatten(1, (side // fold, fold, side // fold, fold))
    folded: Tensor = cells.permute(0, 1, 3, 2, 4, 5).flatten(3, 5).flatten(0, 2)
    return folded


def _cut_up(pixels: Tensor, patch: int) -> dict[str, Tensor]:
    count, colours, height, width = pixels.shape
    shape = (height // patch, width // patch)
    cells = pixels.unflatten(3, (shape[1], patch)).unflatten(2, (shape[0], patch))
    values = cells.permute(0, 2, 4, 3, 5, 1).reshape(count, shape[0] * shape[1], patch * patch * colours)
    mask = torch.ones(values.shape[:2], dtype=torch.int32, device=pixels.device)
    return {"pixel_values": values, "pixel_attention_mask": mask, "spatial_shapes": torch.tensor([shape] * count)}


def _parent(loader: Any, directory: Path, config: Any, part: Any, device: torch.device) -> Any:
    """Loaded by transformers, in float32; a part of a larger model is built by itself and filled."""
    if part is None:
        return model_from(loader, directory, dtype=torch.float32).to(device).eval()
    tensors = {name: whole(source).float() for name, source in part.tensors.items()}
    config = type(config).from_dict(config.to_dict() | {"dtype": "float32"})
    model = model_built(loader, config)
    if isinstance(part, LanguagePart):
        tensors = {f"{model.base_model_prefix}.{name}": tensor for name, tensor in tensors.items()}
        if part.head is not None:
            tensors["lm_head.weight"] = whole(part.head).float()
    fill(model, tensors)
    return model.to(device).eval()


def _difference(ours: Answers, theirs: Answers) -> tuple[float, float]:
    if ours.features.shape != theirs.features.shape:
        raise ParityError(f"the tower gives {tuple(theirs.features.shape)} features, {tuple(ours.features.shape)} here")
    size = max(1.0, float(theirs.features.abs().max()))
    return (
        float((ours.logits - theirs.logits).abs().max()),
        float((ours.features - theirs.features).abs().max()) / size,
    )
