"""InternVL and Skywork R1V in the layout of their authors' code, as transformers' InternVLForConditionalGeneration.

`internvl_chat` (InternVL 2.5, 3, 3.5; R1V3) and `skywork_chat` (R1V, R1V2) are one layout:

| files of the authors                | transformers                                    |
|-------------------------------------|-------------------------------------------------|
| `vision_model.*`                    | `model.vision_tower.*` (intern_vit.py)          |
| `mlp1.0.*`, `mlp1.1.*`, `mlp1.3.*`  | `model.multi_modal_projector.layer_norm.*`, `linear_1.*`, `linear_2.*` |
| `language_model.model.*`            | `model.language_model.*`                        |
| `language_model.lm_head.weight`     | `lm_head.weight`                                |

The language model is the one that `llm_config.architectures` names. Qwen2, Qwen3 and Llama keep their names. InternLM2,
which transformers has no class of, is a Llama with packed queries, keys and values: each group of heads shares a key
and a value, and the rows of a group lie together (queries, key, value).

Config: `select_layer` -> `vision_feature_layer`, `downsample_ratio` as it is, `force_image_size` and the tiles
(`dynamic_image_size`, `min_dynamic_patch`, `max_dynamic_patch`, `use_thumbnail`) -> the image processor.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vergence.assembly.intern_vit import tower_config, tower_origin
from vergence.assembly.origins import Block, Origin
from vergence.errors import ModelError
from vergence.model.pretrained import reason_of

_TOWER, _ADAPTER, _DECODER = "model.vision_tower.", "model.multi_modal_projector.", "model.language_model."
_ADAPTER_NAMES = {"layer_norm": "mlp1.0", "linear_1": "mlp1.1", "linear_2": "mlp1.3"}

_LANGUAGES = {
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "LlamaForCausalLM": "llama",
    "InternLM2ForCausalLM": "llama",
    "InternLM3ForCausalLM": "llama",
}
"""`llm_config.architectures` -> transformers' model type."""
PACKED = "InternLM2ForCausalLM"

_KEPT = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "hidden_act", "max_position_embeddings", "initializer_range", "rms_norm_eps"),
    *("rope_theta", "rope_scaling", "rope_parameters", "attention_bias", "mlp_bias", "attention_dropout"),
    *("use_sliding_window", "sliding_window", "max_window_layers", "layer_types"),
    *("bos_token_id", "eos_token_id", "pad_token_id"),
)
"""Keys of a language model's config that say what it computes; the rest is other software's settings."""

_INTERNLM2_NAMES = (
    (r"\.embed_tokens\.", ".tok_embeddings."),
    (r"^language_model\.lm_head\.", "language_model.output."),
    (r"\.self_attn\.o_proj\.", ".attention.wo."),
    (r"\.self_attn\.", ".attention."),
    (r"\.mlp\.gate_proj\.", ".feed_forward.w1."),
    (r"\.mlp\.down_proj\.", ".feed_forward.w2."),
    (r"\.mlp\.up_proj\.", ".feed_forward.w3."),
    (r"\.input_layernorm\.", ".attention_norm."),
    (r"\.post_attention_layernorm\.", ".ffn_norm."),
)


@dataclass(frozen=True, slots=True, eq=False)
class Chat:
    """A whole model in its authors' layout, read but for its tensors."""

    directory: Path
    raw: Mapping[str, Any]
    config: Any
    """As transformers' `InternVLConfig`, but for the number format and the id of the image token."""
    packed: bool
    """Whether its language model packs queries, keys and values (InternLM2)."""
    side: int
    """Pixels along a side of a tile."""
    tiles: tuple[int, int] | None
    """The fewest and the most tiles of a picture; None where a picture is one square."""

    def origin(self, name: str, config: Any) -> Origin:
        """Where a tensor of transformers' class stands in the files."""
        if name.startswith(_TOWER):
            place = tower_origin(name.removeprefix(_TOWER), config.vision_config)
            return Origin(f"vision_model.{place.name}", place.block)
        if name.startswith(_ADAPTER):
            part, _, last = name.removeprefix(_ADAPTER).partition(".")
            return Origin(f"{_ADAPTER_NAMES[part]}.{last}")
        there = f"language_model.{name}" if not name.startswith(_DECODER) else _decoder(name)
        return _unpacked(there, config.text_config) if self.packed else Origin(there)


