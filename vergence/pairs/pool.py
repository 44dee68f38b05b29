"""The pairs of the current round: refilled at its beginning, walked in shuffled order, held by checkpoints."""

from collections.abc import Sequence
from typing import Any, final

from vergence.records import pair_records, restore_pairs
from vergence.seeds import generator
from vergence.types import TrainingPair


@final
class PairPool:
    """Pairs of one round, and how far they are walked."""

    def __init__(self, max_passes: int) -> None:
        """No pair is taken more than `max_passes` times, however many steps a round has."""
        self.max_passes = max_passes
        self._pairs: list[TrainingPair] = []
        self._taken = 0

    def __len__(self) -> int:
        return len(self._pairs)

    def refill(self, pairs: Sequence[TrainingPair]) -> None:
        """Begin a round."""
        self._pairs, self._taken = list(pairs), 0

    def batches(self, count: int) -> int:
        """How many batches of `count` pairs are left; one that is not full only where it would be the first."""
        whole = self._left // count
        return whole if whole or self._taken else min(1, self._left)

    def take(self, count: int, *, seed: int) -> list[TrainingPair]:
        """The next batch; each pass over the pool is a fresh shuffle."""
        size = len(self._pairs)
        batch = []
        for position in range(self._taken, self._taken + min(count, self._left)):
            epoch, offset = divmod(position, size)
            batch.append(self._pairs[generator(seed, "pairs", epoch).permutation(size)[offset]])
        self._taken += len(batch)
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Every pair, and how many were taken."""
        return pair_records(self._pairs) | {"taken": self._taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self._pairs, self._taken = restore_pairs(state), state["taken"]

    @property
    def _left(self) -> int:
        return self.max_passes * len(self._pairs) - self._taken
