"""What is measured: the configurations, the reward, and the fields of a result. Standard library only.

Both environments, the product's and the peer's, import this file, so that both sides mean the same by "G1".

A speed result is one JSON object; both sides write the same fields (lane S):

    system        "trl", "trl+" or "vergence"
    config        the fields of `Config`
    versions      {"torch": ..., "transformers": ..., ...}
    threads       torch threads of the process
    dead          fraction of groups whose rewards are all equal
    warmup        number of rounds that were run and not reported
    rounds        one object per timed round:
        wall, cpu           seconds; cpu is of the whole process, all threads
        phases_wall, phases_cpu   {"generate", "old", "ref", "forward", "backward", "optimizer", "rest"} in seconds;
                            the phases of a round add up to its wall and cpu; "generate" includes the prefill,
                            "optimizer" the clipping of gradients, "rest" data loading and preprocessing
        tower_images        images that went through the vision tower
        tower_images_grad   those of them with gradient
        preprocessed        images that went through the image processor
        decoded             images decoded from a file
        generated_tokens    completion tokens sampled (0 for MPO)
        trained_tokens      completion tokens in the loss, once per optimizer pass
        optimizer_steps
        losses              the loss of each optimizer step
    peak_bytes        high-water mark of the process's resident memory, after the last round
    peak_load_bytes   the same after loading the model, before the warm-up
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

PATCH = 14
"""Side of a patch of the vision tower, pixels."""
ROUNDS_OF_DATA = 8
"""How many rounds the data of a configuration last before they begin again."""
PHASES = ("generate", "old", "ref", "forward", "backward", "optimizer", "rest")
LEARNING_RATE = 1e-4
MAX_GRAD_NORM = 1.0
MPO_LOSSES = ("sigmoid", "bco_pair", "sft")
MPO_WEIGHTS = (0.8, 0.2, 1.0)


@dataclass(frozen=True)
class Config:
    """One configuration of the benchmark. A round is one generation batch with its `mu` optimizer passes."""

    name: str
    kind: Literal["grpo", "mpo"]
    prompt_tokens: int
    """Tokens of a prompt: chat template applied, image tokens expanded."""
    completion_tokens: int
    """Tokens of every completion, exactly; in MPO of every chosen and rejected response, with its end token."""
    completions: int
    """Completions per prompt (G); 2 in MPO: chosen and rejected."""
    prompts: int
    """Prompts of a round; pairs of a step in MPO."""
    micro_batches: int
    """Parts a round is split into for forward and backward."""
    mu: int
    """Optimizer passes over one round."""
    beta: float
    """Weight of the KL term; in MPO the temperature of the preference."""
    vocab: int
    """Rows of the embedding."""
    image_side: int
    """What the vision tower reads, pixels a side."""
    jpeg_size: tuple[int, int] | None
    """Width and height of the JPEG files; None means PNG files of `image_side`, which need no resizing."""
    dead: float = 0.0
    """Fraction of the groups whose rewards are all equal."""

    @property
    def model(self) -> str:
        """Name of the model's folder, e.g. `llava-196-1k`."""
        return f"llava-{self.image_side}-{self.vocab // 1000}k"

    @property
    def image_tokens(self) -> int:
        """Placeholders of one image in the prompt."""
        return (self.image_side // PATCH) ** 2


SIDES = {64: 84, 256: 196, 1024: 420}
"""Prompt tokens to image side."""


def _grpo(
    name: str,
    P: int,
    C: int,
    *,
    mu: int = 1,
    beta: float = 0.04,
    vocab: int = 1024,
    parts: int = 1,
    jpeg: tuple[int, int] | None = None,
    dead: float = 0.0,
) -> Config:
    return Config(name, "grpo", P, C, 8, parts, parts, mu, beta, vocab, SIDES[P], jpeg, dead)


def _mpo(name: str, P: int, C: int) -> Config:
    return Config(name, "mpo", P, C, 2, 4, 1, 1, 0.1, 1024, SIDES[P], None)


# D1: dead groups are left out, since only rewards would be in the loss. D2: they take part in the KL penalty.
CONFIGS = {
    config.name: config
    for config in (
        _grpo("G1", 256, 64),
        _grpo("G2", 1024, 64),
        _grpo("G3", 256, 64, mu=2),
        _grpo("G4", 64, 256, beta=0.0),
        _grpo("G5", 256, 256, beta=0.0),
        _grpo("G6", 256, 64, vocab=32768),
        _grpo("G7", 256, 64, parts=4, jpeg=(1280, 960)),
        _grpo("D1", 256, 64, parts=4, beta=0.0, dead=0.5),
        _grpo("D2", 256, 64, parts=4, beta=0.04, dead=0.5),
        _mpo("M1", 256, 64),
        _mpo("M2", 1024, 64),
    )
}


def reward(token_ids: Sequence[int]) -> float:
    """Reward of a completion in [0, 1): a hash of its ids, so that no group is without a signal.

    Example: `reward([1, 2, 3])` is 0.0685... on every machine.
    """
    return zlib.crc32(",".join(map(str, token_ids)).encode()) / 2**32


def is_dead(index: int, fraction: float) -> bool:
    """Whether the problem at this place of the data file has a group without a signal; evenly spread."""
    return int((index + 1) * fraction) > int(index * fraction)
