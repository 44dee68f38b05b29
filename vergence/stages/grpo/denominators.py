"""Where the denominators of the ratio come from: the sampler, or the pass that gives the numerators."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from vergence.correction import Correction
from vergence.types import Origin, TrainingSample
from vergence.update.minibatch import Minibatch

Denominators = Callable[[list[Minibatch], int], list[Minibatch]]
"""(minibatches of a step's first epoch, number of epochs) -> the same, the first one marked as unmoved, with the
denominators that its updates and those of later epochs have."""


def of_sampler(dealt: list[Minibatch], epochs: int) -> list[Minibatch]:
    """Those that the samples have: log-probs that came with the completions, or what a correction made of them.

    Between decoding and training lies rounding, and it counts in every ratio: about 1e-6 a token in fp32, 1e-2 in
    bfloat16. Beside bounds of 0.2 that is nothing.
    """
    return _marked(dealt)


def of_learner(correct: Correction) -> Denominators:
    """Recomputed before the first update, minibatch by minibatch: the numerators' arithmetic, in the same company.

    GSPO's bounds are 3e-4 and 4e-4. Against the sampler's log-probs in bfloat16 most sequences lie outside before any
    update, and half of them then have no gradient. The pass is left out where it would give what the update has
    itself: for the only use of fresh samples in an unmoved minibatch, whose own log-probs are the denominators
    (`own_denominators` of the objective).
    """

    def renewed(dealt: list[Minibatch], epochs: int) -> list[Minibatch]:
        return [
            one
            if one.unmoved and epochs == 1 and not _replays(one)
            else replace(one, samples=tuple(correct([sample.draw for sample in one.samples])))
            for one in _marked(dealt)
        ]

    return renewed


def in_order(samples: Sequence[TrainingSample], dealt: Sequence[Minibatch]) -> list[TrainingSample]:
    """The samples in their order, each as the minibatches have it."""
    dealt_samples = {id(one.draw): one for minibatch in dealt for one in minibatch.samples}
    return [dealt_samples[id(one.draw)] for one in samples]


def _marked(dealt: list[Minibatch]) -> list[Minibatch]:
    return [replace(one, unmoved=place == 0) for place, one in enumerate(dealt)]


def _replays(minibatch: Minibatch) -> bool:
    return any(one.draw.origin is Origin.REPLAY for one in minibatch.samples)
