"""What a selection did to a batch, as figures."""

import numpy as np

from vergence.buffer.selection import Selected
from vergence.types import Metrics, Origin


def selection_metrics(selected: Selected, batch_size: int) -> Metrics:
    """How full the batch is, how much of it is replayed, and how old that is."""
    draws = selected.draws
    replayed = [draw for draw in draws if draw.origin is Origin.REPLAY]
    return {
        "effective/batch": len(draws) / batch_size,
        "buffer/replay_share": len(replayed) / max(1, len(draws)),
        "buffer/age_mean": float(np.mean([draw.age for draw in replayed])) if replayed else 0.0,
        "buffer/age_max": float(max((draw.age for draw in replayed), default=0)),
        "buffer/size": float(selected.kept),
    }
