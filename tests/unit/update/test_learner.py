"""The learner: one AdamW step from any number of parts, checked against AdamW written out in plain numbers."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vergence.errors import DirectoryError, NonFiniteError
from vergence.update.learner import Learner, LossPart, ParameterGroup
from vergence.update.schedule import Schedule, constant, span_of

from ..builders import through_a_file


def weights(*values: float) -> nn.Parameter:
    """A matrix of one row: what is one-dimensional is not decayed."""
    return nn.Parameter(torch.tensor([values], dtype=torch.float64))


def learner_of(
    *groups: ParameterGroup,
    clip_norm: float = 1e9,
    schedule: Schedule = constant(),  # noqa: B008
) -> Learner:
    return Learner(groups, betas=(0.9, 0.99), clip_norm=clip_norm, schedule=schedule)


def group_of(parameter: nn.Parameter, *, rate: float = 0.1, decay: float = 0.0, name: str = "w") -> ParameterGroup:
    return ParameterGroup(name, {name: parameter}, rate, decay)


def dot(parameter: nn.Parameter, *slopes: float, **metrics: float) -> Callable[[], LossPart]:
    """A part whose loss is slopes . parameter, so that its gradient is the slopes."""

    def part() -> LossPart:
        loss = (parameter * torch.tensor(slopes, dtype=torch.float64)).sum()
        return LossPart(loss, {name: torch.tensor(value) for name, value in metrics.items()})

    return part


def adamw(
    start: Sequence[float], gradients: Sequence[Sequence[float]], *, rate: float, decay: float, clip_norm: float
) -> list[float]:
    """Loshchilov and Hutter's AdamW with betas 0.9 and 0.99, one number at a time, after clipping by the whole norm."""
    values, first, second = list(start), [0.0] * len(start), [0.0] * len(start)
    for step, gradient in enumerate(gradients, start=1):
        norm = math.sqrt(sum(g * g for g in gradient))
        scale = min(1.0, clip_norm / norm)
        for k, raw in enumerate(gradient):
            g = raw * scale
            first[k] = 0.9 * first[k] + 0.1 * g
            second[k] = 0.99 * second[k] + 0.01 * g * g
            unbiased_first, unbiased_second = first[k] / (1 - 0.9**step), second[k] / (1 - 0.99**step)
            values[k] -= rate * decay * values[k]
            values[k] -= rate * unbiased_first / (math.sqrt(unbiased_second) + 1e-8)
    return values


GRADIENTS = [[3.0, -4.0], [0.3, 0.1], [-12.0, 5.0]]


@pytest.mark.parametrize(("decay", "clip_norm"), [(0.0, 1e9), (0.5, 1e9), (0.0, 1.0), (0.5, 1.0)])
def test_three_updates_are_adamw_with_decay_and_clipping(decay: float, clip_norm: float) -> None:
    w = weights(1.0, -2.0)
    learner = learner_of(group_of(w, decay=decay), clip_norm=clip_norm)
    for gradient in GRADIENTS:
        learner.update([dot(w, *gradient)])
    expected = adamw([1.0, -2.0], GRADIENTS, rate=0.1, decay=decay, clip_norm=clip_norm)
    assert pytest.approx(expected, rel=1e-5) == w[0].tolist()
    assert 3 == learner.updates


def test_two_parts_equal_one() -> None:
    """Gradients, loss and metrics of parts add up."""
    one, two = weights(1.0, -2.0), weights(1.0, -2.0)
    whole = learner_of(group_of(one)).update([dot(one, 3.0, -4.0, hits=5.0)])
    parts = learner_of(group_of(two)).update([dot(two, 1.0, -5.0, hits=2.0), dot(two, 2.0, 1.0, hits=3.0)])
    assert one.tolist() == two.tolist()
    assert pytest.approx(whole) == parts
    assert pytest.approx(11.0) == parts["loss"]  # 3 * 1 - 4 * -2
    assert 5.0 == parts["hits"]


def test_parts_are_evaluated_one_by_one_with_each_graph_gone_before_the_next() -> None:
    w, order = weights(1.0), []

    def part(name: str) -> Callable[[], LossPart]:
        def evaluate() -> LossPart:
            order.append((name, w.grad is not None))  # whether an earlier part has been walked backwards
            return LossPart(w.sum(), {})

        return evaluate

    learner_of(group_of(w)).update([part("first"), part("second")])
    assert [("first", False), ("second", True)] == order


