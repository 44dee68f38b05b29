"""Tiny checkpoints as OpenGVLab and Skywork publish them, written by hand: their names, their files, their config keys.

Nothing of Vergence is used here, and of transformers only what the published models use themselves (Qwen2, Qwen3 and
Llama classes). `Published.logits` and `Published.image_embeddings` are the published computation in plain torch.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

Raw = dict[str, Any]

NOT_OURS: Raw = {
    "_name_or_path": "somewhere",
    "add_cross_attention": False,
    "bad_words_ids": None,
    "top_k": 50,
    "top_p": 1.0,
    "temperature": 1.0,
    "max_length": 20,
    "return_dict": True,
    "pruned_heads": {},
    "use_bfloat16": True,
    "is_decoder": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.37.2",
    "typical_p": 1.0,
}
"""Keys that published configs carry and that say nothing of the model."""
TOWERS: dict[str, Raw] = {
    "InternViT-6B-448px-V2_5": {
        "hidden_size": 100,
        "intermediate_size": 400,
        "num_attention_heads": 25,
        "num_hidden_layers": 3,
        "qk_normalization": True,
        "qkv_bias": False,
        "norm_type": "rms_norm",
        "initializer_factor": 0.1,
    },
    "InternViT-300M-448px-V2_5": {
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_attention_heads": 16,
        "num_hidden_layers": 3,
        "qk_normalization": False,
        "qkv_bias": True,
        "norm_type": "layer_norm",
        "initializer_factor": 0.1,
    },
}
"""With the settings and the ratios of their published configs: 3200, 12800 and 25 heads; 1024, 4096 and 16 heads."""
_TOWER_REST: Raw = {
    "architectures": ["InternVisionModel"],
    "model_type": "intern_vit_6b",
    "attention_dropout": 0.0,
    "dropout": 0.0,
    "drop_path_rate": 0.4,
    "hidden_act": "gelu",
    "image_size": 56,
    "patch_size": 14,
    "num_channels": 3,
    "initializer_range": 1e-10,
    "layer_norm_eps": 1e-6,
    "use_flash_attn": True,
    "use_bfloat16": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.37.2",
    "use_moe": False,
    "num_experts": 8,
    "auto_map": {"AutoConfig": "configuration_intern_vit.InternVisionConfig"},
}
LANGUAGES: dict[str, Raw] = {
    "Qwen2ForCausalLM": {
        "model_type": "qwen2",
        "num_attention_heads": 40,
        "num_key_value_heads": 8,
        "rope_theta": 1000000.0,
        "rope_scaling": {"factor": 2.0, "rope_type": "dynamic", "type": "dynamic"},
        "rms_norm_eps": 1e-5,
        "use_sliding_window": False,
        "sliding_window": 131072,
        "max_window_layers": 64,
        "moe_config": None,
        "attn_implementation": "flash_attention_2",
    },
    "Qwen3ForCausalLM": {
        "model_type": "qwen3",
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 16,
        "rope_theta": 1000000.0,
        "rope_scaling": None,
        "rms_norm_eps": 1e-6,
        "attention_bias": False,
    },
    "LlamaForCausalLM": {
        "model_type": "llama",
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "rope_theta": 500000.0,
        "rms_norm_eps": 1e-5,
        "attention_bias": False,
        "pretraining_tp": 1,
    },
    "InternLM2ForCausalLM": {
        "model_type": "internlm2",
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "rope_theta": 1000000,
        "rope_scaling": {"factor": 2.0, "type": "dynamic"},
        "rms_norm_eps": 1e-5,
        "bias": False,
        "auto_map": {"AutoConfig": "configuration_internlm2.InternLM2Config"},
    },
}
_LANGUAGE_REST: Raw = {
    "hidden_size": 160,
    "intermediate_size": 864,
    "num_hidden_layers": 2,
    "hidden_act": "silu",
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    "initializer_range": 0.02,
    "use_cache": True,
}
_CLASSES = {
    "Qwen2ForCausalLM": (Qwen2Config, Qwen2ForCausalLM),
    "Qwen3ForCausalLM": (Qwen3Config, Qwen3ForCausalLM),
    "LlamaForCausalLM": (LlamaConfig, LlamaForCausalLM),
}
IMAGE_TOKENS = ("<img>", "</img>", "<IMG_CONTEXT>", "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>")
QWEN_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|image_pad|>", "<|video_pad|>")
QWEN_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
)
"""Of a reasoning model, as R1V2's own: what is thought has begun."""


