"""The learner: owns an optimizer; loss parts in, one optimizer step out. It knows no algorithm."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn

from vergence.clock import Clock
from vergence.errors import DirectoryError, NonFiniteError
from vergence.types import Metrics
from vergence.update.schedule import WHOLE, Schedule, Span


@dataclass(frozen=True, slots=True, eq=False)
class ParameterGroup:
    """Parameters that share a learning rate and a weight decay."""

    name: str
    """The role: vision, adapter, language or head."""
    parameters: Mapping[str, nn.Parameter]
    learning_rate: float
    weight_decay: float
    """Of parameters with two dimensions or more. Norms, biases, and what else is one-dimensional, are not decayed."""

    def decay_of(self, name: str) -> float:
        """The weight decay of one of its parameters."""
        return self.weight_decay if self.parameters[name].ndim >= 2 else 0.0


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
    """AdamW over parameter groups, gradient clipping, and a schedule as a function of how far the stage has come."""

    def __init__(
        self,
        groups: Sequence[ParameterGroup],
        *,
        betas: tuple[float, float],
        clip_norm: float,
        schedule: Schedule,
        clock: Clock | None = None,
    ) -> None:
        self._named = {name: parameter for group in groups for name, parameter in group.parameters.items()}
        assert len(self._named) == sum(len(group.parameters) for group in groups), "names tell parameters apart"
        self._decays = {name: group.decay_of(name) for group in groups for name in group.parameters}
        self._clip_norm = clip_norm
        self._schedule = schedule
        self._clock = clock or Clock()
        self._updates = 0
        alike: dict[tuple[float, float], list[str]] = {}
        for group in groups:
            for name in group.parameters:
                alike.setdefault((group.learning_rate, self._decays[name]), []).append(name)
        self._rates = [rate for rate, _ in alike]
        self._order = [name for names in alike.values() for name in names]
        """Names in the order in which the optimizer numbers its parameters."""
        self._optimizer = torch.optim.AdamW(
            [
                {"params": [self._named[name] for name in names], "lr": rate, "weight_decay": decay}
                for (rate, decay), names in alike.items()
            ],
            betas=betas,
            fused=True,
        )

    @property
    def updates(self) -> int:
        """Optimizer steps taken so far."""
        return self._updates

    def update(self, parts: Iterable[Callable[[], LossPart]], span: Span = WHOLE) -> Metrics:
        """One optimizer step over the sum of the parts; parts are evaluated one by one, so graphs never pile up.

        `span` says where in its stage the update stands, for the schedule. Raises NonFiniteError, before any weight has
        changed, if the loss or the gradient norm is not finite.
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
        factor = self._schedule(span)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        with self._clock.phase("optimizer"):
            self._optimizer.step()
        # the fused step does not count its weights as changed, and whoever remembers what they computed must see it
        torch.autograd.graph.increment_version(list(self._named.values()))
        self._updates += 1
        return totals | {"gradient_norm": norm, "learning_rate_factor": factor}

    def state_dict(self) -> dict[str, Any]:
        """Trainable weights, optimizer moments by name, the weight decay of each, and the update counter."""
        state = self._optimizer.state_dict()["state"]
        return {
            "weights": {name: parameter.detach() for name, parameter in self._named.items()},
            "moments": {name: state[number] for number, name in enumerate(self._order) if number in state},
            "decays": dict(self._decays),
            "updates": self._updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`. Raises DirectoryError if the state has other parameters or weight decays.

        States of older versions, which numbered moments and decayed every parameter of a group, are read as well.
        """
        state = _by_name(state)
        self._check(state["decays"])
        with torch.no_grad():
            for name, parameter in self._named.items():
                parameter.copy_(state["weights"][name])
        moments = {
            number: state["moments"][name] for number, name in enumerate(self._order) if name in state["moments"]
        }
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": moments})
        self._updates = state["updates"]

    def _check(self, found: Mapping[str, float]) -> None:
        """Raises DirectoryError if a checkpoint goes on with other groups than it was written with."""
        wrong = [name for name in found.keys() | self._decays.keys() if found.get(name) != self._decays.get(name)]
        if not wrong:
            return
        first = min(wrong)
        was, now = (_described(decays.get(first)) for decays in (found, self._decays))
        raise DirectoryError(
            f"the checkpoint was written with other parameter groups: {len(wrong)} parameters differ, {first} {was} in "
            f"it and {now} now; finish the run with the version and recipe that began it, or delete the stage's folder "
            "in checkpoints/ to do the stage again"
        )


def _described(decay: float | None) -> str:
    return "is not trained" if decay is None else f"has weight decay {decay:g}"


def _by_name(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state as `state_dict` gives it, from one that keeps the optimizer's own numbered dictionary."""
    if "moments" in state:
        return dict(state)
    numbered, names = state["optimizer"], list(state["weights"])
    decays = {names[number]: group["weight_decay"] for group in numbered["param_groups"] for number in group["params"]}
    moments = {names[number]: moment for number, moment in numbered["state"].items()}
    return {"weights": state["weights"], "moments": moments, "decays": decays, "updates": state["updates"]}
