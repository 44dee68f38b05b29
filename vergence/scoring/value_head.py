"""A vision-language model with trl's value head as a reward model (Skywork-VL-Reward-7B and its like).

Published as an ordinary vision-language checkpoint with `value_head.safetensors` beside it, which holds
`v_head.summary.weight` [1, W] and `v_head.summary.bias` [1]. Question and response are written as a conversation of two
turns by the model's own chat template, and

    r(x, y) = w . h + b

where h is the last layer's hidden state, behind the last norm, at the last token of all that the template writes: for
Qwen2.5-VL the line break behind the end of the second turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vergence.errors import DataError, ModelError
from vergence.model.batch import MICROBATCH_TOKENS
from vergence.model.policy import DtypeName, encode, load_policy
from vergence.model.pretrained import reason_of
from vergence.model.reward_head import RAW, RewardModel
from vergence.model.vision import ADAPTER_OUTPUT, DEFAULT_LIMITS, CachedTower, FeatureLimits
from vergence.pairs.comparisons import Member
from vergence.types import Completion, Doubles, Finish, Prompt, response

FILES = ("value_head.safetensors", "value_head.bin")
"""One of them marks such a directory."""
_WEIGHT, _BIAS = "v_head.summary.weight", "v_head.summary.bias"


@final
@dataclass(frozen=True, slots=True, eq=False)
class ValueHead:
    """Such a model as a `RawScorer`: it reads the problem and the text of a member, and none of its tokens."""

    model: RewardModel
    """The same backbone and head on members whose tokens are those of the whole conversation."""

    def raw(self, members: Sequence[Member]) -> Doubles:
        """Members [N] -> raw scores [N]; what conversations of one problem have in common is computed once.

        Raises DataError where a conversation is longer than the model can read.
        """
        asked: dict[str, Prompt] = {}
        conversations = [
            self._conversation(prompt, response(prompt, completion), asked) for prompt, completion in members
        ]
        return self.model.raw_as_given(conversations)

    def _conversation(self, prompt: Prompt, said: str, asked: dict[str, Prompt]) -> Member:
        """As a prompt, which is where conversations of this problem begin alike, and the rest of this one."""
        backbone, problem = self.model.backbone, prompt.problem
        whole = encode(backbone, problem, said)
        limit = getattr(backbone.config.get_text_config(), "max_position_embeddings", None)
        if limit is not None and len(whole.token_ids) > limit:
            raise DataError(
                f"problem {problem.id}: question and response are {len(whole.token_ids)} tokens for the reward model, "
                f"which reads {limit}; lower max_new_tokens, or take another reward model"
            )
        if problem.id not in asked:
            asked[problem.id] = encode(backbone, problem)
        alike = _common(asked[problem.id].token_ids, whole.token_ids[:-1])
        question = Prompt(problem, whole.token_ids[:alike], whole.positions[:, :alike])
        rest = whole.token_ids[alike:]
        return question, Completion(rest, np.zeros(len(rest), dtype=np.float32), Finish.STOP, 0, said)


def load_value_head(
    directory: Path,
    device: torch.device,
    *,
    limits: FeatureLimits = DEFAULT_LIMITS,
    microbatch_tokens: int = MICROBATCH_TOKENS,
    dtype: DtypeName = "auto",
) -> ValueHead:
    """Raises ModelError if the head does not fit, or if the model beside it is of no supported family."""
    tensors = _tensors(directory)
    backbone = load_policy(directory, device, dtype)
    width = backbone.model.get_input_embeddings().weight.shape[1]
    expected = {_WEIGHT: (1, width), _BIAS: (1,)}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if found != expected:
        raise ModelError(
            f"{directory}: its value head holds {_listed(found)}; expected {_listed(expected)} for a model of width "
            f"{width}"
        )
    head = nn.Linear(width, 1)
    head.load_state_dict({"weight": tensors[_WEIGHT].float(), "bias": tensors[_BIAS].float()})
    head.to(device).requires_grad_(False)
    tower = CachedTower(backbone, remembered=ADAPTER_OUTPUT, limits=limits)
    return ValueHead(RewardModel(backbone, head, tower, RAW, microbatch_tokens))


def has_value_head(directory: Path) -> bool:
    """Whether a directory holds such a reward model."""
    return any((directory / name).is_file() for name in FILES)


def _tensors(directory: Path) -> dict[str, Tensor]:
    path = next(directory / name for name in FILES if (directory / name).is_file())
    try:
        held: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
        # saved without the name of the module that holds it, too
        return {name if name.startswith("v_head.") else f"v_head.{name}": tensor for name, tensor in held.items()}
    except Exception as error:  # whatever a damaged file makes of the two readers
        raise ModelError(f"{path}: cannot be read ({reason_of(error)}); copy or download it again") from error


def _common(one: np.ndarray, other: np.ndarray) -> int:
    """How many tokens two sequences begin with alike."""
    shorter = min(len(one), len(other))
    differs = np.flatnonzero(one[:shorter] != other[:shorter])
    return int(differs[0]) if len(differs) else shorter


def _listed(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "nothing"
