"""A preference reward model: a vision-language backbone with a scalar head on the last token (Skywork-VL Reward).

On disk it is the backbone's ordinary Hugging Face directory, with `reward_head.safetensors` and `reward.json` (the
calibration) beside it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vergence.errors import ModelError
from vergence.model.batch import MICROBATCH_TOKENS, Batch, collate, mapped
from vergence.model.ends import end_of_turn, ended_alike
from vergence.model.forward import last_hidden
from vergence.model.policy import DtypeName, Policy, load_policy
from vergence.model.save import save_policy
from vergence.model.vision import ADAPTER_OUTPUT, DEFAULT_LIMITS, CachedTower, FeatureLimits, Tower
from vergence.types import Completion, Doubles, Prompt


@dataclass(frozen=True, slots=True)
class Calibration:
    """From raw scores to units in which thresholds mean the same for every reward model.

    calibrated = (raw - median) / spread, both measured on a calibration set of the policy's own responses.
    """

    median: float
    spread: float
    """Half the distance between the 16th and the 84th percentile: one standard deviation, if scores were normal."""

    def apply(self, raw: Doubles) -> Doubles:
        """Calibrated scores."""
        return (raw - self.median) / self.spread

    @staticmethod
    def measured(raw: Doubles) -> "Calibration":
        """From raw scores [N] of a calibration set; a set whose scores are all equal has the smallest spread, 1e-6."""
        low, median, high = np.percentile(raw, [16, 50, 84])
        return Calibration(float(median), max(1e-6, float(high - low) / 2))


RAW = Calibration(0.0, 1.0)
"""Scores as the reward model gives them."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class RewardModel:
    """Backbone, head and calibration; gives raw scores of members, prompts of one pass once."""

    backbone: Policy
    head: nn.Linear
    tower: Tower
    calibration: Calibration
    microbatch_tokens: int = MICROBATCH_TOKENS
    """Tokens of one forward pass, prompts counted once."""

    def batch(self, members: Sequence[tuple[Prompt, Completion]]) -> Batch:
        """One batch of members that all end alike: the score is read at the last token, which must not tell who wrote
        them (`vergence/model/ends.py`).
        """
        ends, end = self.backbone.end_token_ids, end_of_turn(self.backbone)
        return collate([(prompt, ended_alike(one, ends, end)) for prompt, one in members], self.backbone.device)

    def raw(self, members: Sequence[tuple[Prompt, Completion]]) -> Doubles:
        """Members [N] -> raw scores [N], in passes of at most `microbatch_tokens` tokens."""
        return self._passes(members, self.batch)

    def raw_as_given(self, members: Sequence[tuple[Prompt, Completion]]) -> Doubles:
        """The same for members whose last token is the one to be read, whatever it is."""
        return self._passes(members, lambda part: collate(part, self.backbone.device))

    @torch.no_grad()
    def _passes(
        self,
        members: Sequence[tuple[Prompt, Completion]],
        batch: Callable[[Sequence[tuple[Prompt, Completion]]], Batch],
    ) -> Doubles:
        def compute(part: Sequence[tuple[Prompt, Completion]]) -> list[float]:
            return raw_scores(self.backbone, self.head, batch(part), self.tower).double().tolist()

        return np.asarray(mapped(members, self.microbatch_tokens, compute), dtype=np.float64)


def raw_scores(backbone: Policy, head: nn.Linear, batch: Batch, tower: Tower) -> Float[Tensor, "B"]:
    """r(x, y): the head on the hidden state of each completion's last token."""
    scores: Tensor = head(last_hidden(backbone, batch, tower).float())[:, 0]
    return scores


def fresh_head(backbone: Policy, seed: int) -> nn.Linear:
    """A head that scores everything near zero."""
    width = backbone.model.get_input_embeddings().weight.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(width, 1, bias=False)
        nn.init.normal_(head.weight, std=1 / (width + 1))
    return head.to(backbone.device)


def save_reward_model(model: RewardModel, directory: Path, *, example_question: str) -> None:
    """Backbone as an ordinary checkpoint, head and calibration beside it."""
    save_policy(model.backbone, directory, example_question=example_question)
    save_file({"weight": model.head.weight.detach().contiguous()}, directory / "reward_head.safetensors")
    (directory / "reward.json").write_text(json.dumps({"calibration": asdict(model.calibration)}, indent=2) + "\n")


def load_reward_model(
    directory: Path,
    device: torch.device,
    *,
    limits: FeatureLimits = DEFAULT_LIMITS,
    microbatch_tokens: int = MICROBATCH_TOKENS,
    dtype: DtypeName = "auto",
) -> RewardModel:
    """The inverse of `save_reward_model`. Raises ModelError if the directory holds no reward model."""
    if not (directory / "reward.json").is_file():
        raise ModelError(f"{directory}: no reward.json; expected a reward model saved by Vergence")
    backbone = load_policy(directory, device, dtype)
    weight = load_file(directory / "reward_head.safetensors")["weight"]
    head = nn.Linear(weight.shape[1], 1, bias=False)
    head.weight.data.copy_(weight)
    head.to(device).requires_grad_(False)
    calibration = Calibration(**json.loads((directory / "reward.json").read_text())["calibration"])
    tower = CachedTower(backbone, remembered=ADAPTER_OUTPUT, limits=limits)
    return RewardModel(backbone, head, tower, calibration, microbatch_tokens)
