"""What a picture's features depend on beside the picture: weights, settings, number format, how it is decoded.

Two answers to "is it still the same?": one that is cheap enough to ask at every pass, and one that holds between
processes.
"""

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version

import torch

from vergence.data.decoding import DECODING
from vergence.model.families.family import Role
from vergence.model.parameters import role_parameters
from vergence.model.pictures import processor_settings
from vergence.model.policy import Policy

VisionState = tuple[str, tuple[tuple[int, int], ...]]
"""Image-processor settings, and (address, version) of every weight."""


def vision_state(policy: Policy, roles: Sequence[Role]) -> VisionState:
    """Differs from an earlier one if settings or weights of these roles were replaced or changed in place since.

    Every in-place operation of torch counts a tensor's version up, also under no_grad; writing through `.data` does
    not, and neither does a fused optimizer, for which `Learner` does it.
    """
    parameters = role_parameters(policy)
    weights = tuple((one.data_ptr(), one._version) for role in roles for one in parameters[role].values())
    return (processor_settings(policy), weights)


def vision_fingerprint(policy: Policy, roles: Sequence[Role]) -> str:
    """A digest of settings, configuration, number format, versions, and the weights of these roles.

    Of the weights it reads names, shapes and bytes.
    """
    digest = hashlib.sha256()
    config = {
        name: value
        for name, value in policy.config.to_dict().items()
        if name not in ("text_config", "transformers_version") and not name.startswith("_")
    }
    versions = [torch.__version__, version("transformers"), version("pillow"), DECODING]
    computes = [policy.device.type, str(policy.compute_dtype), versions]
    head = [policy.family.model_type, computes, processor_settings(policy), config, list(roles)]
    digest.update(json.dumps(head, sort_keys=True, default=str).encode())
    parameters = role_parameters(policy)
    for role in roles:
        for name, parameter in parameters[role].items():
            digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
            digest.update(parameter.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def policy_fingerprint(policy: Policy) -> str:
    """A digest of what a policy samples with: all weights by name, shape and bytes, chat template, image settings, and
    how pictures are decoded.

    Not of the device or of other versions: it tells models apart, not the rounding of machines.
    """
    digest = hashlib.sha256()
    head = [policy.family.model_type, policy.tokenizer.chat_template, processor_settings(policy), DECODING]
    digest.update(json.dumps(head, sort_keys=True, default=str).encode())
    for name, parameter in sorted(policy.model.named_parameters()):
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
        digest.update(parameter.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
