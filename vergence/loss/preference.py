"""The three terms of MPO, per pair, and BCO's running reward shift (R1V2 Eq. 2-5; InternVL-MPO)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import logsigmoid


def implicit_rewards(logprobs: Float[Tensor, "B"], ref_logprobs: Float[Tensor, "B"], beta: float) -> Float[Tensor, "B"]:
    """beta * log(pi(y|x) / pi_0(y|x)); both arguments are sums over the response's tokens."""
    return beta * (logprobs - ref_logprobs)


def dpo_loss(chosen: Float[Tensor, "B"], rejected: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """R1V2 Eq. 3: -log sigmoid(r_c - r_r), with r the implicit rewards."""
    return -logsigmoid(chosen - rejected)


def bco_loss(chosen: Float[Tensor, "B"], rejected: Float[Tensor, "B"], shift: float) -> Float[Tensor, "B"]:
    """R1V2 Eq. 4: -log sigmoid(r_c - delta) - log sigmoid(-(r_r - delta)).

    Differs from the paper: Eq. 4 prints sigmoid(-r_r - delta) for the rejected answer. BCO and InternVL have
    sigmoid(-(r_r - delta)); the printed sign would push both answers against the same side of the shift.
    """
    return -logsigmoid(chosen - shift) - logsigmoid(-(rejected - shift))


def generation_loss(logprobs: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B"]:
    """R1V2 Eq. 5: -log pi(y_c|x) / |y_c|, the mean over the tokens of each answer by itself.

    InternVL's trainer averages over all tokens of the micro-batch instead; the two differ where lengths differ.
    """
    return -sequence_sums(logprobs, mask) / mask.sum(1)


@dataclass(frozen=True, slots=True)
class RewardShift:
    """BCO's delta: a moving average of the implicit rewards of chosen and rejected answers together.

    State goes in and comes out, so that a checkpoint can hold it. The paper says "moving average of past rewards" and
    no more; both readings in use are here.
    """

    mean: float
    count: int
    decay: float
    """Weight of the past in an exponential average; 1.0 means the plain mean of everything so far (InternVL)."""

    def updated(self, rewards: Float[Tensor, "N"]) -> "RewardShift":
        """The shift after seeing `rewards`; the first batch sets the mean."""
        batch_mean, size = float(rewards.detach().double().mean()), rewards.numel()
        if self.count == 0:
            mean = batch_mean
        elif self.decay < 1.0:
            mean = self.decay * self.mean + (1 - self.decay) * batch_mean
        else:
            mean = self.mean + (batch_mean - self.mean) * size / (self.count + size)
        return RewardShift(mean, self.count + size, self.decay)


@dataclass(frozen=True, slots=True)
class MpoWeights:
    """Weights of the terms in R1V2 Eq. 2. The paper gives none; these are InternVL's."""

    preference: float = 0.8
    quality: float = 0.2
    generation: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class MpoTerms:
    """One value per pair for each term."""

    preference: Float[Tensor, "B"]
    quality: Float[Tensor, "B"]
    generation: Float[Tensor, "B"]


def mpo_loss(terms: MpoTerms, weights: MpoWeights) -> Float[Tensor, "B"]:
    """R1V2 Eq. 2: w1 * L_preference + w2 * L_quality + w3 * L_generation."""
    return (
        weights.preference * terms.preference + weights.quality * terms.quality + weights.generation * terms.generation
    )


def bradley_terry_loss(chosen: Float[Tensor, "B"], rejected: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """-log sigmoid(r(x, y_c) - r(x, y_r)): what a reward model is trained with (Skywork-VL Reward)."""
    return -logsigmoid(chosen - rejected)


def sequence_sums(values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B"]:
    """Sum over each sequence's own tokens."""
    return torch.where(mask, values, torch.zeros((), dtype=values.dtype, device=values.device)).sum(1)
