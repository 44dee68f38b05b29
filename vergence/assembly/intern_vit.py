"""InternViT in its authors' layout (`intern_vit_6b`, whatever its size) as transformers' InternVLVisionModel.

The two compute the same: class token and patches with learned positions, pre-norm layers whose two branches are scaled
per channel, queries and keys optionally normalised over the whole width, all heads together, and no norm behind the
last layer. Only names differ, and queries, keys and values are one product there:

| files of the authors                        | transformers                                            |
|---------------------------------------------|---------------------------------------------------------|
| `embeddings.class_embedding`                | `embeddings.cls_token`                                  |
| `embeddings.patch_embedding.*`              | `embeddings.patch_embeddings.projection.*`              |
| `embeddings.position_embedding`             | `embeddings.position_embeddings`                        |
| `encoder.layers.N.attn.qkv.*`               | `encoder.layer.N.attention.{q,k,v}_proj.*`, in thirds   |
| `encoder.layers.N.attn.{q,k}_norm.weight`   | `encoder.layer.N.attention.{q,k}_norm.weight`           |
| `encoder.layers.N.attn.proj.*`              | `encoder.layer.N.attention.projection_layer.*`          |
| `encoder.layers.N.norm1.*`, `norm2.*`       | `encoder.layer.N.layernorm_before.*`, `layernorm_after` |
| `encoder.layers.N.mlp.*`                    | the same                                                |
| `encoder.layers.N.ls1`, `ls2`               | `encoder.layer.N.lambda_1`, `lambda_2`                  |

Differs from the authors' code: stochastic depth (`drop_path_rate`), which acts in training alone, is left out.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vergence.assembly.origins import Block, Origin
from vergence.errors import ModelError
from vergence.model.pretrained import reason_of

_DEFAULTS = {
    "hidden_size": 3200,
    "intermediate_size": 12800,
    "num_hidden_layers": 48,
    "num_attention_heads": 25,
    "num_channels": 3,
    "patch_size": 14,
    "image_size": 224,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
    "initializer_range": 0.02,
    "attention_dropout": 0.0,
}
"""Keys that are called the same in both, with what the authors' class takes where a config leaves one out."""
_RENAMED = {
    "qk_normalization": ("use_qk_norm", True),
    "qkv_bias": ("attention_bias", False),
    "norm_type": ("norm_type", "rms_norm"),
    "dropout": ("projection_dropout", 0.0),
    "initializer_factor": ("layer_scale_init_value", 0.1),
}
"""The authors' key -> transformers' key, and the authors' default."""
_NORMS = ("rms_norm", "layer_norm")
_QK_EPSILON = 1e-6
"""What transformers' class adds to the mean square of queries and keys; the authors' takes `layer_norm_eps`."""

_NAMES = (
    (r"^embeddings\.cls_token$", "embeddings.class_embedding"),
    (r"^embeddings\.patch_embeddings\.projection\.", "embeddings.patch_embedding."),
    (r"^embeddings\.position_embeddings$", "embeddings.position_embedding"),
    (r"^encoder\.layer\.", "encoder.layers."),
    (r"\.attention\.projection_layer\.", ".attn.proj."),
    (r"\.attention\.", ".attn."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.lambda_([12])$", r".ls\1"),
)
_THIRDS = {"q_proj": 0, "k_proj": 1, "v_proj": 2}


def tower_config(directory: Path, raw: Mapping[str, Any]) -> Any:
    """The authors' config as transformers' `InternVLVisionConfig`.

    Raises ModelError for one that the class would compute otherwise.
    """
    from transformers import InternVLVisionConfig

    same = {key: raw.get(key, default) for key, default in _DEFAULTS.items()}
    renamed = {ours: raw.get(key, default) for key, (ours, default) in _RENAMED.items()}
    if renamed["norm_type"] not in _NORMS:
        raise ModelError(
            f'{directory}: its tower has norm_type "{renamed["norm_type"]}"; expected one of {", ".join(_NORMS)}'
        )
    if renamed["use_qk_norm"] and same["layer_norm_eps"] != _QK_EPSILON:
        raise ModelError(
            f"{directory}: its tower normalises queries and keys with layer_norm_eps = {same['layer_norm_eps']}, and "
            f"transformers' class does it with {_QK_EPSILON}; such a tower cannot be converted"
        )
    width, heads = same["hidden_size"], same["num_attention_heads"]
    if not isinstance(width, int) or not isinstance(heads, int) or heads < 1 or width % heads:
        raise ModelError(
            f"{directory}: its tower is {width!r} wide and has {heads!r} heads; expected a multiple of them"
        )
    if raw.get("use_moe"):
        raise ModelError(f"{directory}: its tower is a mixture of experts (use_moe), which no class of transformers is")
    try:
        return InternVLVisionConfig(**same, **renamed, use_mean_pooling=True)  # no norm behind the last layer
    except Exception as error:  # transformers' own checks of types
        raise ModelError(f"{directory}: its tower's config cannot be used ({reason_of(error)})") from error


def tower_origin(name: str, config: Any) -> Origin:
    """Where a tensor of transformers' class stands in the authors' files; `config` is transformers'."""
    for pattern, replacement in _NAMES:
        name = re.sub(pattern, replacement, name)
    packed = re.search(r"\.(q_proj|k_proj|v_proj)\.", name)
    if packed is None:
        return Origin(name)
    width = config.hidden_size
    block = Block(first=_THIRDS[packed[1]] * width, length=width, stride=3 * width, rows=3 * width)
    return Origin(name.replace(packed[0], ".qkv."), block)
