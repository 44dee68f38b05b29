"""`config.json` of a model directory as plain JSON: read and judged without torch or transformers.

A model directory comes from elsewhere, so nothing in it is run: neither Python files that its configuration names
(`auto_map`), nor an attention kernel that would be fetched from a repository.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vergence.errors import ModelError

CHAT_LAYOUTS = ("internvl_chat", "skywork_chat")
"""`model_type` of whole models in the layout of InternVL's and Skywork's own code (vergence/assembly/convert.py)."""
TOWER_LAYOUT = "intern_vit_6b"
"""`model_type` of InternViT in the layout of its own code, whatever its size."""
_KERNELS = ("attn_implementation", "_attn_implementation", "experts_implementation")
"""Keys that may name a repository of code."""


def raw_config(directory: Path) -> dict[str, Any]:
    """The content of `config.json`.

    Raises ModelError where there is none, where it is no JSON object that names its `model_type`, or where it names an
    attention kernel of a repository.
    """
    path = directory / "config.json"
    if not path.is_file():
        raise ModelError(f"{directory}: no config.json; expected a Hugging Face model directory")
    config = read_json(path)
    if not isinstance(config.get("model_type"), str):
        raise ModelError(f"{path}: names no model_type; copy or download it again")
    for place, value in _named_kernels(config):
        raise ModelError(
            f'{path}: {place} = "{value}" names code of a repository, which is never fetched or run; remove the key'
        )
    return config


def read_json(path: Path) -> dict[str, Any]:
    """One JSON object. Raises ModelError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); copy or download it again") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds no JSON object; copy or download it again")
    return content


def check_transformers_layout(directory: Path, config: Mapping[str, Any]) -> None:
    """Raises ModelError for a layout that transformers reads only with its authors' own code, naming the command that
    turns it into one that transformers reads by itself.
    """
    kind = config["model_type"]
    if kind in CHAT_LAYOUTS:
        raise ModelError(
            f'{directory}: model type "{kind}" is the layout of its authors\' own code, which is never run; '
            f"run vergence convert {directory} --out {directory}-hf, and name {directory}-hf here"
        )
    if kind == TOWER_LAYOUT:
        raise ModelError(
            f'{directory}: model type "{kind}" is a vision tower in the layout of its authors\' own code; '
            "it can be a part of vergence assemble, as --vision, and nothing else"
        )


def own_code_refused(directory: Path, kind: str) -> ModelError:
    """What is raised for a directory that only code of its own could read."""
    return ModelError(
        f'{directory}: "{kind}" comes with code of its own (auto_map), and Vergence never runs code out of a model '
        "directory; take a checkpoint whose classes are in transformers"
    )


def _named_kernels(config: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(config, dict):
        for key, value in config.items():
            if key in _KERNELS and isinstance(value, str) and "/" in value:
                yield f"{place}{key}", value
            yield from _named_kernels(value, f"{place}{key}.")
