"""Randomness keyed by meaning.

No generator is ever carried along: each draw makes its own from the run's seed and from *what it is for*. So
there is no generator state to save, a resumed run draws what the uninterrupted one would have drawn, and the
order in which things are computed cannot change them.
"""

import hashlib

import numpy as np

Key = int | str


def seed_of(*key: Key) -> int:
    """A 63-bit seed from a key such as `(seed, "grpo", step, "rollout")`; equal keys, equal seeds."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(*key: Key) -> np.random.Generator:
    """A fresh numpy generator for one purpose, named by `key`."""
    return np.random.Generator(np.random.Philox(key=seed_of(*key)))
