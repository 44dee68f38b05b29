"""A bounded memory: what was not asked for the longest is forgotten first."""

from collections import OrderedDict
from typing import Generic, TypeVar, final

V = TypeVar("V")


@final
class RecentlyUsed(Generic[V]):
    """Values by key, up to a number of bytes; the newest value stays even if it alone is larger."""

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity = capacity_bytes
        self._kept: OrderedDict[str, tuple[V, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str) -> V | None:
        """The value, which then counts as just used; None if it is not there."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def put(self, key: str, value: V, nbytes: int) -> None:
        """Keep a value, and forget the oldest ones until the bound holds."""
        if key in self._kept:
            self._bytes -= self._kept.pop(key)[1]
        self._kept[key] = (value, nbytes)
        self._bytes += nbytes
        while self._bytes > self._capacity and len(self._kept) > 1:
            _, (_, dropped) = self._kept.popitem(last=False)
            self._bytes -= dropped

    def items(self) -> list[tuple[str, V]]:
        """Keys and values, the one that was not used the longest first."""
        return [(key, value) for key, (value, _) in self._kept.items()]

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._bytes = 0
