"""The work model: floating-point operations of a round, with and without copies of the prompt. Standard library only.

For one prompt group: V is one forward pass of the vision tower over the image, L one of the language model's body per
token, H one of its head per token; r = 1 with a KL term. A pass backward costs two forward ones.

    peer     G (1 + o + r + 3 mu) (V + P L + C L)  +  G C [1 + o + r + 4 mu] H        o = 1 where mu > 1
    least      (1 + r + 3 mu) (V + P L)            +  G C (1 + r + 3 mu) (L + H)

Attention's quadratic part, the adapter and the optimizer are left out.
"""

import math
from collections.abc import Sequence

from benchmarks.configs import PATCH, Config

_WIDTH, _LAYERS, _FEED, _KEYS = 384, 6, 1024, 128
"""Of the language model that benchmarks/models.py builds; `_KEYS` is the width of keys, and of values."""
_TOWER_WIDTH, _TOWER_LAYERS, _TOWER_FEED = 256, 5, 1024
"""Of its tower: LLaVA reads the last layer but one."""
BODY = 2.0 * _LAYERS * (2 * _WIDTH * _WIDTH + 2 * _WIDTH * _KEYS + 3 * _WIDTH * _FEED)
"""L, operations per token."""


def tower(side: int) -> float:
    """V of an image of `side` pixels, operations."""
    tokens = (side // PATCH) ** 2 + 1
    return 2.0 * tokens * _TOWER_LAYERS * (4 * _TOWER_WIDTH**2 + 2 * _TOWER_WIDTH * _TOWER_FEED)


def head(vocab: int) -> float:
    """H, operations per token."""
    return 2.0 * _WIDTH * vocab


def shared_pass(P: float, C: float, G: float, prompts: float, *, side: int, vocab: int) -> float:
    """One forward pass over groups, their prompt once: what a rollout, or a pass for log-probs, costs."""
    return prompts * (tower(side) + P * BODY + G * C * (BODY + head(vocab)))


def copied_pass(P: float, C: float, G: float, prompts: float, *, side: int, vocab: int) -> float:
    """The same with a copy of the prompt for every completion."""
    return prompts * G * (tower(side) + P * BODY + C * (BODY + head(vocab)))


def limit(config: Config) -> float:
    """The peer's work over the least, by the model; MPO with reference log-probs kept.

    Dead groups, repeated preprocessing and the overhead of decoding are not in it.
    """
    V, P, C = tower(config.image_side), config.prompt_tokens, config.completion_tokens
    if config.kind == "mpo":
        return 8 * (V + (P + C) * BODY) / (3 * (V + (P + 2 * C) * BODY))
    G, H, mu = config.completions, head(config.vocab), config.mu
    r, o = float(config.beta > 0), float(mu > 1)
    peer = G * (1 + o + r + 3 * mu) * (V + (P + C) * BODY) + G * C * (1 + o + r + 4 * mu) * H
    least = (1 + r + 3 * mu) * (V + P * BODY) + G * C * (1 + r + 3 * mu) * (BODY + H)
    return peer / least


def fitted_slope(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Least-squares slope of log cost over log size: 1 is proportional, 0 is free.

    Example: sizes [1, 2, 4] and costs [3, 6, 12] give 1.0.
    """
    x, y = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    products = sum((left - mean_x) * (right - mean_y) for left, right in zip(x, y, strict=True))
    return products / sum((left - mean_x) ** 2 for left in x)
