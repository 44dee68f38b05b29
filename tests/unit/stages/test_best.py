"""Which policy a stage ends with: the best measured one, exactly, also after an interruption."""

import math

import pytest
import torch
from torch import nn

from vergence.errors import RunError
from vergence.stages.mpo.best import BestPolicy, Ending, LastPolicy
from vergence.update.learner import Learner, LossPart, ParameterGroup
from vergence.update.schedule import constant

from ..builders import through_a_file

METRIC = "tuning/sampled_accuracy"


def learner() -> tuple[Learner, nn.Parameter]:
    parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
    group = ParameterGroup("w", {"w": parameter}, 0.1, 0.0)
    return Learner([group], betas=(0.9, 0.99), clip_norm=1e9, schedule=constant()), parameter


def step(one: Learner, parameter: nn.Parameter) -> list[float]:
    """One update; the weights after it."""
    one.update([lambda: LossPart((parameter**2).sum(), {})])
    return parameter.tolist()


def measured(value: float, metric: str = METRIC) -> dict[str, float]:
    return {"tuning/greedy_accuracy": 0.5, metric: value}


def run(ending: Ending, scores: list[float | None], metric: str = METRIC):
    """Steps with measurements (None: not due) until the stage is ended; weights after each step, and what is logged."""
    one, parameter = learner()
    weights, logged = [], []
    for number, score in enumerate(scores):
        weights.append(step(one, parameter))
        logged.append(ending.look(number, {} if score is None else measured(score, metric), one))
        if ending.ended:
            break
    return one, parameter, weights, logged


def best(patience: int, *, smallest: bool = False, metric: str = METRIC) -> BestPolicy:
    return BestPolicy(metric, smallest=smallest, patience=patience)


def test_the_stage_ends_after_so_many_measurements_without_a_new_best() -> None:
    """Best at step 2; steps 3 and 5 are no better, so 5 is the last. What is not due does not count."""
    *_, weights, logged = run(best(2), [0.1, None, 0.4, 0.3, None, 0.2, 0.9])
    assert 6 == len(weights)
    steps = [row.get("mpo/best_step") for row in logged]
    assert [0.0, None, 2.0, 2.0, None, 2.0] == steps


def test_the_best_weights_are_put_back_exactly() -> None:
    ending = best(2)
    one, parameter, weights, _ = run(ending, [0.1, 0.4, 0.3, 0.2])
    assert weights[1] != parameter.tolist()
    assert 1 == ending.settle(one)
    assert weights[1] == parameter.tolist()


def test_of_equal_measurements_the_first_is_the_best() -> None:
    ending = best(5)
    one, parameter, weights, _ = run(ending, [0.4, 0.4, 0.4])
    assert 0 == ending.settle(one)
    assert weights[0] == parameter.tolist()


def test_of_a_rate_of_hallucination_the_smallest_is_the_best() -> None:
    metric = "tuning/hallucination_rate"
    ending = best(9, smallest=True, metric=metric)
    one, parameter, weights, _ = run(ending, [0.4, 0.1, 0.3], metric)
    assert 1 == ending.settle(one)
    assert weights[1] == parameter.tolist()


def test_a_resumed_stage_remembers_the_best_and_its_patience() -> None:
    ending, restored = best(2), best(2)
    one, parameter, weights, _ = run(ending, [0.4, 0.3])
    restored.load_state_dict(through_a_file(ending.state_dict()))
    step(one, parameter)
    assert not restored.ended
    restored.look(2, measured(0.2), one)
    assert restored.ended
    assert 0 == restored.settle(one)
    assert weights[0] == parameter.tolist()


def test_a_checkpoint_before_any_measurement_can_be_restored() -> None:
    ending, restored = best(2), best(2)
    restored.load_state_dict(through_a_file(ending.state_dict()))
    one, *_ = run(restored, [None, 0.4])
    assert 1 == restored.settle(one)


def test_without_any_measurement_the_last_policy_stays() -> None:
    ending = best(2)
    one, parameter, weights, _ = run(ending, [None, None])
    assert math.inf == ending.settle(one)
    assert weights[-1] == parameter.tolist()


def test_a_metric_that_is_not_measured_is_an_error() -> None:
    with pytest.raises(RunError, match="hallucination_rate was not measured"):
        run(best(1, smallest=True, metric="tuning/hallucination_rate"), [0.5], METRIC)


def test_the_last_policy_is_never_ended_and_never_changed() -> None:
    ending = LastPolicy()
    one, parameter, weights, logged = run(ending, [0.9, 0.1, 0.0, 0.0])
    assert [{}] * 4 == logged
    assert math.inf == ending.settle(one)
    assert weights[-1] == parameter.tolist()
    assert all(isinstance(kind, Ending) for kind in (ending, best(1)))
