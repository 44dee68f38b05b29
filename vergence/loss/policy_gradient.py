"""Surrogates of the policy gradient, per token: what a GRPO update minimises before it is reduced to one number.

    rho_t = exp(log pi(y_t) - log pi_old(y_t))        A: advantage of the sequence        w_t: off-policy weight

Each variant is a function from a `SurrogateInput` to a `Surrogate`, made once by its factory when a stage is built.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class SurrogateInput:
    """What a surrogate reads; all of it is a constant but `logprobs`."""

    logprobs: Float[Tensor, "B T"]
    """log pi, with gradient."""
    old_logprobs: Float[Tensor, "B T"]
    """log pi_old: of the policy that the clip is centred on."""
    advantages: Float[Tensor, "B"]
    weights: Float[Tensor, "B T"]
    """w: 1 for fresh samples, the off-policy correction for replayed ones."""
    mask: Bool[Tensor, "B T"]
    """False where a row is padded."""
    replayed: Bool[Tensor, "B"]
    """True where the sample comes out of the buffer."""


@dataclass(frozen=True, slots=True, eq=False)
class Surrogate:
    """Per-token terms, not yet reduced."""

    loss: Float[Tensor, "B T"]
    ratio: Float[Tensor, "B T"]
    """rho, without gradient."""
    clipped_low: Bool[Tensor, "B T"]
    """True where the lower bound binds: it takes the gradient away, or (CISPO) holds its weight."""
    clipped_high: Bool[Tensor, "B T"]
    """True where the upper bound binds."""
    clipped_dual: Bool[Tensor, "B T"]
    """True where the dual clip takes the gradient away."""

    @property
    def clipped(self) -> Bool[Tensor, "B T"]:
        """True where any bound binds."""
        return self.clipped_low | self.clipped_high | self.clipped_dual


SurrogateFunction = Callable[[SurrogateInput], Surrogate]


def clipped(low: float, high: float, dual: float = math.inf) -> SurrogateFunction:
    """R1V2 Eq. 8, negated so that it is minimised; with a dual clip where `dual` is finite.

        loss = -w * min(rho * A, clip(rho, 1 - low, 1 + high) * A)
        loss = -w * max(min(...), dual * A)                             where A < 0: dual clip

    Differs from the paper: the paper prints one eps; two are DAPO's (clip-higher), equal by default. The dual clip
    (dual > 1) bounds what a bad token that has become far likelier can cost; without it rho * A has no bound there.
    """

    def surrogate(given: SurrogateInput) -> Surrogate:
        ratio = (given.logprobs - given.old_logprobs).exp()
        advantage = given.advantages[:, None]
        free = ratio * advantage
        bounded = ratio.clamp(1 - low, 1 + high) * advantage
        held = (bounded < free).detach()
        below = held & (advantage < 0)
        return Surrogate(
            -given.weights * torch.minimum(free, bounded),
            ratio.detach(),
            clipped_low=below,
            clipped_high=held & ~below,
            clipped_dual=torch.zeros_like(held),
        )

    def dual_surrogate(given: SurrogateInput) -> Surrogate:
        plain = surrogate(given)
        advantage = given.advantages[:, None]
        # for A < 0 the weighted loss is at most -w * dual * A
        most = -given.weights * dual * advantage
        capped = (advantage < 0) & (plain.loss > most).detach()
        return Surrogate(
            torch.where(capped, most, plain.loss),
            plain.ratio,
            clipped_low=plain.clipped_low,
            clipped_high=plain.clipped_high,
            clipped_dual=capped,
        )

    return surrogate if dual == math.inf else dual_surrogate


def cispo(low: float, high: float) -> SurrogateFunction:
    """CISPO (MiniMax-M1): loss = -w * sg(clip(rho, 1 - low, 1 + high)) * A * log pi; sg: without gradient.

    The bound holds the weight of a token's gradient, and no token loses its gradient. MiniMax leaves the lower bound
    out (low = 1), ScaleRL has high = 5. The value of the loss means nothing; its gradient does.
    """

    def surrogate(given: SurrogateInput) -> Surrogate:
        ratio = (given.logprobs.detach() - given.old_logprobs).exp()
        held = ratio.clamp(1 - low, 1 + high)
        return Surrogate(
            -given.weights * held * given.advantages[:, None] * given.logprobs,
            ratio,
            clipped_low=held > ratio,
            clipped_high=held < ratio,
            clipped_dual=torch.zeros_like(given.mask),
        )

    return surrogate


def shaped(beta: float) -> SurrogateFunction:
    """ExGRPO's loss of replayed tokens: loss = -w * rho / (rho + beta) * A, rho = pi / pi_stored, without a clip.

    rho / (rho + beta) is below 1 and flat where rho is large, so a sample that the policy has come to like says little
    more; its slope in log pi, beta * rho / (rho + beta)^2, is largest at rho = beta. Written as a sigmoid of
    log rho - log beta, which no ratio overflows.
    """

    def surrogate(given: SurrogateInput) -> Surrogate:
        difference = given.logprobs - given.old_logprobs
        share = (difference - math.log(beta)).sigmoid()
        nowhere = torch.zeros_like(given.mask)
        loss = -given.weights * share * given.advantages[:, None]
        return Surrogate(loss, difference.exp().detach(), nowhere, nowhere, nowhere)

    return surrogate


def by_origin(fresh: SurrogateFunction, replayed: SurrogateFunction) -> SurrogateFunction:
    """One surrogate for fresh rows and another for those that come out of the buffer; each sees all rows."""

    def surrogate(given: SurrogateInput) -> Surrogate:
        ours, theirs = fresh(given), replayed(given)
        pick = given.replayed[:, None]
        return Surrogate(
            torch.where(pick, theirs.loss, ours.loss),
            torch.where(pick, theirs.ratio, ours.ratio),
            torch.where(pick, theirs.clipped_low, ours.clipped_low),
            torch.where(pick, theirs.clipped_high, ours.clipped_high),
            torch.where(pick, theirs.clipped_dual, ours.clipped_dual),
        )

    return surrogate
