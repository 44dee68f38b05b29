"""The slow copy: a moving average of what is trained, over weights that are otherwise the policy's own."""

from pathlib import Path

import torch
from families import tiny_policy

from vergence.model.weights_copy import WeightsCopy
from vergence.monitor.slow import SlowCopy

from ..builders import through_a_file


def test_it_is_the_moving_average_that_it_says(tmp_path: Path) -> None:
    """Every second step a tenth of the way, by hand; restored, it goes on alike."""
    policy = tiny_policy("llava", tmp_path)
    weight, name = policy.model.lm_head.weight, "lm_head.weight"
    begun, copy = weight.detach().clone(), WeightsCopy(policy, [name])
    slow, again = SlowCopy(copy, decay=0.9, every=2), SlowCopy(WeightsCopy(policy, [name]), decay=0.9, every=2)
    expected = begun.clone()
    for step in range(4):
        with torch.no_grad():
            weight.add_(1.0)
        slow.follow(step)
        if step in (1, 3):
            expected = 0.9 * expected + 0.1 * weight.detach()
    assert torch.allclose(expected, copy.values[name], atol=1e-6)
    now = weight.detach().clone()
    with copy.in_place():
        assert torch.allclose(expected, policy.model.lm_head.weight, atol=1e-6)
    assert torch.equal(now, weight)

    again.load_state_dict(through_a_file(slow.state_dict()))
    slow.follow(5)
    again.follow(5)
    assert torch.equal(slow.state_dict()[name], again.state_dict()[name])
