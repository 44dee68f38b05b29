"""That each key of the objective chooses the function it names."""

from typing import Any

import pytest
import torch

from vergence.advantage.judging import Effectiveness
from vergence.advantage.scaling import batch_scaled, group_centred, group_normalised
from vergence.loss.policy_gradient import SurrogateFunction, by_origin, cispo, clipped, shaped
from vergence.loss.sequence_ratio import gspo
from vergence.monitor.dials import Dials, Settings
from vergence.recipe.grpo import GrpoStage
from vergence.stages.grpo.penalty import needs_reference, schedule_for
from vergence.stages.grpo.variants import advantage_for, judge_for, reduction_for, surrogate_for
from vergence.types import Finish

from ..builders import completion, scored, surrogate_input


def section(**keys: Any) -> GrpoStage:
    return GrpoStage.model_validate({"type": "grpo"} | keys)


RATIOS = torch.tensor([[3.0, 0.3], [1.3, 3.0], [0.3, 1.1]]).log()
GIVEN = surrogate_input(
    RATIOS, torch.zeros(3, 2), torch.tensor([1.0, -1.0, -1.0]), replayed=torch.tensor([0, 1, 0]) > 0
)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, clipped(0.2, 0.2)),
        ({"clip_low": 0.1, "clip_high": 0.28}, clipped(0.1, 0.28)),
        ({"dual_clip": 2.0}, clipped(0.2, 0.2, 2.0)),
        ({"surrogate": "cispo", "clip_low": 1.0, "clip_high": 1.5}, cispo(1.0, 1.5)),
        ({"surrogate": "gspo"}, gspo(3e-4, 4e-4)),
        ({"surrogate": "gspo", "clip_high": 0.01}, gspo(3e-4, 0.01)),
        ({"buffer": {"correction": "shaped", "shaping": 0.3}}, by_origin(clipped(0.2, 0.2), shaped(0.3))),
    ],
)
def test_surrogates(keys: dict[str, Any], expected: SurrogateFunction) -> None:
    ours, theirs = surrogate_for(section(**keys))(GIVEN), expected(GIVEN)
    assert torch.equal(theirs.loss, ours.loss)
    assert torch.equal(theirs.clipped, ours.clipped)
    if keys:
        assert not torch.equal(clipped(0.2, 0.2)(GIVEN).loss, ours.loss)


def test_advantages() -> None:
    groups = [scored([1.0, 0.0]), scored([0.5, 0.0, 0.0])]
    for name, expected in (("normalised", group_normalised), ("centred", group_centred), ("batch", batch_scaled)):
        ours = advantage_for(section(advantage=name), Dials())(groups)
        assert [one.tolist() for one in expected(groups)] == [one.tolist() for one in ours]


def test_decoupled_components_have_the_weights_of_the_reward_and_follow_the_controller() -> None:
    dials = Dials()
    keys = {"advantage": "decoupled", "reward": {"accuracy": 2.0, "format": 0.0, "preference": 1.0}}
    advantage = advantage_for(section(**keys), dials)
    terms = {"accuracy": [1.0, 1.0, 0.0, 0.0], "format": [1.0, 0.0, 0.0, 0.0], "preference": [0.1, 0.0, 0.1, 0.0]}
    group = scored([1.0, 1.0, 0.0, 0.0], [1.1, 1.0, 0.1, 0.0], terms=terms)
    (both,) = advantage([group])
    # accuracy +-1 with weight 2, preference +-1 with weight 1: 3, 1, -1, -3; format counts nothing
    assert pytest.approx([3.0, 1.0, -1.0, -3.0], rel=1e-2) == (both * 3 / both[0]).tolist()
    dials.settings = Settings(preference=0.0)
    (accuracy,) = advantage([group])
    assert pytest.approx([1.0, 1.0, -1.0, -1.0], rel=1e-2) == accuracy.tolist()


@pytest.mark.parametrize(("masked", "expected"), [(False, [0.5, -0.5]), (True, [0.5, 0.0])])
def test_truncated_completions_teach_unless_they_are_masked(masked: bool, expected: list[float]) -> None:
    group = scored([1.0, 0.0], texts=[completion("a"), completion("b", finish=Finish.LENGTH)])
    (result,) = judge_for(section(mask_truncated=masked), group_centred, Effectiveness())([group])
    assert expected == result.advantages.tolist()


def test_reductions() -> None:
    terms, mask = torch.tensor([[1.0, 2.0], [6.0, 0.0]]), torch.tensor([[True, True], [True, False]])
    expected = {"token_mean": 9 / 3, "sequence_mean": (1.5 + 6) / 2, "constant": 9 / (2 * 10)}
    for name, value in expected.items():
        reduce = reduction_for(section(reduction=name, sampling={"max_new_tokens": 10}))
        assert pytest.approx(value) == reduce(terms, mask, 3, 2).item()


def test_the_kl_penalty_and_its_schedule() -> None:
    assert not needs_reference(section())
    assert needs_reference(section(kl_weight=0.01))
    assert [0.01, 0.01] == [schedule_for(section(kl_weight=0.01))(step) for step in (0, 50)]
    keys = {"kl_weight": 0.1, "kl_min": 0.04, "kl_schedule": "grpo_d", "kl_turn": 0.5, "steps": 5}
    assert pytest.approx([0.07, 0.055, 0.04, 0.07, 0.1]) == [schedule_for(section(**keys))(step) for step in range(5)]
