"""What became of the candidates, added up over the rounds of a stage or the chunks of a file."""

from collections import Counter
from typing import Any, final

from vergence.pairs.harvest import FATES, SOURCES, Fates


@final
class PairStatistics:
    """Counts by source and fate; held by checkpoints."""

    def __init__(self) -> None:
        self.fates: Fates = Counter()

    def add(self, fates: Fates) -> None:
        """Count further candidates."""
        self.fates.update(fates)

    def state_dict(self) -> dict[str, Any]:
        """Every count."""
        return {"fates": [[source, fate, count] for (source, fate), count in sorted(self.fates.items())]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self.fates = Counter({(source, fate): count for source, fate, count in state["fates"]})


def fate_table(fates: Fates) -> dict[str, dict[str, int]]:
    """Source to fate to count, with every fate written out, and a row `all` below: for summaries and terminals."""
    named = {source for source, _ in fates}
    present = [*(one for one in SOURCES if one in named), *sorted(named - set(SOURCES))]
    table = {source: _row({fate: fates[source, fate] for fate in FATES}) for source in present}
    return table | {"all": _row({fate: sum(fates[source, fate] for source in present) for fate in FATES})}


def _row(counts: dict[str, int]) -> dict[str, int]:
    return {"candidates": sum(counts.values())} | {fate.replace(" ", "_"): count for fate, count in counts.items()}
