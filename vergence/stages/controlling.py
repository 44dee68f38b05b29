"""From alarms to actions: the three modes of the monitor differ in what stands here."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, final, runtime_checkable

import numpy as np

from vergence.monitor.alarms import Readings
from vergence.monitor.bands import Alarm
from vergence.monitor.dials import Action, Amounts, Dials, turned
from vergence.stages.last_good import LastGood
from vergence.types import Metrics, ScoredGroup

Escalation = tuple[tuple[Action, ...], ...]
"""What the first alarm of a signal leads to, what the second, ...; the last one is repeated."""


@dataclass(frozen=True, slots=True)
class Deed:
    """An action with its cause."""

    action: Action
    done: bool
    """False where it was due and could not be taken, or changed nothing."""
    result: str
    """What it came to, in words."""
    alarm: Alarm


@runtime_checkable
class Answer(Protocol):
    """What alarms lead to."""

    @property
    def ended(self) -> bool:
        """Whether the stage is to end."""
        ...

    def prepare(self, step: int, scored: Sequence[ScoredGroup]) -> Metrics:
        """Before the updates of a step."""
        ...

    def answer(self, watch: Readings, *, settled: bool) -> list[Deed]:
        """After them: what one step's readings lead to. `settled`: no signal is outside its band."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What later steps depend on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        ...


@final
class NoAnswer:
    """Modes off and observe: alarms are noted and nothing else."""

    ended = False

    def prepare(self, step: int, scored: Sequence[ScoredGroup]) -> Metrics:
        """Nothing."""
        return {}

    def answer(self, watch: Readings, *, settled: bool) -> list[Deed]:
        """Nothing."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """Nothing lasts."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlLimits:
    """How far an action goes."""

    kl: float
    margin: float
    cap_quantile: float
    learn: int
    """Steps at the start of the stage that the cap is learnt from."""
    max_roll_backs: int
    every: int
    """Steps between copies of the state that may turn out to be good."""


@final
class Controller:
    """Mode act: the n-th alarm of a signal leads to the n-th step of its escalation.

    An action is taken at most once in a step, whatever number of alarms ask for it. Dials stay where they are when
    weights are rolled back: the same weights with the same settings would only fail again.
    """

    def __init__(
        self, escalations: Mapping[str, Escalation], dials: Dials, good: LastGood, limits: ControlLimits
    ) -> None:
        self._escalations = dict(escalations)
        self._dials = dials
        self._good = good
        self._limits = limits
        self._raised: dict[str, int] = {}
        """Alarms so far, by signal."""
        self._quantiles: list[float] = []
        """Of the preference scores of the first steps."""
        self._roll_backs = 0
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether the stage is to end."""
        return self._ended

    def prepare(self, step: int, scored: Sequence[ScoredGroup]) -> Metrics:
        """Learn the cap, copy the state that is about to be measured, and say where the dials stand in this step."""
        if len(self._quantiles) < self._limits.learn and scored and "preference" in scored[0].components:
            scores = np.concatenate([group.components["preference"] for group in scored])
            self._quantiles.append(float(np.quantile(scores, self._limits.cap_quantile)))
        if step % self._limits.every == 0:
            self._good.consider(step)
        return {f"dials/{name}": value for name, value in asdict(self._dials.settings).items()}

    def answer(self, watch: Readings, *, settled: bool) -> list[Deed]:
        """The actions of one step, in the order in which the rules ask for them."""
        if settled:
            self._good.approve()
        else:
            self._good.dismiss()
        deeds: list[Deed] = []
        for alarm in watch.alarms:
            steps = self._escalations[alarm.signal]
            place = self._raised.get(alarm.signal, 0)
            self._raised[alarm.signal] = place + 1
            for action in steps[min(place, len(steps) - 1)] if steps else ():
                if any(one.action is action for one in deeds):
                    deeds.append(Deed(action, False, "taken in this step already", alarm))
                else:
                    deeds.append(self._take(action, alarm))
        return deeds

    def _take(self, action: Action, alarm: Alarm) -> Deed:
        match action:
            case Action.ROLL_BACK:
                return self._roll_back(alarm)
            case Action.STOP:
                self._ended = True
                return Deed(action, True, "the stage ends with this step", alarm)
            case _:
                before = self._dials.settings
                after = self._dials.settings = turned(before, action, self._amounts())
                old, new = asdict(before), asdict(after)
                changes = [f"{name} {old[name]:g} -> {new[name]:g}" for name in old if old[name] != new[name]]
                return Deed(action, bool(changes), ", ".join(changes) or "nothing changes", alarm)

    def _roll_back(self, alarm: Alarm) -> Deed:
        if self._good.step is None:
            return Deed(Action.ROLL_BACK, False, "no weights were found good yet", alarm)
        if self._roll_backs == self._limits.max_roll_backs:
            return Deed(Action.ROLL_BACK, False, f"done {self._roll_backs} times already, the most allowed", alarm)
        self._roll_backs += 1
        self._good.restore()
        return Deed(Action.ROLL_BACK, True, f"to the weights before step {self._good.step}", alarm)

    def _amounts(self) -> Amounts:
        cap = float(np.mean(self._quantiles)) if self._quantiles else float("inf")
        return Amounts(kl=self._limits.kl, margin=self._limits.margin, cap=cap)

    def state_dict(self) -> dict[str, Any]:
        """Alarms so far, what the cap is learnt from, roll-backs, and the good state."""
        return {
            "raised": dict(self._raised),
            "quantiles": list(self._quantiles),
            "roll_backs": self._roll_backs,
            "ended": self._ended,
            "good": self._good.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self._raised, self._quantiles = dict(state["raised"]), list(state["quantiles"])
        self._roll_backs, self._ended = state["roll_backs"], state["ended"]
        self._good.load_state_dict(state["good"])
