"""Which parameters belong to which role, which of them are trained, and how fast."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from vergence.errors import ModelError
from vergence.model.family import ROLES, Role
from vergence.model.policy import Policy
from vergence.update.learner import ParameterGroup


@dataclass(frozen=True, slots=True)
class Training:
    """How one role is trained in one stage."""

    freeze: bool
    learning_rate: float
    weight_decay: float


@dataclass(frozen=True, slots=True)
class RoleRow:
    """One row of the table that is printed when a stage begins."""

    role: str
    total: int
    trainable: int
    learning_rate: float
    weight_decay: float


def role_parameters(policy: Policy) -> dict[Role, dict[str, nn.Parameter]]:
    """Role to its named parameters. Raises ModelError if a parameter has no role."""
    sorted_out: dict[Role, dict[str, nn.Parameter]] = {role: {} for role in ROLES}
    for name, parameter in policy.model.named_parameters():
        owners = [role for role in ROLES if name.startswith(policy.family.roles[role])]
        if len(owners) != 1:
            raise ModelError(f"parameter {name} belongs to {owners or 'no role'}; its family must name exactly one")
        sorted_out[owners[0]][name] = parameter
    return sorted_out


def trainable_groups(policy: Policy, training: Mapping[Role, Training]) -> list[ParameterGroup]:
    """Switch gradients on for the roles that are trained, off for the others, and return the trained groups."""
    groups = []
    for role, parameters in role_parameters(policy).items():
        setting = training[role]
        for parameter in parameters.values():
            parameter.requires_grad_(not setting.freeze)
        if not setting.freeze:
            groups.append(ParameterGroup(role, parameters, setting.learning_rate, setting.weight_decay))
    return groups


def role_table(policy: Policy, training: Mapping[Role, Training]) -> list[RoleRow]:
    """Parameters by role: how many, how many trained, learning rate, weight decay."""
    rows = []
    for role, parameters in role_parameters(policy).items():
        setting = training[role]
        total = sum(parameter.numel() for parameter in parameters.values())
        rate, decay = (0.0, 0.0) if setting.freeze else (setting.learning_rate, setting.weight_decay)
        rows.append(RoleRow(role, total, 0 if setting.freeze else total, rate, decay))
    return rows
