"""What a step of reinforcement had to compute, against what it did compute."""

import resource
import sys
from collections.abc import Callable, Sequence

import torch

from vergence.model.meter import Meter
from vergence.model.vision import Tower, VisionWork
from vergence.types import Metrics, Origin, PreferencePair, RolloutGroup, TrainingSample


def needed_tokens(
    groups: Sequence[RolloutGroup], samples: Sequence[TrainingSample], *, epochs: int, reference: bool
) -> int:
    """The least that decoders must compute: every prompt once a pass, every completion token but the last once a pass.

    The forward part of the work model W_min = (1 + r + mu) (V + P L) + G (1 + r + mu) C L, over the step's own lengths,
    with samples in place of G where groups taught nothing or the buffer gave some. The passes are one for each of the
    `epochs` (mu) over all samples, one over the fresh ones with a `reference` (r), and one over those whose
    denominators were recomputed.
    """
    fresh = [one for one in samples if one.draw.origin is Origin.FRESH]
    again = [one for one in samples if one.recomputed]
    return _sampled(groups) + _tokens(samples) * epochs + _tokens(fresh) * reference + _tokens(again)


def needed_by_pairs(groups: Sequence[RolloutGroup], pairs: Sequence[PreferencePair]) -> int:
    """The least for an update of preferences, with the groups that were sampled for it, if any."""
    prompts = {pair.prompt.key: pair.prompt for pair in pairs}
    return (
        _sampled(groups)
        + sum(len(prompt.token_ids) for prompt in prompts.values())
        + sum(len(pair.chosen.token_ids) + len(pair.rejected.token_ids) - 2 for pair in pairs)
    )


def _sampled(groups: Sequence[RolloutGroup]) -> int:
    return sum(
        len(group.prompt.token_ids) + sum(len(one.token_ids) - 1 for one in group.completions) for group in groups
    )


def _tokens(samples: Sequence[TrainingSample]) -> int:
    prompts = {one.draw.sample.prompt.key: one.draw.sample.prompt for one in samples}
    return sum(len(prompt.token_ids) for prompt in prompts.values()) + sum(
        len(one.draw.sample.completion.token_ids) - 1 for one in samples
    )


WorkDone = Callable[[int], Metrics]
"""(tokens needed) -> the work since the last call."""


def work_done(meters: Sequence[Meter], towers: Sequence[Tower]) -> WorkDone:
    """Reads the meters of all policies of a step, and what their towers did."""
    seen = VisionWork(0, 0)

    def done(needed: int) -> Metrics:
        nonlocal seen
        total = VisionWork(sum(one.work.preprocessed for one in towers), sum(one.work.encoded for one in towers))
        last, seen = seen, total
        work = [meter.take() for meter in meters]
        tokens = sum(one.tokens for one in work)
        return {
            "work/prompt_tokens": float(sum(one.prompt_tokens for one in work)),
            "work/completion_tokens": float(sum(one.completion_tokens for one in work)),
            "work/needed_share": needed / tokens if tokens else 1.0,
            "work/pictures_encoded": float(total.encoded - last.encoded),
            "work/pictures_preprocessed": float(total.preprocessed - last.preprocessed),
        }

    return done


def peak_memory() -> Metrics:
    """The most memory the process has held so far, in MB: of the GPU where there is one, else resident."""
    if torch.cuda.is_available():
        return {"memory/peak_mb": torch.cuda.max_memory_allocated() / 1e6}
    unit = 1.0 if sys.platform == "darwin" else 1024.0
    return {"memory/peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}
