"""Every rule of a stage, held against every step's metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from vergence.monitor.bands import Alarm, Band, Rule, Watched, band_of, calm, read


@dataclass(frozen=True, slots=True)
class Learnt:
    """A band that has just become known."""

    signal: str
    band: Band
    readings: int


@dataclass(frozen=True, slots=True)
class Readings:
    """What one step's metrics came to."""

    read: int
    """Signals that the step logged."""
    outside: tuple[str, ...]
    """Those that are outside their band, whether or not that is an alarm yet."""
    learning: int
    """Those whose band is not known yet."""
    alarms: tuple[Alarm, ...]
    learnt: tuple[Learnt, ...]


@final
class Alarms:
    """The rules with what is known of each signal; which signals a step has decides which rules are asked."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = {rule.signal: rule for rule in rules}
        assert len(self._rules) == len(rules), "one rule for each signal"
        self._watched = dict.fromkeys(self._rules, Watched())

    def watch(self, metrics: Mapping[str, float]) -> Readings:
        """One more reading of every signal among these metrics."""
        read_, outside, learning = 0, [], 0
        alarms: list[Alarm] = []
        learnt: list[Learnt] = []
        for signal, rule in self._rules.items():
            if signal not in metrics:
                continue
            before = self._watched[signal]
            reading = read(rule, before, float(metrics[signal]))
            after = self._watched[signal] = reading.watched
            read_ += 1
            outside += [signal] if reading.outside else []
            alarms += [reading.alarm] if reading.alarm else []
            learning += len(after.learnt) < rule.learn
            if len(before.learnt) < len(after.learnt) == rule.learn:
                learnt.append(Learnt(signal, band_of(rule, after), rule.learn))
        return Readings(read_, tuple(outside), learning, tuple(alarms), tuple(learnt))

    @property
    def settled(self) -> bool:
        """Whether the last reading of every signal was inside its band."""
        return not any(one.below or one.above for one in self._watched.values())

    def calm(self) -> None:
        """Begin every row anew: the readings so far were of other weights."""
        self._watched = {signal: calm(watched) for signal, watched in self._watched.items()}

    def state_dict(self) -> dict[str, Any]:
        """Readings and rows by signal."""
        return {
            signal: {"learnt": list(one.learnt), "below": one.below, "above": one.above}
            for signal, one in self._watched.items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self._watched = {
            signal: Watched(tuple(one["learnt"]), one["below"], one["above"]) for signal, one in state.items()
        }
