"""Which minibatches have their denominators recomputed, and in which company."""

from collections.abc import Sequence

import numpy as np

from vergence.correction import recomputed, stored_clip
from vergence.stages.grpo.denominators import in_order, of_learner, of_sampler
from vergence.types import Draw, Origin
from vergence.update.minibatch import Minibatch

from ..builders import draw, sample

FRESH = [draw(sample(logprobs=[-1.0, -float(index)])) for index in range(1, 5)]
PAST = draw(sample(logprobs=[-1.0, -9.0]), Origin.REPLAY, age=2)


def dealt(*parts: Sequence[Draw]) -> list[Minibatch]:
    return [Minibatch(tuple(stored_clip()(part)), 4, 2) for part in parts]


class Pass:
    """The learner's pass: 0.5 below what sampling stored; it notes which draws came together."""

    def __init__(self) -> None:
        self.asked: list[list[Draw]] = []

    def __call__(self, draws: Sequence[Draw]) -> list[np.ndarray]:
        self.asked.append(list(draws))
        return [one.sample.completion.sampler_logprobs - np.float32(0.5) for one in draws]


def test_the_samplers_stay_and_the_first_minibatch_is_marked() -> None:
    given = dealt(FRESH[:2], FRESH[2:])
    found = of_sampler(given, 1)
    assert [True, False] == [one.unmoved for one in found]
    assert [one.samples for one in given] == [one.samples for one in found]


def test_each_minibatch_is_passed_in_the_company_of_its_update() -> None:
    """The first one is not, for its only update: its own log-probs are the denominators there."""
    once = Pass()
    found = of_learner(recomputed(once, 2.0))(dealt(FRESH[:2], FRESH[2:]), 1)
    assert [FRESH[2:]] == once.asked
    assert [True, False] == [one.unmoved for one in found]
    assert [[False, False], [True, True]] == [[sample.recomputed for sample in one.samples] for one in found]
    assert [[-1.5, -3.5], [-1.5, -4.5]] == [one.old_logprobs.tolist() for one in found[1].samples]


def test_later_epochs_need_the_first_minibatch_too() -> None:
    twice = Pass()
    of_learner(recomputed(twice, 2.0))(dealt(FRESH[:2], FRESH[2:]), 2)
    assert [FRESH[:2], FRESH[2:]] == twice.asked


def test_a_replayed_sample_needs_its_weight_in_the_first_minibatch() -> None:
    once = Pass()
    (found,) = of_learner(recomputed(once, 2.0))(dealt([FRESH[0], PAST]), 1)
    assert [[FRESH[0], PAST]] == once.asked
    assert np.allclose(np.exp(-0.5), found.samples[1].weights)


def test_samples_keep_their_order_and_take_what_the_minibatches_have() -> None:
    samples = stored_clip()(FRESH)
    found = of_learner(recomputed(Pass(), 2.0))(
        [Minibatch((samples[3], samples[1]), 4, 2), Minibatch((samples[0], samples[2]), 4, 2)], 1
    )
    again = in_order(samples, found)
    assert FRESH == [one.draw for one in again]
    assert [True, False, True, False] == [one.recomputed for one in again]


def test_a_step_without_samples_has_no_minibatch() -> None:
    assert [] == of_sampler([], 1)
    assert [] == of_learner(recomputed(Pass(), 2.0))([], 1)
