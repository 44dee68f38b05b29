"""Selective Sample Replay as VL-Rethinker publishes it (2504.08837, Algorithm 1): the nearest rival of the buffer.

    B       = B + fresh                                fresh: this step's samples with an advantage
    n       = max(0, size - number of fresh ones)
    P(j)    ~ |A_j|^alpha over B, fresh ones included
    batch   = fresh + n drawn from B

B is cleared after an episode (1024 prompts in the paper). Three things set it apart from `SampleBuffer`: fresh samples
enter before the draw and may be in a batch twice, there is no limit of age or use within an episode, and no capacity.
The paper does not say whether `Sample(B, n, P)` puts back what it has drawn; here it does not.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np

from vergence.buffer.entries import Entry, draw_entries, entry_records, priorities, restore_entries, single_samples
from vergence.buffer.fresh import effective_groups, fresh_draws, sampled, zero_advantage_draws
from vergence.buffer.selection import Ask, Selected
from vergence.buffer.selective import replays
from vergence.types import JudgedGroup


@final
class EpisodeBuffer:
    """Strategy `ssr`. Its state is the list of the episode's samples and how many prompts the episode has had."""

    def __init__(self, *, exponent: float, episode: int) -> None:
        self._exponent = exponent
        self._episode = episode
        """Prompts after which the buffer is cleared."""
        self._kept: list[Entry] = []
        self._prompts = 0

    def gather(self, ask: Ask, step: int) -> list[JudgedGroup]:
        """One batch of prompts a step."""
        return ask(step)

    def select(self, judged: Sequence[JudgedGroup], size: int, *, version: int, rng: np.random.Generator) -> Selected:
        """All fresh effective samples, then some of the episode's, this step's own included."""
        if self._prompts >= self._episode:
            self._kept, self._prompts = [], 0
        self._prompts += len(judged)
        self._kept += single_samples(judged)
        draws = fresh_draws(judged)
        for place in draw_entries(priorities(self._kept, self._exponent), max(0, size - len(draws)), rng):
            self._kept[place] = replace(self._kept[place], uses=self._kept[place].uses + 1)
            draws += replays(self._kept[place], version)
        counts = sampled(judged, effective_groups(judged))
        return Selected(tuple(draws), tuple(zero_advantage_draws(judged)), size, len(self._kept), counts)

    def state_dict(self) -> dict[str, Any]:
        """Every sample of the episode, in order, with its number of uses."""
        return entry_records(self._kept) | {"prompts_seen": self._prompts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self._kept = restore_entries(state)
        self._prompts = state["prompts_seen"]
