"""What a selection did to a batch, as figures."""

from collections.abc import Sequence

import numpy as np

from vergence.buffer.selection import Selected
from vergence.types import Draw, Metrics, Origin

AGE_EDGES = (0, 1, 2, 4, 8, 16, 32, 64)
USE_EDGES = (1, 2, 4, 8)
"""Where the bins of the histograms begin."""


def selection_metrics(selected: Selected, batch_size: int) -> Metrics:
    """What was sampled for the batch, how full it is, how much of it is replayed, how old that is and how often used.

    Histograms are shares of the replayed samples by powers of two; absent where nothing is replayed.
    """
    draws, counts = selected.draws, selected.sampled
    replayed = [draw for draw in draws if draw.origin is Origin.REPLAY]
    return {
        "rollout/batches": float(counts.batches),
        "rollout/groups": float(counts.groups),
        "rollout/groups_used": float(counts.groups_used),
        "effective/fresh_samples": counts.effective_samples / max(1, counts.samples),
        "effective/batch": len(draws) / batch_size,
        "buffer/replay_share": len(replayed) / max(1, len(draws)),
        "buffer/age_mean": float(np.mean([draw.age for draw in replayed])) if replayed else 0.0,
        "buffer/age_max": float(max((draw.age for draw in replayed), default=0)),
        "buffer/size": float(selected.kept),
    } | (_histograms(replayed) if replayed else {})


def _histograms(replayed: Sequence[Draw]) -> Metrics:
    ages = shares([draw.age for draw in replayed], AGE_EDGES)
    uses = shares([draw.uses for draw in replayed], USE_EDGES)
    return {f"buffer/age_{name}": share for name, share in ages.items()} | {
        f"buffer/uses_{name}": share for name, share in uses.items()
    }


def shares(values: Sequence[int], edges: Sequence[int]) -> dict[str, float]:
    """The share of the values in each bin: from an edge up to below the next, and the last without end.

    Bins are called after what they hold: 1, 2_3, 64_up.
    """
    counts, _ = np.histogram(values, bins=[*edges, np.inf])
    ends = [after - 1 for after in edges[1:]]
    names = [str(low) if low == high else f"{low}_{high}" for low, high in zip(edges[:-1], ends, strict=True)]
    return dict(zip([*names, f"{edges[-1]}_up"], (counts / len(values)).tolist(), strict=True))
