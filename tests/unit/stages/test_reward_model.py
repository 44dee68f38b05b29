"""The loop of stage reward_model: its batches, its two phases, its loss and its gradient."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from families import picture_problems, tiny_policy

from vergence.model.reward_head import RAW, RewardModel, fresh_head
from vergence.model.vision import CachedTower
from vergence.pairs.comparisons import Comparison, with_images_of
from vergence.recipe.reward_model import RewardModelStage
from vergence.scoring.wording import wording_of
from vergence.stages.reward_model.build import has_text, phases_of
from vergence.stages.reward_model.loop import Phase, loss_parts, phased
from vergence.types import Problem
from vergence.update.schedule import span_of


@pytest.fixture(scope="module")
def learning(tmp_path_factory):
    """A tiny reward model whose language and head have gradients, and comparisons within and across prompts."""
    folder = tmp_path_factory.mktemp("learning")
    policy = tiny_policy("llava", folder / "policies")
    policy.family.language(policy.model).requires_grad_(True)
    model = RewardModel(policy, fresh_head(policy, 0), CachedTower(policy), RAW)
    wording = wording_of(policy)
    shown = [one for one in picture_problems(folder / "pictures", 4) if len(one.images) == 1]
    text = Problem("blind", "why?", (), "", "any", frozenset(), "")
    made = []
    for index, one in enumerate([*shown, text]):
        prompt = wording.prompt(one)
        yes, no = wording.completion("yes" * (index + 1)), wording.completion("no")
        made.append(Comparison((prompt, yes), (prompt, no), "rule" if one.images else "text"))
        if one.images:
            swapped = wording.prompt(with_images_of(one, shown[(index + 1) % len(shown)]))
            made.append(Comparison((prompt, yes), (swapped, yes), "wrong_image"))
    return model, made


def evaluated(model: RewardModel, batch) -> tuple[float, torch.Tensor, int]:
    """Loss, gradient of one language weight, and the number of parts."""
    parts = [part() for part in loss_parts(model, batch)]
    loss = torch.stack([part.loss for part in parts]).sum()
    weight = model.backbone.family.language(model.backbone.model).layers[0].mlp.up_proj.weight
    (gradient,) = torch.autograd.grad(loss, weight)
    return loss.item(), gradient, len(parts)


def test_the_loss_is_bradley_terry_over_single_scores(learning) -> None:
    model, batch = learning
    better, worse = (model.raw([getattr(one, side) for one in batch]) for side in ("better", "worse"))
    expected = np.mean([math.log1p(math.exp(-(good - bad))) for good, bad in zip(better, worse, strict=True)])
    loss, _, parts = evaluated(model, batch)
    assert expected == pytest.approx(loss, abs=1e-6)
    assert parts == 1


def test_splitting_a_batch_changes_neither_loss_nor_gradient(learning) -> None:
    model, batch = learning
    whole, gradient, _ = evaluated(model, batch)
    split = replace(model, microbatch_tokens=40)
    loss, same, parts = evaluated(split, batch)
    assert parts >= 3
    assert whole == pytest.approx(loss, abs=1e-6)
    torch.testing.assert_close(gradient, same, atol=1e-7, rtol=1e-4)


def test_accuracy_is_the_share_in_the_right_order(learning) -> None:
    model, batch = learning
    better, worse = (model.raw([getattr(one, side) for one in batch]) for side in ("better", "worse"))
    (part,) = [part() for part in loss_parts(model, batch)]
    assert float(np.mean(better > worse)) == pytest.approx(float(part.metrics["accuracy"]))


def stage(**keys) -> RewardModelStage:
    return RewardModelStage(type="reward_model", **keys)


def test_text_enters_in_the_second_phase_alone_and_only_if_there_is_any(learning) -> None:
    _, batch = learning
    shown, text = [one for one in batch if one.source != "text"], [one for one in batch if one.source == "text"]
    second = {"steps": 7, "text_share": 0.25}
    first, last = phases_of(stage(steps=5, second=second), batch)
    assert (5, shown, []) == (first.steps, list(first.first), list(first.second))
    assert (7, shown, text, 0.25) == (last.steps, list(last.first), list(last.second), last.second_share)
    assert 1 == len(phases_of(stage(steps=5, second=second), shown))
    assert 1 == len(phases_of(stage(steps=5), batch))
    (only,) = phases_of(stage(steps=5, second=second), text)
    assert text == list(only.first), "text alone is learnt in the first phase"
    assert has_text(batch)
    assert not has_text(shown)


def test_a_batch_has_its_size_and_about_the_share_of_text_that_was_asked_for(learning) -> None:
    _, batch = learning
    shown, text = [one for one in batch if one.source != "text"], [one for one in batch if one.source == "text"]
    drawn = Phase(1, shown, text, 0.25).batch(2000, np.random.default_rng(0))
    count = sum(one.source == "text" for one in drawn)
    assert 2000 == len(drawn)
    assert abs(count - 500) < 4 * (2000 * 0.25 * 0.75) ** 0.5
    assert {id(one) for one in shown} <= {id(one) for one in drawn}
    assert all(one.source != "text" for one in Phase(1, shown, (), 0.25).batch(99, np.random.default_rng(0)))


def test_the_second_phase_begins_a_schedule_of_its_own_at_a_lower_rate() -> None:
    schedule = phased(lambda span: 1.0 - span.begin, [Phase(4, (), (), 0.0), Phase(2, (), (), 0.0)], 0.1)
    expected = [1.0, 0.75, 0.5, 0.25, 0.1, 0.05]
    assert pytest.approx(expected) == [schedule(span_of(step, 6)) for step in range(6)]
    alone = phased(lambda span: 1.0 - span.begin, [Phase(4, (), (), 0.0)], 0.1)  # where there is no text
    assert pytest.approx(expected[:4]) == [alone(span_of(step, 4)) for step in range(4)]
