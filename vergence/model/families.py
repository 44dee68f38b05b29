"""The families that are supported: the one list of them."""

from typing import Any

from vergence.errors import ModelError
from vergence.model import internvl
from vergence.model.family import Family

FAMILIES: dict[str, Family] = {family.model_type: family for family in (internvl.FAMILY,)}


def family_of(config: Any) -> Family:
    """The family of a loaded config. Raises ModelError if there is none."""
    if config.model_type not in FAMILIES:
        raise ModelError(
            f'model type "{config.model_type}" is not supported; supported are {", ".join(sorted(FAMILIES))}. '
            "A family is one file beside vergence/model/internvl.py"
        )
    return FAMILIES[config.model_type]
