"""The reference of a round's pairs: what sampling recorded where that is it, and one pass for the rest."""

import numpy as np
import pytest
import torch

from vergence.recipe.mpo import MpoStage
from vergence.stages.mpo.pairing import known_for
from vergence.stages.mpo.reference import of_nothing, of_sampling, with_reference
from vergence.types import Completion, Floats, PreferencePair, Prompt

from ..builders import completion, group


class Asked:
    """Gives each response the number of its tokens, negative, as log-probs; remembers what it was asked."""

    def __init__(self) -> None:
        self.members: list[Completion] = []

    def __call__(self, members: list[tuple[Prompt, Completion]]) -> list[Floats]:
        self.members += [one for _, one in members]
        return [np.full(len(one.token_ids), -len(one.token_ids), np.float32) for _, one in members]


def test_known_log_probs_are_taken_and_every_other_response_is_computed_once() -> None:
    """One good response in two pairs, against a sampled one and against one that nobody sampled."""
    sampled = group([completion("good", logprobs=[-0.5, -1.5]), completion("bad", logprobs=[-0.25])])
    good, bad = sampled.completions
    made = completion("blind", logprobs=[0.0] * 3)
    pairs = [
        PreferencePair(sampled.prompt, good, bad, 1.0, "correctness"),
        PreferencePair(sampled.prompt, good, made, 1.0, "dropout"),
    ]
    asked = Asked()
    first, second = with_reference(pairs, of_sampling([sampled]), asked).pairs
    assert [made] == asked.members
    assert ([-0.5, -1.5], [-0.25]) == (first.chosen_reference.tolist(), first.rejected_reference.tolist())
    assert ([-0.5, -1.5], [-3.0] * 3) == (second.chosen_reference.tolist(), second.rejected_reference.tolist())
    assert [pairs[0], pairs[1]] == [first.pair, second.pair]

    asked = Asked()
    result = with_reference(pairs, of_nothing([sampled]), asked)
    assert [good, bad, made] == asked.members == [one for _, one in result.computed]
    assert [-2.0, -2.0] == result.pairs[0].chosen_reference.tolist() == result.pairs[1].chosen_reference.tolist()
    assert [-0.5, -1.5] == good.sampler_logprobs.tolist(), "sampling's own stay what they are"


@pytest.mark.parametrize(
    ("temperature", "dtype", "expected"),
    [
        (1.0, torch.float32, of_sampling),
        (0.7, torch.float32, of_nothing),
        (1.3, torch.float32, of_nothing),
        (1.0, torch.bfloat16, of_nothing),
    ],
)
def test_sampling_speaks_for_the_reference_only_where_it_computed_the_same(temperature, dtype, expected) -> None:
    section = MpoStage(type="mpo", sampling={"temperature": temperature})
    assert expected is known_for(section, dtype)
