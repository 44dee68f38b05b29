"""The pairs of the current round: refilled at its beginning, walked in shuffled order, held by checkpoints."""

from collections.abc import Sequence
from typing import Any, final

from vergence.records import pair_records, restore_pairs
from vergence.seeds import generator
from vergence.types import PreferencePair


@final
class PairPool:
    """Pairs of one round."""

    def __init__(self) -> None:
        self._pairs: list[PreferencePair] = []

    def __len__(self) -> int:
        return len(self._pairs)

    def refill(self, pairs: Sequence[PreferencePair]) -> None:
        """Begin a round."""
        self._pairs = list(pairs)

    def take(self, step: int, count: int, *, seed: int) -> list[PreferencePair]:
        """The pairs of one step of the round; each pass over the pool is a fresh shuffle."""
        size = len(self._pairs)
        taken = []
        for position in range(step * count, (step + 1) * count):
            epoch, offset = divmod(position, size)
            taken.append(self._pairs[generator(seed, "pairs", epoch).permutation(size)[offset]])
        return taken

    def state_dict(self) -> dict[str, Any]:
        """Every pair."""
        return pair_records(self._pairs)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self._pairs = restore_pairs(state)
