"""Several reward models as one: the mean of their weights (WARM).

Members must have been trained from one initialisation: then they lie in one basin, where the mean of weights scores
about like the mean of scores, with a bias that is harder to exploit, for the price of one model.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from vergence.errors import ModelError
from vergence.model.reward_head import Calibration, RewardModel, load_reward_model


def average(directories: Sequence[Path], device: torch.device) -> RewardModel:
    """phi = (1/M) sum of phi_m, over backbones and heads, in double precision.

    Its calibration is the mean of the members' medians and spreads: about right as far as scores average as weights do,
    and to be measured again where responses are at hand. Raises ModelError naming the first difference if the members
    are not of one make.
    """
    if len(directories) < 2:
        raise ModelError("one reward model is its own average; name two or more")
    first = load_reward_model(directories[0], device)
    tensors = named_tensors(first)
    sums = {name: value.double() for name, value in tensors.items()}
    calibrations = [first.calibration]
    for directory in directories[1:]:
        other = load_reward_model(directory, device)
        check_alike(first, other, directories[0], directory)
        for name, value in named_tensors(other).items():
            sums[name] += value.double()
        calibrations.append(other.calibration)
    with torch.no_grad():
        for name, value in tensors.items():
            value.copy_(sums[name] / len(directories))
    return replace(first, calibration=mean_calibration(calibrations))


def named_tensors(model: RewardModel) -> dict[str, Tensor]:
    """Every weight and buffer of numbers, by name; tied ones once."""
    found = {f"backbone.{name}": value for name, value in model.backbone.model.named_parameters()}
    found |= {f"backbone.{name}": value for name, value in model.backbone.model.named_buffers()}
    found["head.weight"] = model.head.weight
    return {name: value.detach() for name, value in found.items() if value.is_floating_point()}


def mean_calibration(members: Sequence[Calibration]) -> Calibration:
    """Mean of medians and mean of spreads."""
    count = len(members)
    return Calibration(sum(one.median for one in members) / count, sum(one.spread for one in members) / count)


def check_alike(one: RewardModel, other: RewardModel, at: Path, there: Path) -> None:
    """Raises ModelError naming the first thing in which two reward models differ that their mean cannot bridge."""
    difference = _first_difference(one, other)
    if difference:
        raise ModelError(f"{at} and {there} cannot be averaged: {difference}; average members of one training set-up")


def _first_difference(one: RewardModel, other: RewardModel) -> str:
    families = (one.backbone.family.model_type, other.backbone.family.model_type)
    if families[0] != families[1]:
        return f"model_type {families[0]} and {families[1]}"
    ours, theirs = named_tensors(one), named_tensors(other)
    for name in [*ours, *theirs]:
        left, right = (tensors[name].shape if name in tensors else None for tensors in (ours, theirs))
        if left != right:
            return f"{name} has shape {_shape(left)} and {_shape(right)}"
    for part, left, right in (
        ("the tokenizer's vocabulary", one.backbone.tokenizer.get_vocab(), other.backbone.tokenizer.get_vocab()),
        ("the chat template", one.backbone.tokenizer.chat_template, other.backbone.tokenizer.chat_template),
        ("the image processor", one.backbone.image_processor.to_dict(), other.backbone.image_processor.to_dict()),
    ):
        if left != right:
            return f"{part} differs"
    return ""


def _shape(shape: torch.Size | None) -> str:
    return "absent" if shape is None else str(tuple(shape))
