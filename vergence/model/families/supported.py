"""The families by name, with the vision towers that each takes, for those who must not import torch.

`tests/unit/planning/test_parts.py` holds it to the list in `known.py`.
"""

from vergence.model.families.towers import TOWERS

SUPPORTED: dict[str, tuple[str, ...]] = {
    "gemma3": ("siglip_vision_model",),
    "idefics3": ("idefics3_vision",),
    "internvl": ("internvl_vision",),
    "llava": tuple(TOWERS),
    "llava_onevision": ("siglip_vision_model",),
    "qwen2_5_vl": ("qwen2_5_vl_vision", "qwen2_5_vl"),
    "qwen3_vl": ("qwen3_vl_vision", "qwen3_vl"),
    "smolvlm": ("smolvlm_vision",),
}
"""`model_type` -> `vision_config.model_type`, as a loaded config has it."""
FREE_TOWERS = ("llava", "llava_onevision")
"""Families whose config says which class of towers it has; in the others it is one, whatever the file says."""


def unsupported(kind: str) -> str:
    """What is said of a model type that no family serves."""
    return (
        f'model type "{kind}" is not supported; supported are {", ".join(sorted(SUPPORTED))}. '
        "A family is one file beside vergence/model/families/internvl.py"
    )


def unsupported_tower(kind: str, tower: str) -> str:
    """What is said of a vision tower that a family does not know."""
    return (
        f'model type "{kind}" with a vision tower of type "{tower}" is not supported; supported with it: '
        f"{', '.join(SUPPORTED[kind])}"
    )