def test_gradients_do_not_pile_up_over_updates() -> None:
    w = weights(0.0)
    learner = learner_of(group_of(w))
    assert [7.0, 7.0] == [learner.update([dot(w, 7.0)])["gradient_norm"] for _ in range(2)]


def test_the_norm_is_that_of_all_groups_together_before_clipping() -> None:
    """3 and 4 in two groups: 5, and clipped to 1 they are 0.6 and 0.8."""
    a, b = weights(0.0), weights(0.0)
    learner = learner_of(group_of(a, name="a"), group_of(b, name="b"), clip_norm=1.0)
    metrics = learner.update([dot(a, 3.0), dot(b, 4.0)])
    assert pytest.approx(5.0) == metrics["gradient_norm"]
    assert a.grad is not None
    assert b.grad is not None
    assert pytest.approx([0.6, 0.8], rel=1e-5) == [a.grad.item(), b.grad.item()]


def test_a_gradient_below_the_limit_is_left_alone() -> None:
    w = weights(0.0)
    learner_of(group_of(w), clip_norm=10.0).update([dot(w, 3.0)])
    assert w.grad is not None
    assert 3.0 == w.grad.item()


def test_every_group_has_its_own_rate_times_the_schedules_factor() -> None:
    """AdamW's first step is rate * sign(gradient); the second update has a quarter of the rate."""
    a, b = weights(0.0), weights(0.0)
    learner = learner_of(
        group_of(a, rate=0.1, name="a"), group_of(b, rate=0.001, name="b"), schedule=lambda span: 0.5 * (1 - span.begin)
    )
    metrics = [learner.update([dot(a, 3.0), dot(b, -4.0)], span_of(step, 2)) for step in range(2)]
    assert [0.5, 0.25] == [one["learning_rate_factor"] for one in metrics]
    # a constant gradient keeps every step at rate * factor * sign
    assert pytest.approx([-0.1 * 0.75, 0.001 * 0.75], rel=1e-6) == [a.item(), b.item()]


def test_every_group_has_its_own_weight_decay() -> None:
    """Without a gradient there is only the decay: 2 (1 - 0.1 * 0.5) and 2."""
    a, b = weights(2.0), weights(2.0)
    learner = learner_of(group_of(a, decay=0.5, name="a"), group_of(b, decay=0.0, name="b"))
    learner.update([dot(a, 0.0), dot(b, 0.0)])
    assert pytest.approx([1.9, 2.0]) == [a.item(), b.item()]


def test_norms_and_biases_are_not_decayed() -> None:
    """A matrix, a bias and a norm's weight in one group, without a gradient: 2 (1 - 0.1 * 0.5), 2 and 2."""
    layer = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    for one in layer.parameters():
        nn.init.constant_(one, 2.0)
    learner = learner_of(ParameterGroup("layer", dict(layer.named_parameters()), 0.1, 0.5))
    learner.update([lambda: LossPart(sum(one.sum() for one in layer.parameters()) * 0.0, {})])
    found = {name: one.flatten().tolist() for name, one in layer.named_parameters()}
    assert pytest.approx([1.9] * 6) == found.pop("0.weight")
    assert {"0.bias": [2.0] * 3, "1.weight": [2.0] * 3, "1.bias": [2.0] * 3} == found


