"""Which parameters belong to which role, which of them are trained, and how fast."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from vergence.errors import ModelError
from vergence.model.families.family import ROLES, Role
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
    decayed: int
    """Trained parameters that the weight decay is for: none where it is 0, and never those of norms and biases."""


LOW_RANK = ".lora_"
"""In the names of parameters of low-rank updates, and in no other."""


def role_of(policy: Policy, parameter: str) -> Role:
    """Whose a parameter is, by its name; the longest prefix decides. Raises ModelError if it is nobody's."""
    prefixes = [
        (prefix, role) for role in ROLES for prefix in policy.family.roles[role] if parameter.startswith(prefix)
    ]
    if not prefixes:
        raise ModelError(f"parameter {parameter} belongs to no role; its family must name one")
    return max(prefixes, key=lambda one: len(one[0]))[1]


def role_parameters(policy: Policy) -> dict[Role, dict[str, nn.Parameter]]:
    """Role to its named parameters; the longest prefix decides, so that an adapter may lie inside a tower.

    Raises ModelError if a parameter has no role.
    """
    sorted_out: dict[Role, dict[str, nn.Parameter]] = {role: {} for role in ROLES}
    for name, parameter in policy.model.named_parameters():
        sorted_out[role_of(policy, name)][name] = parameter
    return sorted_out


def trained_parameters(policy: Policy, training: Mapping[Role, Training]) -> dict[Role, dict[str, nn.Parameter]]:
    """Role to the named parameters that are trained: of roles that are not frozen, those that the output depends on.

    Where a role has low-rank updates, these alone. A parameter that never gets a gradient would be counted as trained,
    yet keep no optimizer state.
    """
    unused = policy.family.unused(policy.config)
    return {
        role: {
            name: parameter
            for name, parameter in parameters.items()
            if not training[role].freeze
            and not name.startswith(unused)
            and (LOW_RANK in name or not updated(parameters))
        }
        for role, parameters in role_parameters(policy).items()
    }


def updated(parameters: Mapping[str, nn.Parameter]) -> bool:
    """Whether low-rank updates are among a role's parameters."""
    return any(LOW_RANK in name for name in parameters)


def trainable_groups(policy: Policy, training: Mapping[Role, Training]) -> list[ParameterGroup]:
    """Switch gradients on for what is trained, off for everything else, and return the trained groups."""
    policy.model.requires_grad_(False)
    groups = []
    for role, parameters in trained_parameters(policy, training).items():
        setting = training[role]
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        if not setting.freeze:
            groups.append(ParameterGroup(role, parameters, setting.learning_rate, setting.weight_decay))
    return groups


def role_table(policy: Policy, training: Mapping[Role, Training]) -> list[RoleRow]:
    """Parameters by role: how many, how many trained, learning rate, weight decay."""
    rows = []
    trained = trained_parameters(policy, training)
    for role, parameters in role_parameters(policy).items():
        setting = training[role]
        total = sum(parameter.numel() for parameter in parameters.values())
        trainable = sum(parameter.numel() for parameter in trained[role].values())
        rate, decay = (0.0, 0.0) if setting.freeze else (setting.learning_rate, setting.weight_decay)
        decayed = sum(one.numel() for one in trained[role].values() if one.ndim >= 2 and decay > 0)
        rows.append(RoleRow(role, total, trainable, rate, decay, decayed))
    return rows
