"""The families that are supported: the one list of them."""

from typing import Any

from vergence.errors import ModelError
from vergence.model.families import gemma3, idefics3, internvl, llava, llava_onevision, qwen2_5_vl, qwen3_vl
from vergence.model.families.family import Family
from vergence.model.families.supported import unsupported, unsupported_tower

FAMILIES: dict[str, Family] = {
    family.model_type: family
    for family in (
        gemma3.FAMILY,
        idefics3.FAMILY,
        idefics3.SMOLVLM,
        internvl.FAMILY,
        llava.FAMILY,
        llava_onevision.FAMILY,
        qwen2_5_vl.FAMILY,
        qwen3_vl.FAMILY,
    )
}


def family_of(config: Any) -> Family:
    """The family of a loaded config. Raises ModelError if there is none, or if it does not know the vision tower."""
    if config.model_type not in FAMILIES:
        raise ModelError(unsupported(config.model_type))
    family = FAMILIES[config.model_type]
    tower = config.vision_config.model_type
    if tower not in family.towers:
        raise ModelError(unsupported_tower(config.model_type, tower))
    return family