class _Poison(torch.autograd.Function):
    """Forwards the value; its gradient is not a number."""

    @staticmethod
    def forward(ctx, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient * math.nan


@pytest.mark.parametrize(
    "spoil",
    [lambda loss: loss * math.nan, lambda loss: loss * 1e308 * 1e308, lambda loss: loss + math.inf, _Poison.apply],
    ids=["loss not a number", "loss and gradient infinite", "loss infinite", "gradient not a number"],
)
def test_a_loss_or_gradient_that_is_not_finite_changes_nothing(spoil: Callable[[Tensor], Tensor]) -> None:
    """Weights, moments and counter: the next good update is that of a learner that never saw the bad one."""
    spoiled, clean = weights(1.0, -2.0), weights(1.0, -2.0)
    unlucky, lucky = learner_of(group_of(spoiled)), learner_of(group_of(clean))
    for learner, w in ((unlucky, spoiled), (lucky, clean)):
        learner.update([dot(w, 3.0, -4.0)])
    before = spoiled.tolist()

    with pytest.raises(NonFiniteError, match="update 1: loss"):
        unlucky.update([dot(spoiled, 1.0, 1.0), lambda: LossPart(spoil(spoiled.sum()), {})])
    assert before == spoiled.tolist()
    assert 1 == unlucky.updates

    for learner, w in ((unlucky, spoiled), (lucky, clean)):
        learner.update([dot(w, 0.5, 0.25)])
    assert clean.tolist() == spoiled.tolist()


def test_a_restored_learner_goes_on_bit_for_bit() -> None:
    """Through a file, into a learner whose weights are others; the schedule goes on where it was."""

    def make(start: float) -> tuple[nn.Parameter, nn.Parameter, Learner]:
        a, b = weights(start, -start), weights(0.3 * start)
        groups = group_of(a, rate=0.03, decay=0.1, name="a"), group_of(b, rate=0.2, name="b")
        return a, b, learner_of(*groups, clip_norm=2.0, schedule=lambda span: 1 / (1 + 9 * span.begin))

    def steps(a: nn.Parameter, b: nn.Parameter, learner: Learner, numbers: range) -> list[float]:
        parts = {k: [dot(a, 0.1 * k, -k), dot(b, 1 / (k + 1))] for k in numbers}
        return [learner.update(some, span_of(k, 9))["loss"] for k, some in parts.items()]

    a, b, saved = make(1.0)
    steps(a, b, saved, range(4))
    state = through_a_file(saved.state_dict())
    other_a, other_b, restored = make(77.0)
    restored.load_state_dict(state)
    assert 4 == restored.updates
    assert steps(a, b, saved, range(4, 9)) == steps(other_a, other_b, restored, range(4, 9))
    assert (a.tolist(), b.tolist()) == (other_a.tolist(), other_b.tolist())


def older_state(decay: float) -> tuple[nn.Module, dict[str, Any]]:
    """A matrix and a bias after two steps of torch's own AdamW, in the form of versions that had one group a role."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Linear(2, 2, dtype=torch.float64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, betas=(0.9, 0.99), weight_decay=decay, fused=True)
    for slope in (3.0, -1.0):
        optimizer.zero_grad()
        (slope * model.weight.sum() + model.bias.sum()).backward()
        optimizer.step()
    held = {name: one.detach().clone() for name, one in model.named_parameters()}
    return model, {"weights": held, "optimizer": optimizer.state_dict(), "updates": 2}


def test_a_checkpoint_of_an_older_version_goes_on_where_nothing_was_decayed() -> None:
    """With its moments: the next step is the one that torch's optimizer takes."""
    model, state = older_state(0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, betas=(0.9, 0.99), weight_decay=0.0)
    optimizer.load_state_dict(state["optimizer"])
    ours = nn.Linear(2, 2, dtype=torch.float64)
    learner = learner_of(ParameterGroup("language", dict(ours.named_parameters()), 0.1, 0.0))
    learner.load_state_dict(through_a_file(state))
    assert 2 == learner.updates
    optimizer.zero_grad()
    (2.0 * model.weight.sum()).backward()
    model.bias.grad = torch.zeros_like(model.bias)
    optimizer.step()
    learner.update([lambda: LossPart(2.0 * ours.weight.sum() + 0.0 * ours.bias.sum(), {})])
    assert torch.allclose(model.weight, ours.weight, atol=1e-12)
    assert torch.allclose(model.bias, ours.bias, atol=1e-12)


def test_a_checkpoint_with_other_groups_is_refused_in_one_line_and_changes_nothing() -> None:
    _, state = older_state(0.5)
    ours = nn.Linear(2, 2, dtype=torch.float64)
    before = ours.weight.tolist()
    learner = learner_of(ParameterGroup("language", dict(ours.named_parameters()), 0.1, 0.5))
    with pytest.raises(
        DirectoryError, match=r"1 parameters differ, bias has weight decay 0\.5 in it and has weight deca"
    ):
        learner.load_state_dict(state)
    fewer = learner_of(ParameterGroup("language", {"weight": ours.weight}, 0.1, 0.5))
    with pytest.raises(
        DirectoryError, match=r"bias has weight decay 0\.5 in it and is not trained now; finish the run"
    ):
        fewer.load_state_dict(state)
    assert before == ours.weight.tolist()
