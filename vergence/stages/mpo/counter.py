"""Which round a stage is in, and how many updates of it are done: rounds need not have equally many."""

from typing import Any, final


@final
class RoundCounter:
    """Held by checkpoints, because the number of a step does not say it."""

    def __init__(self) -> None:
        self.round = 0
        self.updates = 0
        """Of this round so far; 0 where it has yet to begin."""
        self.planned = 0
        """Of this round, as its beginning counted them."""

    def begin(self, planned: int) -> None:
        """A round begins, with so many updates to come."""
        self.planned = planned

    def count(self, *, ends_round: bool) -> None:
        """One update is over."""
        self.round, self.updates = (self.round + 1, 0) if ends_round else (self.round, self.updates + 1)

    def state_dict(self) -> dict[str, Any]:
        """All three numbers."""
        return {"round": self.round, "updates": self.updates, "planned": self.planned}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self.round, self.updates, self.planned = state["round"], state["updates"], state["planned"]