# ── tensors ──────────────────────────────────────────────────────────────────────────────────────────────────────


def tower_shapes(raw: Raw) -> dict[str, tuple[int, ...]]:
    """Every tensor of an InternViT."""
    width, inner, patch = raw["hidden_size"], raw["intermediate_size"], raw["patch_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.class_embedding": (1, 1, width),
        "embeddings.position_embedding": (1, (raw["image_size"] // patch) ** 2 + 1, width),
        "embeddings.patch_embedding.weight": (width, 3, patch, patch),
        "embeddings.patch_embedding.bias": (width,),
    }
    for layer in range(raw["num_hidden_layers"]):
        own: dict[str, tuple[int, ...]] = {"ls1": (width,), "ls2": (width,), "attn.qkv.weight": (3 * width, width)}
        own |= {"attn.proj.weight": (width, width), "attn.proj.bias": (width,)}
        own |= {"mlp.fc1.weight": (inner, width), "mlp.fc1.bias": (inner,)}
        own |= {"mlp.fc2.weight": (width, inner), "mlp.fc2.bias": (width,)}
        own |= {f"{norm}.weight": (width,) for norm in ("norm1", "norm2")}
        if raw["norm_type"] == "layer_norm":
            own |= {f"{norm}.bias": (width,) for norm in ("norm1", "norm2")}
        if raw["qkv_bias"]:
            own["attn.qkv.bias"] = (3 * width,)
        if raw["qk_normalization"]:
            own |= {"attn.q_norm.weight": (width,), "attn.k_norm.weight": (width,)}
        shapes |= {f"encoder.layers.{layer}.{name}": shape for name, shape in own.items()}
    return shapes


def internlm2_shapes(raw: Raw) -> dict[str, tuple[int, ...]]:
    """Every tensor of an InternLM2."""
    width, inner, heads, groups = (
        raw[key] for key in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
    )
    packed = (heads + 2 * groups) * (width // heads)
    shapes: dict[str, tuple[int, ...]] = {
        "model.tok_embeddings.weight": (raw["vocab_size"], width),
        "model.norm.weight": (width,),
        "output.weight": (raw["vocab_size"], width),
    }
    for layer in range(raw["num_hidden_layers"]):
        own: dict[str, tuple[int, ...]] = {
            "attention.wqkv.weight": (packed, width),
            "attention.wo.weight": (width, width),
            "feed_forward.w1.weight": (inner, width),
            "feed_forward.w2.weight": (width, inner),
            "feed_forward.w3.weight": (inner, width),
            "attention_norm.weight": (width,),
            "ffn_norm.weight": (width,),
        }
        if raw["bias"]:
            own |= {"attention.wqkv.bias": (packed,), "attention.wo.bias": (width,)}
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in own.items()}
    return shapes


def drawn(shapes: dict[str, tuple[int, ...]], seed: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Other numbers in every tensor; what scales a channel is around 1."""
    rng = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in shapes.items():
        numbers = torch.randn(shape, generator=rng)
        product = len(shape) > 1 and "embedding" not in name
        scaled = numbers * (math.prod(shape[1:]) ** -0.5 if product else 0.3)
        found[name] = (scaled + (len(shape) == 1 and not name.endswith("bias"))).to(dtype)
    return found


# ── the published computation ────────────────────────────────────────────────────────────────────────────────────


def rms(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Root mean square over the last axis."""
    return x / torch.sqrt((x**2).mean(-1, keepdim=True) + epsilon) * weight


def tower_states(t: dict[str, Tensor], raw: Raw, pixels: Tensor) -> list[Tensor]:
    """Of one picture [3, H, W]: what enters the first layer, and what each layer gives, [1 + patches, width]."""
    patch, width, heads = raw["patch_size"], raw["hidden_size"], raw["num_attention_heads"]
    kernel = t["embeddings.patch_embedding.weight"].reshape(width, -1)
    rows = [t["embeddings.class_embedding"].reshape(width)]
    for top in range(0, pixels.shape[1], patch):
        for left in range(0, pixels.shape[2], patch):
            cell = pixels[:, top : top + patch, left : left + patch].reshape(-1)
            rows.append(kernel @ cell + t["embeddings.patch_embedding.bias"])
    x = torch.stack(rows) + t["embeddings.position_embedding"][0]
    states = [x]

    def norm(name: str, y: Tensor) -> Tensor:
        if raw["norm_type"] == "rms_norm":
            return rms(y, t[f"{name}.weight"], raw["layer_norm_eps"])
        centred = y - y.mean(-1, keepdim=True)
        spread = torch.sqrt((centred**2).mean(-1, keepdim=True) + raw["layer_norm_eps"])
        return centred / spread * t[f"{name}.weight"] + t[f"{name}.bias"]

    for layer in range(raw["num_hidden_layers"]):
        p = f"encoder.layers.{layer}"
        packed = norm(f"{p}.norm1", x) @ t[f"{p}.attn.qkv.weight"].T
        if raw["qkv_bias"]:
            packed = packed + t[f"{p}.attn.qkv.bias"]
        q, k, v = packed[:, :width], packed[:, width : 2 * width], packed[:, 2 * width :]
        if raw["qk_normalization"]:
            q = rms(q, t[f"{p}.attn.q_norm.weight"], raw["layer_norm_eps"])
            k = rms(k, t[f"{p}.attn.k_norm.weight"], raw["layer_norm_eps"])
        size, parts = width // heads, []
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            weights = torch.softmax(q[:, own] @ k[:, own].T / math.sqrt(size), -1)
            parts.append(weights @ v[:, own])
        x = x + t[f"{p}.ls1"] * (torch.cat(parts, -1) @ t[f"{p}.attn.proj.weight"].T + t[f"{p}.attn.proj.bias"])
        inner = norm(f"{p}.norm2", x) @ t[f"{p}.mlp.fc1.weight"].T + t[f"{p}.mlp.fc1.bias"]
        inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
        x = x + t[f"{p}.ls2"] * (inner @ t[f"{p}.mlp.fc2.weight"].T + t[f"{p}.mlp.fc2.bias"])
        states.append(x)
    return states


def internlm2_logits(t: dict[str, Tensor], raw: Raw, embedded: Tensor) -> Tensor:
    """[S, W] -> [S, V], head by head."""
    heads, groups, width = raw["num_attention_heads"], raw["num_key_value_heads"], raw["hidden_size"]
    size, queries, length = width // heads, heads // groups, len(embedded)
    angles = torch.arange(length)[:, None] * raw["rope_theta"] ** (-torch.arange(0, size, 2) / size)[None]
    cos, sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)

    def turned(y: Tensor) -> Tensor:
        half = size // 2
        return y * cos + torch.cat([-y[:, half:], y[:, :half]], -1) * sin

    x, causal = embedded, torch.ones(length, length).tril().bool()
    for layer in range(raw["num_hidden_layers"]):
        p = f"model.layers.{layer}"
        packed = rms(x, t[f"{p}.attention_norm.weight"], raw["rms_norm_eps"]) @ t[f"{p}.attention.wqkv.weight"].T
        if raw["bias"]:
            packed = packed + t[f"{p}.attention.wqkv.bias"]
        parts = []
        for group in range(groups):
            own = packed[:, group * (queries + 2) * size : (group + 1) * (queries + 2) * size]
            k, v = turned(own[:, queries * size : (queries + 1) * size]), own[:, (queries + 1) * size :]
            for query in range(queries):
                q = turned(own[:, query * size : (query + 1) * size])
                scores = (q @ k.T / math.sqrt(size)).masked_fill(~causal, -math.inf)
                parts.append(torch.softmax(scores, -1) @ v)
        out = torch.cat(parts, -1) @ t[f"{p}.attention.wo.weight"].T
        x = x + (out + t[f"{p}.attention.wo.bias"] if raw["bias"] else out)
        y = rms(x, t[f"{p}.ffn_norm.weight"], raw["rms_norm_eps"])
        gate = functional.silu(y @ t[f"{p}.feed_forward.w1.weight"].T)
        x = x + (gate * (y @ t[f"{p}.feed_forward.w3.weight"].T)) @ t[f"{p}.feed_forward.w2.weight"].T
    return rms(x, t["model.norm.weight"], raw["rms_norm_eps"]) @ t["output.weight"].T


@dataclass(frozen=True)
class Published:
    """A whole model as it is published: its config, its tensors by their names in the files, its directory."""

    folder: Path
    raw: Raw
    tensors: dict[str, Tensor] = field(repr=False)

    def below(self, prefix: str) -> dict[str, Tensor]:
        """One part, in float32 (float64 would hide nothing: the class computes in float32)."""
        return {
            name.removeprefix(prefix): tensor.float()
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }

    def image_embeddings(self, pixels: Tensor) -> Tensor:
        """[K, 3, side, side] -> [K * tokens, W]."""
        tower, mlp, fold = self.below("vision_model."), self.below("mlp1."), round(1 / self.raw["downsample_ratio"])
        rows = []
        for picture in pixels:
            patches = tower_states(tower, self.raw["vision_config"], picture)[self.raw["select_layer"]][1:]
            side = math.isqrt(len(patches))
            for i in range(0, side, fold):
                for j in range(0, side, fold):
                    square = [patches[(i + a) * side + j + b] for a in range(fold) for b in range(fold)]
                    rows.append(torch.cat(square))
        x = torch.stack(rows)
        x = functional.layer_norm(x, x.shape[-1:], mlp["0.weight"], mlp["0.bias"], 1e-5)
        x = functional.gelu(x @ mlp["1.weight"].T + mlp["1.bias"])
        return x @ mlp["3.weight"].T + mlp["3.bias"]

    @torch.no_grad()
    def logits(self, ids: Tensor, pixels: Tensor | None, image_token: int) -> Tensor:
        """[S] -> [S, V]"""
        words, raw = self.below("language_model."), self.raw["llm_config"]
        [architecture] = raw["architectures"]
        packed = architecture == "InternLM2ForCausalLM"
        embedded = words["model.tok_embeddings.weight" if packed else "model.embed_tokens.weight"][ids].clone()
        if pixels is not None:
            embedded[ids == image_token] = self.image_embeddings(pixels)
        if packed:
            return internlm2_logits(words, raw, embedded)
        config_class, model_class = _CLASSES[architecture]
        known = {
            key: value for key, value in raw.items() if key not in (*NOT_OURS, "attn_implementation", "moe_config")
        }
        model = model_class(config_class(**known)).eval()
        if raw["tie_word_embeddings"]:
            words["lm_head.weight"] = words["model.embed_tokens.weight"]
        model.load_state_dict(words)
        found: Tensor = model(inputs_embeds=embedded[None]).logits[0]
        return found


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────


def write_tokenizer(
    folder: Path, template: str | None = QWEN_TEMPLATE, *, tokens: tuple[str, ...] = IMAGE_TOKENS
) -> int:
    """A Qwen2 tokenizer as it is published, without tokenizer.json. Gives how many tokens there are."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    backend.train_from_iterator([__doc__] * 3, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    backend.model.save(str(folder))
    first = backend.get_vocab_size()
    added = {token: first + number for number, token in enumerate((*QWEN_TOKENS, *tokens))}
    (folder / "added_tokens.json").write_text(json.dumps(added))
    flags = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
    config: Raw = {
        "tokenizer_class": "Qwen2Tokenizer",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "bos_token": None,
        "unk_token": None,
        "errors": "replace",
        "model_max_length": 8192,
        "split_special_tokens": False,
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {str(number): {"content": token, **flags} for token, number in added.items()},
        "additional_special_tokens": [token for token in added if token not in ("<|endoftext|>", "<|im_end|>")],
    }
    if template is not None:
        config["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").write_text(
        json.dumps({"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"})
    )
    return first + len(added)


def save_sharded(folder: Path, tensors: dict[str, Tensor], files: int = 3) -> None:
    """Numbered safetensors files with their index, tensors dealt out in turn."""
    dealt: list[dict[str, Tensor]] = [{} for _ in range(files)]
    for number, (name, tensor) in enumerate(tensors.items()):
        dealt[number % files][name] = tensor.contiguous()
    index = {}
    for number, part in enumerate(dealt, 1):
        name = f"model-{number:05d}-of-{files:05d}.safetensors"
        save_file(part, folder / name, metadata={"format": "pt"})
        index |= dict.fromkeys(part, name)
    size = sum(tensor.nbytes for tensor in tensors.values())
    text = json.dumps({"metadata": {"total_size": size}, "weight_map": index})
    (folder / "model.safetensors.index.json").write_text(text)


def write_preprocessor(folder: Path) -> None:
    """As beside every published InternViT and InternVL."""
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "crop_size": 56,
                "do_center_crop": True,
                "do_normalize": True,
                "do_resize": True,
                "size": 56,
                "feature_extractor_type": "CLIPFeatureExtractor",
                "resample": 3,
                "image_mean": [0.485, 0.456, 0.406],
                "image_std": [0.229, 0.224, 0.225],
            }
        )
    )


def write_tower(folder: Path, name: str, *, dtype: torch.dtype = torch.bfloat16, **changes: Any) -> Published:
    """An InternViT alone."""
    raw = TOWERS[name] | _TOWER_REST | changes
    tensors = drawn(tower_shapes(raw), 1, dtype)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(raw))
    save_sharded(folder, tensors)
    write_preprocessor(folder)
    return Published(folder, raw, tensors)


def write_chat(
    folder: Path,
    tower: str = "InternViT-6B-448px-V2_5",
    language: str = "Qwen2ForCausalLM",
    *,
    dtype: torch.dtype = torch.bfloat16,
    spare: int = 7,
    own_template: str | None = QWEN_TEMPLATE,
    vision: Raw | None = None,
    words: Raw | None = None,
    **changes: Any,
) -> Published:
    """A whole model: R1V2's layout, unless told otherwise."""
    count = write_tokenizer(folder, own_template)
    vision_config = TOWERS[tower] | _TOWER_REST | (vision or {})
    llm = NOT_OURS | _LANGUAGE_REST | LANGUAGES[language] | {"architectures": [language], "vocab_size": count + spare}
    llm |= {"bos_token_id": None, "eos_token_id": count - len(IMAGE_TOKENS) - len(QWEN_TOKENS)} | (words or {})
    raw: Raw = {
        "architectures": ["SkyworkChatModel"],
        "model_type": "skywork_chat",
        "downsample_ratio": 0.5,
        "dynamic_image_size": True,
        "force_image_size": 56,
        "image_fold": None,
        "max_dynamic_patch": 12,
        "min_dynamic_patch": 1,
        "pad2square": False,
        "ps_version": "v2",
        "select_layer": -1,
        "template": "skywork-r1v2-chat",
        "torch_dtype": "bfloat16",
        "use_backbone_lora": 0,
        "use_llm_lora": 0,
        "use_thumbnail": True,
        "tie_word_embeddings": False,
        "transformers_version": None,
        "auto_map": {"AutoConfig": "configuration_skywork_chat.SkyworkChatConfig"},
        "vision_config": vision_config,
        "llm_config": llm,
    } | changes
    width, fold = vision_config["hidden_size"], round(1 / raw["downsample_ratio"]) ** 2
    mlp: dict[str, tuple[int, ...]] = {
        "0.weight": (width * fold,),
        "0.bias": (width * fold,),
        "1.weight": (llm["hidden_size"], width * fold),
        "1.bias": (llm["hidden_size"],),
        "3.weight": (llm["hidden_size"], llm["hidden_size"]),
        "3.bias": (llm["hidden_size"],),
    }
    shapes = {f"vision_model.{name}": shape for name, shape in tower_shapes(vision_config).items()}
    shapes |= {f"mlp1.{name}": shape for name, shape in mlp.items()}
    if language == "InternLM2ForCausalLM":
        own = internlm2_shapes(llm)
    else:
        config_class, model_class = _CLASSES[language]
        known = {
            key: value for key, value in llm.items() if key not in (*NOT_OURS, "attn_implementation", "moe_config")
        }
        with torch.device("meta"):
            own = {name: tuple(one.shape) for name, one in model_class(config_class(**known)).state_dict().items()}
        if llm["tie_word_embeddings"]:
            del own["lm_head.weight"]
    shapes |= {f"language_model.{name}": shape for name, shape in own.items()}
    tensors = drawn(shapes, 2, dtype)
    (folder / "config.json").write_text(json.dumps(raw))
    (folder / "generation_config.json").write_text(
        json.dumps({"_from_model_config": True, "eos_token_id": llm["eos_token_id"], "transformers_version": "4.37.2"})
    )
    save_sharded(folder, tensors)
    write_preprocessor(folder)
    return Published(folder, raw, tensors)
