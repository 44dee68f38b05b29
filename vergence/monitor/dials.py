"""What a controller may turn while a stage runs: the settings that answer an alarm."""

import math
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, final


class Action(StrEnum):
    """What an alarm may lead to."""

    HALVE_PREFERENCE = "halve_preference"
    """Half the weight of the preference score."""
    CAP = "cap"
    """No preference score counts for more than the cap that was learnt at the start of the stage."""
    RAISE_KL = "raise_kl"
    """A larger weight of the KL penalty."""
    RAISE_MARGIN = "raise_margin"
    """A larger smallest gap of a preference pair (tau)."""
    ROLL_BACK = "roll_back"
    """Back to the last weights that were measured with every signal inside its band."""
    STOP = "stop"
    """End the stage with this step."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the dials stand. The defaults change nothing."""

    preference: float = 1.0
    """Factor of the preference score's weight."""
    cap: float = math.inf
    """Largest preference score, in the units of the score itself: before its bound, its gate and its weight."""
    kl: float = 0.0
    """Added to the weight of the KL penalty."""
    margin: float = 0.0
    """Added to the smallest score gap of a preference pair (tau)."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """How far one turn goes."""

    kl: float
    margin: float
    cap: float
    """The cap itself; infinite where nothing is known of the scores yet."""


def turned(settings: Settings, action: Action, amounts: Amounts) -> Settings:
    """One turn of the dial that an action belongs to; the others, and actions that turn none, leave it as it is."""
    match action:
        case Action.HALVE_PREFERENCE:
            return replace(settings, preference=settings.preference / 2)
        case Action.CAP:
            return replace(settings, cap=min(settings.cap, amounts.cap))
        case Action.RAISE_KL:
            return replace(settings, kl=settings.kl + amounts.kl)
        case Action.RAISE_MARGIN:
            return replace(settings, margin=settings.margin + amounts.margin)
        case Action.ROLL_BACK | Action.STOP:
            return settings


@final
class Dials:
    """The settings of now; read by the reward, the penalty and the pairing, turned by the controller alone."""

    def __init__(self) -> None:
        self.settings = Settings()

    def state_dict(self) -> dict[str, Any]:
        """Where every dial stands."""
        return asdict(self.settings)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self.settings = Settings(**state)
