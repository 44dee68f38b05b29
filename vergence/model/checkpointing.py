"""Gradient checkpointing: layers keep only their inputs and compute the rest again in the backward pass."""

from typing import Any

from vergence.model.policy import Policy


def checkpoint_layers(policy: Policy) -> None:
    """Switch it on for the decoder and, where it can, for the vision tower.

    transformers checkpoints layers in training mode only, and training mode would also switch dropout on. So the mode
    is set on the layers themselves, not on what is inside them.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    policy.model.gradient_checkpointing_enable({"use_reentrant": False})
    layers: list[Any] = [one for one in policy.model.modules() if isinstance(one, GradientCheckpointingLayer)]
    for layer in layers:
        layer.training = True
