"""What a controller may turn while a stage runs: the settings that answer an alarm."""

import math
from dataclasses import asdict, dataclass
from typing import Any, final


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the dials stand. The defaults change nothing."""

    preference: float = 1.0
    """Factor of the preference score's weight."""
    cap: float = math.inf
    """Largest preference score, after its bound and before its weight."""
    kl: float = 0.0
    """Added to the weight of the KL penalty."""
    margin: float = 0.0
    """Added to the smallest score gap of a preference pair (tau)."""


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