def read_chat(directory: Path, raw: Mapping[str, Any]) -> Chat:
    """Raises ModelError, naming the key, where transformers' class would compute something else."""
    from transformers import InternVLConfig

    tower, words = _section(directory, raw, "vision_config"), _section(directory, raw, "llm_config")
    for key, reason in _OTHERWISE.items():
        if raw.get(key):
            raise ModelError(f"{directory}: {key} = {raw[key]!r}: {reason}")
    if raw.get("ps_version", "v1") != "v2":
        raise ModelError(
            f"{directory}: ps_version = {raw.get('ps_version', 'v1')!r}: its pixel shuffle leaves rows and columns "
            'swapped, which transformers\' class does not do; expected "v2"'
        )
    vision = tower_config(directory, tower)
    ratio = _ratio(directory, raw)
    side = _side(directory, raw, vision, round(1 / ratio))
    architecture = (words.get("architectures") or [None])[0]
    text = _language(directory, words, architecture)
    config = InternVLConfig(
        vision_config=vision,
        text_config=text,
        image_seq_length=round((side // int(vision.patch_size[0]) * ratio) ** 2),
        downsample_ratio=ratio,
        projector_hidden_act="gelu",
        vision_feature_layer=_feature_layer(directory, raw, vision),
        vision_feature_select_strategy="default",
        tie_word_embeddings=bool(words.get("tie_word_embeddings", False)),
    )
    return Chat(directory, raw, config, architecture == PACKED, side, _tiles(directory, raw))


_OTHERWISE = {
    "use_backbone_lora": "its tower has low-rank updates beside its weights; merge them first",
    "use_llm_lora": "its language model has low-rank updates beside its weights; merge them first",
    "pad2square": "its pictures are padded to squares, which transformers' image processor does not do",
    "image_fold": "its pictures are folded before the tower, which transformers' class does not do",
}
"""Keys that change what is computed, where they are set."""


def _section(directory: Path, raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = raw.get(key)
    if not isinstance(found, dict):
        raise ModelError(f"{directory}: its config has no section {key}; copy or download it again")
    return found


def _ratio(directory: Path, raw: Mapping[str, Any]) -> float:
    ratio = raw.get("downsample_ratio", 0.5)
    if not isinstance(ratio, int | float) or not 0 < ratio <= 1 or round(1 / ratio) * ratio != 1:
        raise ModelError(
            f"{directory}: downsample_ratio = {ratio!r}; expected one divided by a whole number, such as 0.5"
        )
    return float(ratio)


def _side(directory: Path, raw: Mapping[str, Any], vision: Any, fold: int) -> int:
    side = raw.get("force_image_size") or vision.image_size[0]
    patch = vision.patch_size[0]
    if not isinstance(side, int) or side < 1 or side % patch or (side // patch) % fold:
        raise ModelError(
            f"{directory}: pictures of {side!r} pixels are no whole number of {fold} x {fold} patches of {patch} "
            "pixels; correct force_image_size in its config.json"
        )
    return side


def _tiles(directory: Path, raw: Mapping[str, Any]) -> tuple[int, int] | None:
    if not raw.get("dynamic_image_size", False):
        return None
    fewest, most = raw.get("min_dynamic_patch", 1), raw.get("max_dynamic_patch", 6)
    if not isinstance(fewest, int) or not isinstance(most, int) or not 1 <= fewest <= most:
        raise ModelError(
            f"{directory}: between {fewest!r} and {most!r} tiles; expected whole numbers, the smaller first"
        )
    if most > 1 and not raw.get("use_thumbnail", False):
        raise ModelError(
            f"{directory}: use_thumbnail = false with up to {most} tiles: transformers' image processor always adds a "
            "thumbnail to several tiles"
        )
    return fewest, most


def _feature_layer(directory: Path, raw: Mapping[str, Any], vision: Any) -> int:
    layer, states = raw.get("select_layer", -1), vision.num_hidden_layers + 1
    if not isinstance(layer, int) or not -states <= layer < states:
        raise ModelError(
            f"{directory}: select_layer = {layer!r}; the tower has hidden states {-states} to {states - 1}"
        )
    return layer


def _language(directory: Path, raw: Mapping[str, Any], architecture: Any) -> Any:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if architecture not in _LANGUAGES:
        raise ModelError(
            f"{directory}: its language model is of class {architecture}, which cannot be converted; expected one of "
            f"{', '.join(_LANGUAGES)}"
        )
    if raw.get("rope_pos_id_version", "default") != "default":
        raise ModelError(f"{directory}: rope_pos_id_version = {raw['rope_pos_id_version']!r}, which no class has")
    kept = {key: raw[key] for key in _KEPT if raw.get(key) is not None}
    if architecture == PACKED:
        kept["attention_bias"] = bool(raw.get("bias", True))
    if architecture == "InternLM3ForCausalLM" and (raw.get("bias") or raw.get("qkv_bias")):
        raise ModelError(f"{directory}: an InternLM3 with biases, which transformers' Llama class has elsewhere")
    kept["tie_word_embeddings"] = bool(raw.get("tie_word_embeddings", False))
    try:
        return CONFIG_MAPPING[_LANGUAGES[architecture]](**kept)
    except Exception as error:  # transformers' own checks of types
        raise ModelError(f"{directory}: its llm_config cannot be used ({reason_of(error)})") from error


def _decoder(name: str) -> str:
    return f"language_model.model.{name.removeprefix(_DECODER)}"


def _unpacked(name: str, text: Any) -> Origin:
    for pattern, replacement in _INTERNLM2_NAMES:
        name = re.sub(pattern, replacement, name)
    projection = re.search(r"\.attention\.(q_proj|k_proj|v_proj)\.", name)
    if projection is None:
        return Origin(name)
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    groups = text.num_key_value_heads
    queries = text.num_attention_heads // groups
    stride = (queries + 2) * size
    first, length = {"q_proj": (0, queries * size), "k_proj": (queries * size, size), "v_proj": (stride - size, size)}[
        projection[1]
    ]
    return Origin(name.replace(projection[0], ".attention.wqkv."), Block(first, length, stride, rows=groups * stride))
