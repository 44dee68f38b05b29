"""A warm buffer: groups that were sampled before a stage begins, so that its buffer is not empty at the start.

The file holds the groups whose responses differ in what rules say, with the log-probs of sampling; they count as drawn
by policy version 0, which is the policy that the stage begins with. So it must be that policy.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vergence.errors import DataError, ModelError
from vergence.records import completion_record, prompt_table, restore_completion, restore_prompts
from vergence.types import JudgedGroup, RolloutGroup

KIND = "warm buffer 1"


def warm_bytes(judged: Sequence[JudgedGroup], head: Mapping[str, Any]) -> bytes:
    """The content of a warm-buffer file: effective groups whole, with rewards and advantages for whoever looks at them.

    `head` names at least the model's `model` fingerprint and the sampling `temperature`.
    """
    effective = [one for one in judged if one.effective]
    prompts, places = prompt_table([one.scored.group.prompt for one in effective])
    groups = [
        {
            "prompt": places[id(one.scored.group.prompt)],
            "completions": [completion_record(completion) for completion in one.scored.group.completions],
            "components": {name: values.tolist() for name, values in one.scored.components.items()},
            "rewards": one.scored.rewards.tolist(),
            "advantages": one.advantages.tolist(),
        }
        for one in effective
    ]
    file = io.BytesIO()
    torch.save({"vergence": KIND, "head": dict(head), "prompts": prompts, "groups": groups}, file)
    return file.getvalue()


def warm_content(path: Path) -> dict[str, Any]:
    """What a warm-buffer file holds. Raises DataError if it is no such file."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; make one with `vergence pool MODEL ... --buffer FILE`")
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        kind = content["vergence"]
    except Exception as error:  # torch raises whatever the bytes provoke
        raise DataError(f"{path}: cannot be read as a warm buffer ({type(error).__name__}); make it anew") from error
    if kind != KIND:
        raise DataError(f"{path}: expected a {KIND}, found {kind!r:.40}; make it anew with `vergence pool`")
    return content


def read_warm(path: Path, *, fingerprint: str, temperature: float) -> list[RolloutGroup]:
    """The groups of a warm-buffer file, in its order; they are to be judged by the stage's own reward and advantage.

    Raises DataError if it is no such file, or was sampled at another temperature than the stage samples at, and
    ModelError if it was sampled by another policy than the one with this fingerprint.
    """
    content = warm_content(path)
    head = content["head"]
    if head["model"] != fingerprint:
        raise ModelError(
            f"{path}: sampled by another model (fingerprint {head['model'][:12]}, this stage begins with "
            f"{fingerprint[:12]}); make it anew with the model that the stage begins with"
        )
    if not np.isclose(head["temperature"], temperature):
        raise DataError(
            f"{path}: sampled at temperature {head['temperature']}, this stage samples at {temperature}; log-probs of "
            "the two cannot be compared, so make it anew"
        )
    prompts = restore_prompts(content["prompts"])
    return [
        RolloutGroup(prompts[row["prompt"]], tuple(restore_completion(one) for one in row["completions"]))
        for row in content["groups"]
    ]
