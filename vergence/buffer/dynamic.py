"""Dynamic sampling (DAPO): ask on, until the batch is full of groups that can teach."""

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from vergence.buffer.fresh import completions_of, effective_groups, fresh_draws, sampled, zero_advantage_draws
from vergence.buffer.selection import Ask, Selected
from vergence.types import JudgedGroup


@final
class DynamicSampling:
    """Strategy `dynamic`. Its state is a cursor over the batches of prompts: none is skipped, none comes twice.

    Every sample is fresh; what it costs is generation. Groups beyond a full batch, and groups that are not effective,
    are left out of the update, with a KL penalty or an entropy bonus too. Where `max_batches` did not fill the batch,
    the update is made of what there is, and normalised by that.
    """

    def __init__(self, *, groups: int, max_batches: int) -> None:
        self._groups = groups
        """Effective groups of a full batch."""
        self._max_batches = max_batches
        self._asked = 0
        """Batches of prompts since the stage began."""
        self._batches = 0
        """Batches of the last step."""

    def gather(self, ask: Ask, step: int) -> list[JudgedGroup]:
        """Batches of prompts from where the last step stopped, until enough groups are effective."""
        judged: list[JudgedGroup] = []
        self._batches = 0
        while self._batches < self._max_batches and len(effective_groups(judged)) < self._groups:
            judged += ask(self._asked)
            self._asked += 1
            self._batches += 1
        return judged

    def select(self, judged: Sequence[JudgedGroup], size: int, *, version: int, rng: np.random.Generator) -> Selected:
        """The first effective groups, as many as make a batch."""
        used = effective_groups(judged)[: self._groups]
        counts = sampled(judged, used, self._batches)
        return Selected(tuple(fresh_draws(used)), tuple(zero_advantage_draws(used)), completions_of(used), 0, counts)

    def state_dict(self) -> dict[str, Any]:
        """Where the next step goes on."""
        return {"asked": self._asked}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self._asked = state["asked"]
