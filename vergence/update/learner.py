"""The learner: owns an optimizer; loss parts in, one optimizer step out. It knows no algorithm."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn

from vergence.clock import Clock
from vergence.errors import NonFiniteError
from vergence.types import Metrics


@dataclass(frozen=True, slots=True, eq=False)
class ParameterGroup:
    """Parameters that share a learning rate and a weight decay."""

    name: str
    """The role: vision, adapter, language or head."""
    parameters: Mapping[str, nn.Parameter]
    learning_rate: float
    weight_decay: float


@dataclass(frozen=True, slots=True, eq=False)
class LossPart:
    """One micro-batch's share of the loss, already divided by the count of the whole batch."""

    loss: Tensor
    """Scalar with a graph."""
    metrics: Mapping[str, Tensor]
    """Scalars without one; each is this part's share, so that the parts add up to the batch's value."""
    peaks: Mapping[str, Tensor] = field(default_factory=dict)
    """Scalars without a graph, of which the batch's value is the largest."""


@final
class Learner:
    """AdamW over parameter groups, gradient clipping, and a schedule as a function of the update's number."""

    def __init__(
        self,
        groups: Sequence[ParameterGroup],
        *,
        betas: tuple[float, float],
        clip_norm: float,
        schedule: Callable[[int], float],
        clock: Clock | None = None,
    ) -> None:
        self._named = {name: parameter for group in groups for name, parameter in group.parameters.items()}
        assert len(self._named) == sum(len(group.parameters) for group in groups), "names tell parameters apart"
        self._base_rates = [group.learning_rate for group in groups]
        self._clip_norm = clip_norm
        self._schedule = schedule
        self._clock = clock or Clock()
        self._updates = 0
        self._optimizer = torch.optim.AdamW(
            [
                {
                    "params": list(group.parameters.values()),
                    "lr": group.learning_rate,
                    "weight_decay": group.weight_decay,
                }
                for group in groups
            ],
            betas=betas,
            fused=True,
        )

    @property
    def updates(self) -> int:
        """Optimizer steps taken so far."""
        return self._updates

    def update(self, parts: Iterable[Callable[[], LossPart]]) -> Metrics:
        """One optimizer step over the sum of the parts; parts are evaluated one by one, so graphs never pile up.

        Raises NonFiniteError, before any weight has changed, if the loss or the gradient norm is not finite.
        """
        self._optimizer.zero_grad(set_to_none=True)
        totals: dict[str, float] = {"loss": 0.0}
        for evaluate in parts:
            with self._clock.phase("forward"):
                part = evaluate()
            with self._clock.phase("backward"):
                part.loss.backward()
            totals["loss"] += part.loss.item()
            for name, value in part.metrics.items():
                totals[name] = totals.get(name, 0.0) + value.item()
            for name, value in part.peaks.items():
                totals[name] = max(totals.get(name, -math.inf), value.item())
        with self._clock.phase("optimizer"):
            norm = torch.nn.utils.clip_grad_norm_(self._named.values(), self._clip_norm).item()
        if not math.isfinite(totals["loss"]) or not math.isfinite(norm):
            raise NonFiniteError(
                f"update {self._updates}: loss {totals['loss']} and gradient norm {norm} must be finite; "
                "lower the learning rate, or look at the last rollouts for the sample that did it"
            )
        factor = self._schedule(self._updates)
        for group, rate in zip(self._optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = rate * factor
        with self._clock.phase("optimizer"):
            self._optimizer.step()
        # the fused step does not count its weights as changed, and whoever remembers what they computed must see it
        torch.autograd.graph.increment_version(list(self._named.values()))
        self._updates += 1
        return totals | {"gradient_norm": norm, "learning_rate_factor": factor}

    def state_dict(self) -> dict[str, Any]:
        """Trainable weights, optimizer moments and the update counter."""
        return {
            "weights": {name: parameter.detach() for name, parameter in self._named.items()},
            "optimizer": self._optimizer.state_dict(),
            "updates": self._updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        with torch.no_grad():
            for name, parameter in self._named.items():
                parameter.copy_(state["weights"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        self._updates = state["updates"]
