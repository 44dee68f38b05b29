"""The adaptive weight as a thing that lasts: over updates and parts, and through a checkpoint."""

import pytest
import torch

from vergence.recipe.objective import EntropySection
from vergence.stages.grpo.entropy import AdaptiveEntropy, EntropyWeight, FixedEntropy, entropy_for

from ..builders import through_a_file

UPDATES = [[0.1, 0.2], [0.1], [0.3, 0.2, 0.4], [0.19], [0.1]]
"""Entropies of the tokens, update by update. Target 0.2, step 0.5: 0.15 and 0.1 are below, 0.3 above."""
EXPECTED = [0.0, 0.5, 1.0, 0.0, 1.0]
"""Applied: nothing known; 0.5 after 0.15; 1.0 after 0.1; 0.3 lowers it to 0.5 and switches it off; 0.19: 1.0."""


def adaptive() -> AdaptiveEntropy:
    return AdaptiveEntropy(target=0.2, step=0.5, largest=1.0)


def run(weight: EntropyWeight, update: list[float]) -> float:
    """One update in parts of one token."""
    applied = weight.begin()
    for value in update:
        weight.note(torch.tensor([value], requires_grad=True))
    return applied


def test_by_hand() -> None:
    weight = adaptive()
    assert pytest.approx(EXPECTED) == [run(weight, update) for update in UPDATES]


def test_parts_of_an_update_count_by_their_tokens() -> None:
    """0.1 and twice 0.29: mean 0.227, above the target; the mean of the two parts' means would be below."""
    weight = adaptive()
    weight.begin()
    weight.note(torch.tensor([0.1]))
    weight.note(torch.tensor([0.29, 0.29]))
    assert 0.0 == weight.begin()
    assert 0.0 == weight.state_dict()["weight"]


def test_an_update_without_tokens_changes_nothing() -> None:
    weight = adaptive()
    run(weight, [0.1])
    assert 0.5 == weight.begin()
    assert 0.5 == weight.begin()


@pytest.mark.parametrize("cut", range(1, len(UPDATES)))
def test_a_checkpoint_continues_as_if_nothing_had_been(cut: int) -> None:
    before, after = adaptive(), adaptive()
    first = [run(before, update) for update in UPDATES[:cut]]
    after.load_state_dict(through_a_file(before.state_dict()))
    assert EXPECTED == pytest.approx(first + [run(after, update) for update in UPDATES[cut:]])


def test_the_recipe_decides() -> None:
    assert 0.0 == entropy_for(EntropySection()).begin()
    assert 0.02 == entropy_for(EntropySection(bonus="fixed", weight=0.02)).begin()
    weight = entropy_for(EntropySection(bonus="adaptive", target=0.2, step=0.5, largest=1.0))
    assert pytest.approx(EXPECTED) == [run(weight, update) for update in UPDATES]
    assert {} == FixedEntropy(0.1).state_dict()
