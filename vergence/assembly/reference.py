"""What InternViT and the adapter behind it compute, written out from their published description, in plain torch.

    x = [class; conv(picture)] + position
    x = x + ls1 * attention(norm1(x));  x = x + ls2 * mlp(norm2(x))              for each layer
    adapter(x) = W2 gelu(W1 layernorm(shuffled(patches of x)))

It reads tensors by the names in the authors' files. A small model with random numbers goes through it and, converted,
through transformers' class: whether the installed version of transformers computes the published function is seen
before a large model is converted (`check_tower`, `check_chat`).
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vergence.assembly.checkpoint import fill
from vergence.assembly.intern_vit import tower_config, tower_origin
from vergence.assembly.origins import Origin, gathered
from vergence.assembly.stored import Held, whole
from vergence.errors import ParityError

TOLERANCE = 1e-4
"""Largest difference allowed, as a share of the largest feature: both sides compute in float32, in another order."""

_TWIN = {"num_hidden_layers": 2, "intermediate_size": 48}
_HEAD, _PATCHES, _TOKEN = 8, 4, 24
"""Of a twin: numbers in a head, patches along a side, width of a token of the language model."""

Tensors = Mapping[str, Tensor]


def hidden_states(tensors: Tensors, raw: Mapping[str, Any], pixels: Tensor) -> list[Tensor]:
    """[B, 3, H, W] -> what enters the first layer and what each layer gives: [B, 1 + patches, width] each."""
    kernel, bias = tensors["embeddings.patch_embedding.weight"], tensors["embeddings.patch_embedding.bias"]
    patches = functional.conv2d(pixels, kernel, bias, stride=kernel.shape[-1]).flatten(2).transpose(1, 2)
    first = tensors["embeddings.class_embedding"].expand(len(pixels), 1, -1)
    states = [torch.cat([first, patches], 1) + tensors["embeddings.position_embedding"]]
    for layer in range(raw["num_hidden_layers"]):
        prefix = f"encoder.layers.{layer}."
        own = {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}
        x = states[-1]
        x = x + own["ls1"] * _attention(own, raw, _norm(own, "norm1", raw, x))
        states.append(x + own["ls2"] * _mlp(own, raw, _norm(own, "norm2", raw, x)))
    return states


def image_embeddings(tensors: Tensors, features: Tensor, ratio: float) -> Tensor:
    """[B, 1 + patches, width] -> [B, tokens, token]: without the class token, folded, through the adapter."""
    folded = shuffled(features[:, 1:], ratio)
    normed = functional.layer_norm(folded, folded.shape[-1:], tensors["mlp1.0.weight"], tensors["mlp1.0.bias"])
    inner = functional.gelu(functional.linear(normed, tensors["mlp1.1.weight"], tensors["mlp1.1.bias"]))
    return functional.linear(inner, tensors["mlp1.3.weight"], tensors["mlp1.3.bias"])


def shuffled(patches: Tensor, ratio: float) -> Tensor:
    """[B, side * side, C] -> [B, tokens, C / ratio^2]: squares of neighbours as one token (`ps_version` v2)."""
    side, fold = math.isqrt(patches.shape[1]), round(1 / ratio)
    rows = [
        torch.cat([patches[:, (i * fold + a) * side + j * fold + b] for a in range(fold) for b in range(fold)], -1)
        for i in range(side // fold)
        for j in range(side // fold)
    ]
    return torch.stack(rows, 1)


def _norm(own: Tensors, name: str, raw: Mapping[str, Any], x: Tensor) -> Tensor:
    weight, epsilon = own[f"{name}.weight"], raw["layer_norm_eps"]
    if raw["norm_type"] == "layer_norm":
        return functional.layer_norm(x, x.shape[-1:], weight, own[f"{name}.bias"], epsilon)
    return _rms(x, weight, epsilon)


def _rms(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    return weight * x / (x.square().mean(-1, keepdim=True) + epsilon).sqrt()


def _attention(own: Tensors, raw: Mapping[str, Any], x: Tensor) -> Tensor:
    heads = raw["num_attention_heads"]
    queries, keys, values = functional.linear(x, own["attn.qkv.weight"], own.get("attn.qkv.bias")).chunk(3, -1)
    if raw["qk_normalization"]:  # over the whole width, all heads together
        queries = _rms(queries, own["attn.q_norm.weight"], raw["layer_norm_eps"])
        keys = _rms(keys, own["attn.k_norm.weight"], raw["layer_norm_eps"])
    queries, keys, values = (one.unflatten(-1, (heads, -1)).transpose(1, 2) for one in (queries, keys, values))
    weights = (queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1])).softmax(-1)
    joined = (weights @ values).transpose(1, 2).flatten(2)
    return functional.linear(joined, own["attn.proj.weight"], own["attn.proj.bias"])


def _mlp(own: Tensors, raw: Mapping[str, Any], x: Tensor) -> Tensor:
    from transformers.activations import ACT2FN

    activation: Callable[[Tensor], Tensor] = ACT2FN[raw["hidden_act"]]
    inner = activation(functional.linear(x, own["mlp.fc1.weight"], own["mlp.fc1.bias"]))
    return functional.linear(inner, own["mlp.fc2.weight"], own["mlp.fc2.bias"])


# ── small twins ──────────────────────────────────────────────────────────────────────────────────────────────────


def check_tower(directory: Path, raw: Mapping[str, Any]) -> float:
    """The largest difference, as a share of the largest feature, between a small tower of these settings as published
    and as transformers' class. Raises ParityError above the limit.
    """
    from transformers import InternVLVisionModel

    small = _small(directory, raw)
    model = InternVLVisionModel(tower_config(directory, small)).eval()
    published = _random(model, lambda name: tower_origin(name, model.config))
    _filled(directory, model, published, lambda name: tower_origin(name, model.config))
    pixels = _pixels(small)
    with torch.no_grad():
        return _compared(
            directory,
            "the tower",
            model(pixel_values=pixels).last_hidden_state,
            hidden_states(published, small, pixels)[-1],
        )


def check_chat(directory: Path, raw: Mapping[str, Any], config: Any, origin: Callable[[str, Any], Origin]) -> float:
    """The same of tower and adapter together: image embeddings of a small model of these settings.

    `config` is the whole model's as transformers has it, `origin` (name in the class, its config) -> place in the
    files.
    """
    from transformers import InternVLConfig, InternVLForConditionalGeneration, Qwen2Config

    small = _small(directory, raw["vision_config"])
    words = Qwen2Config(
        hidden_size=_TOKEN, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, vocab_size=8
    )
    words.num_key_value_heads = 2
    layer = _layer(config.vision_feature_layer)
    whole_config = InternVLConfig(
        vision_config=tower_config(directory, small),
        text_config=words,
        downsample_ratio=config.downsample_ratio,
        projector_hidden_act=config.projector_hidden_act,
        vision_feature_layer=layer,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        image_token_id=7,
    )
    model = InternVLForConditionalGeneration(whole_config).eval()
    image_side = {name for name in model.state_dict() if name.startswith(("model.vision_tower.", "model.multi_modal"))}
    published = _random(model, lambda name: origin(name, whole_config), image_side)
    _filled(directory, model, published, lambda name: origin(name, whole_config), image_side)
    pixels = _pixels(small)
    tower = {name.removeprefix("vision_model."): one for name, one in published.items()}
    with torch.no_grad():
        states = hidden_states(tower, small, pixels)
        theirs = image_embeddings(published, states[layer], config.downsample_ratio)
        features = model.model.get_image_features(
            pixel_values=pixels,
            vision_feature_layer=layer,
            vision_feature_select_strategy=whole_config.vision_feature_select_strategy,
            return_dict=True,
        ).pooler_output
        return _compared(directory, "tower and adapter", features, theirs)


def _small(directory: Path, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The authors' config cut down: as many heads, the same settings; two narrow layers, four patches a side."""
    config = tower_config(directory, raw)  # every key that they left out, with their default
    patch = min(int(config.patch_size[0]), 4)
    return {
        "num_channels": config.num_channels,
        "hidden_act": config.hidden_act,
        "layer_norm_eps": config.layer_norm_eps,
        "norm_type": config.norm_type,
        "qk_normalization": config.use_qk_norm,
        "qkv_bias": config.attention_bias,
        "num_attention_heads": config.num_attention_heads,
        "hidden_size": config.num_attention_heads * _HEAD,
        "patch_size": patch,
        "image_size": patch * _PATCHES,
        **_TWIN,
    }


