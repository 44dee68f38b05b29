"""What is measured beside training: the monitors of a step, and the tuning split every so often."""

from collections.abc import Sequence
from typing import Any, Protocol, final, runtime_checkable

from vergence.stages.parts import Gauge, Watch
from vergence.types import Metrics, ScoredGroup


@runtime_checkable
class Oversight(Protocol):
    """What the loop is watched by."""

    @property
    def ended(self) -> bool:
        """Whether the stage is to stop after this step."""
        ...

    def before_updates(self, step: int, scored: Sequence[ScoredGroup]) -> Metrics:
        """Monitors that look at the policy which sampled these groups."""
        ...

    def after_updates(self, step: int, steps: int) -> Metrics:
        """What is measured on the policy as the step leaves it."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What later steps depend on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        ...


@final
class Unwatched:
    """Nothing is measured and nothing ends the stage early."""

    ended = False

    def before_updates(self, step: int, scored: Sequence[ScoredGroup]) -> Metrics:
        """Nothing."""
        return {}

    def after_updates(self, step: int, steps: int) -> Metrics:
        """Nothing."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Nothing lasts."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing lasts."""


@final
class Measuring:
    """Monitors and the tuning split."""

    def __init__(self, watch: Watch, gauge: Gauge) -> None:
        self._watch = watch
        self._gauge = gauge
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether the stage is to stop after this step."""
        return self._ended

    def before_updates(self, step: int, scored: Sequence[ScoredGroup]) -> Metrics:
        """Monitors that look at the policy which sampled these groups."""
        return self._watch(step, [one.group for one in scored])

    def after_updates(self, step: int, steps: int) -> Metrics:
        """The tuning split, when it is due."""
        return self._gauge(step, steps)

    def state_dict(self) -> dict[str, Any]:
        """What later steps depend on."""
        return {"ended": self._ended}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self._ended = state["ended"]
