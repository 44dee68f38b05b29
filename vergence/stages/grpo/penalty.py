"""The KL penalty against a frozen reference: none, a term per token of the loss, or a part of the reward."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Protocol, final, runtime_checkable

import numpy as np
import torch
from torch.nn import functional

from vergence.loss.kl import KlEstimator, KlSchedule, fixed_weight, grpo_d, k1, k2, k3
from vergence.model.batch import pad
from vergence.model.policy import Policy
from vergence.model.vision import Tower
from vergence.model.weights_copy import WeightsCopy
from vergence.monitor.dials import Dials
from vergence.recipe.grpo import GrpoStage
from vergence.recipe.monitor_rules import may_raise_kl
from vergence.stages.context import Context
from vergence.stages.parts import logprobs_of, training
from vergence.types import Floats, Metrics, Origin, TrainingSample


@runtime_checkable
class Penalty(Protocol):
    """What keeps the policy near its reference. Replayed samples have no part in it (docs/equations.md, entry 34)."""

    @property
    def weight(self) -> float:
        """What the divergence was multiplied by, since the last `prepare`; 0.0 where there is none."""
        ...

    def weight_at(self, step: int) -> float:
        """The weight of a step, as schedule and controller have it now; above 0 every fresh completion takes part."""
        ...

    def prepare(self, samples: Sequence[TrainingSample], step: int) -> list[TrainingSample]:
        """Once a step, before its updates: the samples, with the penalty in their advantages if that is its place."""
        ...

    def __call__(self, samples: Sequence[TrainingSample], logprobs: torch.Tensor) -> torch.Tensor:
        """[B, T], or a scalar: the term per token that is added to the surrogate, of fresh samples."""
        ...

    def metrics(self) -> Metrics:
        """Figures of the prepared step beside those of the loss."""
        ...


@final
class NoPenalty:
    """The default: no KL term, hence no reference model (R1V2 Eq. 8 as printed)."""

    weight = 0.0

    def weight_at(self, step: int) -> float:
        """None at any step."""
        return 0.0

    def prepare(self, samples: Sequence[TrainingSample], step: int) -> list[TrainingSample]:
        """Nothing is needed."""
        return list(samples)

    def __call__(self, samples: Sequence[TrainingSample], logprobs: torch.Tensor) -> torch.Tensor:
        """Zero."""
        return torch.zeros((), device=logprobs.device)

    def metrics(self) -> Metrics:
        """None."""
        return {}


@final
class KlPenalty:
    """weight * KL estimate per token against a frozen reference (R1V2's text; Eq. 8 does not print it).

    The reference's log-probs are computed once a step, for however many updates, and for fresh samples alone: those
    are what the policy's divergence is estimated from. A step in which the weight is 0 computes nothing.
    """

    def __init__(
        self,
        reference: Policy,
        tower: Tower,
        *,
        weight: KlSchedule,
        estimator: KlEstimator,
        temperature: float,
        microbatch_tokens: int,
        weights: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`weights` puts the reference's weights in place where the model itself has moved on from them."""
        self._reference = reference
        self._tower = tower
        self._weights = weights
        self._weight_at = weight
        self._weight = weight(0)
        self._estimator = estimator
        self._temperature = temperature
        self._microbatch_tokens = microbatch_tokens
        self._known: dict[int, Floats] = {}
        """Completion, by identity, to its row; of the step that was prepared."""

    @property
    def weight(self) -> float:
        """That of the prepared step."""
        return self._weight

    def weight_at(self, step: int) -> float:
        """As scheduled, and turned up by a controller."""
        return self._weight_at(step)

    def prepare(self, samples: Sequence[TrainingSample], step: int) -> list[TrainingSample]:
        """The reference's log-probs of the step's fresh completions; the samples as they are."""
        self._weight = self._weight_at(step)
        fresh = _fresh(samples) if self._weight > 0 else []
        rows = self.reference_logprobs(fresh)
        self._known = {id(one.draw.sample.completion): row for one, row in zip(fresh, rows, strict=True)}
        return list(samples)

    def reference_logprobs(self, samples: Sequence[TrainingSample]) -> list[Floats]:
        """[T] each, under the reference."""
        with self._weights():
            return logprobs_of(
                self._reference,
                self._tower,
                [(one.draw.sample.prompt, one.draw.sample.completion) for one in samples],
                temperature=self._temperature,
                microbatch_tokens=self._microbatch_tokens,
            )

    def __call__(self, samples: Sequence[TrainingSample], logprobs: torch.Tensor) -> torch.Tensor:
        """The penalty of fresh samples of the prepared step."""
        if self._weight == 0.0 or not samples:
            return torch.zeros((), device=logprobs.device)
        rows = pad([self._known[id(one.draw.sample.completion)] for one in samples])
        padded = functional.pad(rows, (0, logprobs.shape[1] - rows.shape[1]))
        return self._weight * self._estimator(logprobs, padded.to(logprobs.device))

    def metrics(self) -> Metrics:
        """None: the loss has them."""
        return {}


@final
class KlInReward:
    """The KL penalty as a part of the reward: the estimate k1, per token, summed over the completion.

        R_i = r_i - weight * sum over t of (log pi(y_t) - log pi_ref(y_t)),        pi: the policy that sampled
        A_i = R_i - mean of R over the group

    Its expected gradient is that of E[r] - weight * KL[pi || pi_ref], over whole completions, times 1 - 1/G for the
    mean that holds the completion itself. As a term of the loss, k1 has an expected gradient of zero.

    Source: PPO for language models; verl's `use_kl_in_reward`, which takes the penalty off each token's reward, and
    GRPO then sums rewards over the completion; TRL's RLOO. Rewards alone still decide which groups are effective
    (docs/decisions/0005): there A is the centred R; in another group it is the penalty alone, centred. Both are what
    `advantage = "centred"` gives, which a recipe is held to: any division by a spread would blow up the penalty of a
    group in which nothing else differs.
    """

    def __init__(
        self, reference_logprobs: Callable[[Sequence[TrainingSample]], list[Floats]], weight: KlSchedule
    ) -> None:
        self._reference_logprobs = reference_logprobs
        self._weight_at = weight
        self._weight = weight(0)
        self._mean = 0.0

    @property
    def weight(self) -> float:
        """That of the prepared step."""
        return self._weight

    def weight_at(self, step: int) -> float:
        """As scheduled, and turned up by a controller."""
        return self._weight_at(step)

    def prepare(self, samples: Sequence[TrainingSample], step: int) -> list[TrainingSample]:
        """The samples, with what is taken off their rewards in the advantages of the fresh ones."""
        self._weight = self._weight_at(step)
        self._mean = 0.0
        fresh = _fresh(samples) if self._weight > 0 else []
        if not fresh:
            return list(samples)
        taken = {
            id(one): self._weight * _log_ratio(one, row)
            for one, row in zip(fresh, self._reference_logprobs(fresh), strict=True)
        }
        self._mean = float(np.mean(list(taken.values())))
        groups: dict[int, list[float]] = {}
        for one in fresh:
            groups.setdefault(id(one.draw.sample.prompt), []).append(taken[id(one)])
        means = {prompt: float(np.mean(values)) for prompt, values in groups.items()}
        return [
            _with_advantage(one, one.draw.sample.advantage - taken[id(one)] + means[id(one.draw.sample.prompt)])
            if id(one) in taken
            else one
            for one in samples
        ]

    def __call__(self, samples: Sequence[TrainingSample], logprobs: torch.Tensor) -> torch.Tensor:
        """Zero: the loss has no such term."""
        return torch.zeros((), device=logprobs.device)

    def metrics(self) -> Metrics:
        """What was taken off a reward, in the mean over the fresh completions."""
        return {"reward/kl_penalty": self._mean}


def _fresh(samples: Sequence[TrainingSample]) -> list[TrainingSample]:
    return [one for one in samples if one.draw.origin is Origin.FRESH]


def _log_ratio(one: TrainingSample, reference: Floats) -> float:
    """log pi / pi_ref of the whole completion, pi the policy that sampled it."""
    return float((one.draw.sample.completion.sampler_logprobs - reference).sum(dtype=np.float64))


def _with_advantage(one: TrainingSample, advantage: float) -> TrainingSample:
    return replace(one, draw=replace(one.draw, sample=replace(one.draw.sample, advantage=advantage)))


def needs_reference(section: GrpoStage) -> bool:
    """Whether some step of the stage may have a KL penalty."""
    return section.kl_weight > 0 or may_raise_kl(section)


def schedule_for(section: GrpoStage) -> KlSchedule:
    """The weight of the KL penalty at each step, before a controller adds to it."""
    match section.kl_schedule:
        case "fixed":
            return fixed_weight(section.kl_weight)
        case "grpo_d":
            return grpo_d(section.kl_min, section.kl_weight, steps=section.steps, turn=section.kl_turn)


def penalty_for(section: GrpoStage, context: Context, policy: Policy, tower: Tower, dials: Dials) -> Penalty:
    """The penalty. Its reference is the policy as it is now: a copy of the trained weights, everything else shared."""
    if not needs_reference(section):
        return NoPenalty()
    estimators: dict[str, KlEstimator] = {"k1": k1, "k2": k2, "k3": k3}
    schedule = schedule_for(section)
    reference = WeightsCopy.of_trained(policy, training(section.train))
    context.progress.say(
        f"{section.label:<14} reference: {reference.num_parameters:,} trained weights held as they are now, the other "
        "weights shared with the policy"
    )
    penalty = KlPenalty(
        policy,
        tower,
        weight=lambda step: schedule(step) + dials.settings.kl,
        estimator=estimators[section.kl_estimator],
        temperature=section.sampling.temperature,
        microbatch_tokens=context.recipe.compute.microbatch_tokens,
        weights=reference.in_place,
    )
    if section.kl_in == "reward":
        return KlInReward(penalty.reference_logprobs, penalty.weight_at)
    return penalty
