"""How many weights a stage trains, and in how many bytes it holds the others."""

from dataclasses import dataclass
from typing import Literal

from vergence.model.families.family import Role
from vergence.planning.shape import ModelShape
from vergence.recipe.sections import LoraSection, Roles, Trained

FOUR_BITS = 0.5 + 1 / 64
"""Bytes of a number in 4 bits: NF4 has a scale of 8 bits for every 64; the scales' own scales are left out."""


@dataclass(frozen=True, slots=True)
class Held:
    """The weights of a policy while a stage trains it."""

    trained: int
    """Numbers with gradients and moments, and a copy of them is a reference: low-rank updates, or whole roles."""
    bytes: float
    """Of all weights."""
    cast: int
    """Numbers in fp32 that are held in bfloat16 as well while completions are sampled in it."""


def held_weights(shape: ModelShape, roles: Roles, frozen: Literal["full", "bfloat16", "4bit"]) -> Held:
    """With the roles of a stage, and the recipe's `compute.frozen_weights`."""
    sections: dict[Role, Trained] = {"vision": roles.vision, "adapter": roles.adapter, "language": roles.language}
    trained, held, cast = 0, 0.0, 0
    for role, section in sections.items():
        updates = 0 if section.lora is None else update_parameters(shape, role, section.lora)
        whole = not section.freeze and section.lora is None
        trained += shape.parameters[role] if whole else updates
        short, bytes_each = (0, 4.0) if whole else _short(shape, role, frozen)
        held += 4.0 * (shape.parameters[role] - short + updates) + bytes_each * short
        if role == "language":
            head = shape.decoder.vocabulary * shape.decoder.width
            cast = updates if short == shape.large[role] else _products(shape, role) + head - short + updates
    return Held(trained, held, cast)


def _products(shape: ModelShape, role: Role) -> int:
    return sum(wide * high for _, wide, high in shape.linears[role])


def update_parameters(shape: ModelShape, role: Role, lora: LoraSection) -> int:
    """A and B of each product that is updated, and the lengths of its rows with DoRA."""
    return sum(
        lora.rank * (wide + high) + lora.dora * high
        for name, wide, high in shape.linears[role]
        if not lora.targets or name in lora.targets
    )


def _short(shape: ModelShape, role: Role, frozen: str) -> tuple[int, float]:
    """How many of a role's frozen numbers are held in fewer bytes, and in how many each."""
    match frozen:
        case "bfloat16":
            return shape.large[role], 2.0
        case "4bit":
            return _products(shape, role), FOUR_BITS
    return 0, 4.0
