"""Low-rank updates of a policy's products, by role: LoRA and DoRA, through peft.

    W x  ->  W x + (alpha / r) B A x            LoRA (Hu et al. 2021, section 4.1); B begins at 0
    W    ->  m (W + (alpha / r) B A) / ||.||    DoRA (Liu et al. 2024, Eq. 5); the norm of each row, as a constant

Only A, B (and m) are trained. The policy stays an ordinary model with some of its linear modules wrapped.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vergence.errors import ModelError
from vergence.model.families.family import Role
from vergence.model.parameters import LOW_RANK, role_of
from vergence.model.policy import Policy
from vergence.model.pretrained import low_rank_config_from

_ADAPTER = "default"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRank:
    """How one role's products are updated."""

    rank: int
    """r."""
    alpha: float
    """The update is scaled by alpha / r."""
    dora: bool
    targets: tuple[str, ...] = ()
    """Last parts of the names of the products that are updated; empty is all of the role's."""


def products_of(policy: Policy, role: Role, targets: tuple[str, ...] = ()) -> list[str]:
    """Full names of a role's linear modules, the head left out.

    Raises ModelError if a target names none of them.
    """
    head = policy.model.get_output_embeddings()
    found = [
        name
        for name, module in policy.model.named_modules()
        if isinstance(module, nn.Linear) and module is not head and role_of(policy, f"{name}.weight") == role
    ]
    missing = [target for target in targets if not any(name.split(".")[-1] == target for name in found)]
    if missing or not found:
        known = ", ".join(sorted({name.split(".")[-1] for name in found})) or "none"
        raise ModelError(
            f"lora of role {role}: no product is called {', '.join(missing) or 'anything'}; this model's are {known}"
        )
    return [name for name in found if not targets or name.split(".")[-1] in targets]


def attach(policy: Policy, wanted: Mapping[Role, LowRank], *, seed: int) -> None:
    """Wrap the products of these roles, in place. A is drawn from the seed, and nothing changes until B is trained.

    Raises ModelError if peft is not installed, or where a target is nowhere.
    """
    config = _config(policy, wanted)
    inject = _peft().inject_adapter_in_model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject(config, policy.model, adapter_name=_ADAPTER)
    policy.model.requires_grad_(False)


def _config(policy: Policy, wanted: Mapping[Role, LowRank]) -> Any:
    names = {role: products_of(policy, role, one.targets) for role, one in wanted.items()}
    first = next(iter(wanted.values()))
    # patterns are searched in names from their ends on, so they name the whole
    exact = {role: [f"^{re.escape(name)}$" for name in found] for role, found in names.items()}
    return _peft().LoraConfig(
        r=first.rank,
        lora_alpha=first.alpha,
        use_dora=first.dora,
        lora_dropout=0.0,
        bias="none",
        target_modules=[name for found in names.values() for name in found],
        rank_pattern={name: wanted[role].rank for role, found in exact.items() for name in found},
        alpha_pattern={name: wanted[role].alpha for role, found in exact.items() for name in found},
    )


def merge(policy: Policy) -> None:
    """Put the updates into the products, in place: an ordinary model is left, equal but for rounding."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(policy.model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge(safe_merge=True)
            parent, _, last = name.rpartition(".")
            setattr(policy.model.get_submodule(parent), last, module.get_base_layer())


def low_rank_state(policy: Policy) -> dict[str, torch.Tensor]:
    """The updates by parameter name; empty where none are attached."""
    return {name: one.detach() for name, one in policy.model.named_parameters() if LOW_RANK in name}


@torch.no_grad()
def load_low_rank_state(policy: Policy, state: Mapping[str, torch.Tensor]) -> None:
    """The inverse of `low_rank_state`, for a policy with the same updates attached."""
    parameters = dict(policy.model.named_parameters())
    for name, value in state.items():
        parameters[name].copy_(value)


def save_low_rank(policy: Policy, base: Path, directory: Path) -> None:
    """Write the updates alone, as peft reads them: `PeftModel.from_pretrained(base model, directory)`.

    `base` is the checkpoint that the updates belong to.
    """
    from safetensors.torch import save_file

    directory.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"base_model.model.{name.replace(f'.{_ADAPTER}', '')}": value.cpu().contiguous()
        for name, value in low_rank_state(policy).items()
    }
    save_file(tensors, directory / WEIGHTS, metadata={"format": "pt"})
    config = policy.model.peft_config[_ADAPTER]
    config.base_model_name_or_path = str(base.resolve())
    config.inference_mode = True
    config.save_pretrained(directory)


def load_low_rank(policy: Policy, directory: Path) -> None:
    """Read updates that `save_low_rank` or peft has written, and put them into the products.

    Raises ModelError if they do not fit the policy.
    """
    from safetensors.torch import load_file

    config = low_rank_config_from(_peft().LoraConfig, directory)
    config.inference_mode = False
    _peft().inject_adapter_in_model(config, policy.model, adapter_name=_ADAPTER)
    policy.model.requires_grad_(False)
    stored = load_file(directory / WEIGHTS)
    own = low_rank_state(policy)
    names = {f"base_model.model.{name.replace(f'.{_ADAPTER}', '')}": name for name in own}
    wrong = sorted(
        name
        for name in names.keys() | stored.keys()
        if name not in stored or name not in names or stored[name].shape != own[names[name]].shape
    )
    if wrong:
        raise ModelError(
            f"{directory}: {len(wrong)} of its updates do not fit the model they name, {wrong[0]} first; its base is "
            "another model"
        )
    load_low_rank_state(policy, {names[name]: value for name, value in stored.items()})
    merge(policy)


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ModelError(
            f"lora needs peft, which cannot be imported ({error}); pip install 'vergence[lora]'"
        ) from error
    return peft