def _layer(layer: int) -> int:
    """The last hidden state, or else an inner one: the twin has fewer layers."""
    return -1 if layer == -1 else -2


def _pixels(small: Mapping[str, Any]) -> Tensor:
    side = small["image_size"]
    return torch.randn(2, small["num_channels"], side, side, generator=torch.Generator().manual_seed(0))


def _random(model: Any, origin: Callable[[str], Origin], names: set[str] | None = None) -> dict[str, Tensor]:
    """Random numbers under the authors' names: around 1 for what multiplies a channel, about unit gain for products."""
    rng = torch.Generator().manual_seed(1)
    published: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        place = origin(name) if names is None or name in names else None
        if place is None or place.name in published:
            continue
        shape = tensor.shape if place.block is None else (place.block.rows, *tensor.shape[1:])
        numbers = torch.randn(shape, generator=rng)
        scaled = numbers * (numbers[0].numel() ** -0.5 if numbers.ndim > 1 else 0.1)
        published[place.name] = scaled + (numbers.ndim == 1 and not place.name.endswith("bias"))
    return published


def _filled(
    directory: Path,
    model: Any,
    published: Tensors,
    origin: Callable[[str], Origin],
    names: set[str] | None = None,
) -> None:
    """Give a model the published numbers, converted as those of a large model are."""
    state = model.state_dict()
    wanted = {name: tuple(one.shape) for name, one in state.items() if names is None or name in names}
    found = gathered(directory, {name: Held(one) for name, one in published.items()}, wanted, origin)
    fill(
        model, {name: one for name, one in state.items() if name not in found} | {n: whole(s) for n, s in found.items()}
    )


def _compared(directory: Path, what: str, ours: Tensor, theirs: Tensor) -> float:
    difference = float((ours - theirs).abs().max() / theirs.abs().max()) if ours.shape == theirs.shape else math.inf
    if not difference <= TOLERANCE:  # NaN is above it too
        raise ParityError(
            f"{directory}: transformers' class does not compute what the authors' code does: {what} of a small model "
            f"of these settings differ by {difference:.1e} of the largest feature (limit {TOLERANCE}); nothing was "
            "written"
        )
    return difference
