"""Small twins of the parents: their own classes and configs, two layers deep, with random numbers.

Two models of the same class and config with the same numbers compute the same. So where the numbers of an assembled
model are known to be its parents', it is enough to see once, with few numbers, that the classes compute the same.
"""

import copy
from dataclasses import replace
from typing import Any

import torch

from vergence.assembly.parts import LanguagePart, VisionPart
from vergence.assembly.stored import Held, Source
from vergence.model.pretrained import model_built

WORDS = 256
"""Of a twin's vocabulary."""

_LAYERS, _WIDTH = 2, 64


def twin_vision(part: VisionPart) -> tuple[VisionPart, Any]:
    """The twin of a tower, as a part and as a model."""
    from transformers import AutoModel

    tower = _random(AutoModel, _small(part.config))
    tensors: dict[str, Source] = {name: Held(tensor) for name, tensor in tower.state_dict().items()}
    return replace(part, config=tower.config, tensors=tensors), tower


def twin_language(part: LanguagePart) -> tuple[LanguagePart, Any]:
    """The twin of a language model, as a part and as a model."""
    from transformers import AutoModelForCausalLM

    words = {"vocab_size": WORDS, "pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
    tied = {"tie_word_embeddings": part.head is None}
    model = _random(AutoModelForCausalLM, _small(part.config, **words, **tied))
    prefix = f"{model.base_model_prefix}."
    state = model.state_dict()
    tensors: dict[str, Source] = {
        name.removeprefix(prefix): Held(tensor) for name, tensor in state.items() if name.startswith(prefix)
    }
    head = None if part.head is None else Held(state["lm_head.weight"])
    return replace(part, config=model.config, tensors=tensors, head=head), model


def _small(config: Any, **changes: Any) -> Any:
    values = copy.deepcopy(config.to_dict())
    layers = values["num_hidden_layers"]
    if layers > _LAYERS:
        listed = {key: v[:_LAYERS] for key, v in values.items() if isinstance(v, list) and len(v) == layers}
        values |= listed | {"num_hidden_layers": _LAYERS}
    if "intermediate_size" in values:
        values["intermediate_size"] = min(_WIDTH, values["intermediate_size"])
    return type(config).from_dict(values | {"dtype": "float32"} | changes)


@torch.no_grad()
def _random(loader: Any, config: Any) -> Any:
    """With other numbers in every tensor, so that two that were swapped are found out."""
    model = model_built(loader, config)
    for name, parameter in model.named_parameters():
        parameter.normal_().mul_(parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1)
        if parameter.ndim == 1 and not name.endswith("bias"):
            parameter.add_(1)
    return model.eval()
