"""KL in the reward: by hand, and its expected gradient on a policy so small that every group can be enumerated.

The real judge, selection, correction, penalty and surrogate are used. What should come out is the gradient of
E[r] - beta KL[pi || pi_ref] over whole answers, which is computed without any of them.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from vergence.advantage.judging import judge
from vergence.advantage.scaling import group_centred
from vergence.buffer.fresh import PlainGrpo
from vergence.correction import stored_clip
from vergence.loss.kl import KlSchedule
from vergence.loss.policy_gradient import SurrogateInput, clipped
from vergence.loss.reduce import token_mean
from vergence.stages.grpo.penalty import KlInReward
from vergence.types import Origin, Prompt, RolloutGroup, ScoredGroup, TrainingSample

from ..builders import completion, doubles, draw, prompt, sample

Answer = tuple[int, ...]


def in_reward(rows: Mapping[str, Sequence[float]], weight: KlSchedule) -> KlInReward:
    """The penalty against a reference under which the completion with a text has these log-probs."""
    return KlInReward(
        lambda samples: [np.array(rows[one.draw.sample.completion.text], np.float32) for one in samples], weight
    )


def test_by_hand() -> None:
    """Weight 0.1 over two groups. What is taken off: the first group's completions 0.1 * (0.5 + 0.25) = 0.075,
    0.1 * (-0.5) = -0.05 and 0.1 * 0.5 = 0.05, mean 0.025; the dead group's 0.1 * 1 = 0.1 and 0.1 * 2 = 0.2, mean 0.15.
    """
    rows = {"a": [-1.0, -1.25], "b": [-0.5], "c": [-1.5], "d": [-2.0], "e": [-3.0], "old": [-7.0]}
    one, two = prompt("one"), prompt("two")

    def fresh(of: Prompt, text: str, advantage: float, *logprobs: float, effective: bool = True) -> TrainingSample:
        given = draw(sample(advantage, of=of, text=text, logprobs=logprobs), effective=effective)
        return stored_clip()([given])[0]

    past = stored_clip()([draw(sample(0.7, of=one, text="old", logprobs=[-1.0]), Origin.REPLAY, age=3)])[0]
    samples = [
        fresh(one, "a", 0.5, -0.5, -1.0),
        fresh(one, "b", -0.5, -1.0),
        past,
        fresh(one, "c", 0.0, -1.0, effective=False),
        fresh(two, "d", 0.0, -1.0, effective=False),
        fresh(two, "e", 0.0, -1.0, effective=False),
    ]
    penalty = in_reward(rows, lambda step: 0.1 if step else 0.0)
    assert [one.draw.sample.advantage for one in samples] == [
        one.draw.sample.advantage for one in penalty.prepare(samples, 0)
    ]
    assert {"reward/kl_penalty": 0.0} == penalty.metrics()

    found = penalty.prepare(samples, 1)
    expected = [0.5 - 0.05, -0.5 + 0.075, 0.7, -0.025, 0.05, -0.05]
    assert pytest.approx(expected, abs=1e-7) == [one.draw.sample.advantage for one in found]
    assert [one.draw.effective for one in samples] == [one.draw.effective for one in found]
    assert pytest.approx({"reward/kl_penalty": (0.075 - 0.05 + 0.05 + 0.1 + 0.2) / 5}) == penalty.metrics()
    assert 0.0 == float(penalty(found[:1], torch.zeros(1, 2))), "the loss has no such term"


ANSWERS: list[Answer] = list(product(range(3), repeat=2))
"""Two tokens out of three; logits [1 + 3, 3]: of the first token, and of the second after each."""
LOGITS = torch.tensor([[0.4, -0.3, 0.1], [0.2, -0.4, 0.9], [-0.7, 0.3, 0.0], [0.5, 0.1, -0.6]], dtype=torch.float64)
REFERENCE = torch.tensor([[-0.9, 0.6, -0.4], [0.9, -0.2, 0.1], [0.1, 0.2, -0.5], [-0.3, 0.7, 0.2]], dtype=torch.float64)
BETA = 0.3


def logprobs(logits: Tensor, answer: Answer) -> Tensor:
    """[2] of the answer's tokens."""
    return torch.stack([logits[0].log_softmax(0)[answer[0]], logits[1 + answer[0]].log_softmax(0)[answer[1]]])


def reward(answer: Answer) -> float:
    """Right or wrong, so that most groups of two are dead: in them nothing but the penalty pulls."""
    return float(answer in ((0, 2), (2, 0), (2, 1)))


def exact_gradient(beta: float) -> Tensor:
    """d/d logits of sum_y pi(y) (r(y) - beta log pi(y) / pi_ref(y))."""
    logits = LOGITS.clone().requires_grad_(True)
    value = torch.zeros((), dtype=torch.float64)
    for answer in ANSWERS:
        ours = logprobs(logits, answer).sum()
        value = value + ours.exp() * (reward(answer) - beta * (ours - logprobs(REFERENCE, answer).sum()))
    (gradient,) = torch.autograd.grad(value, logits)
    return gradient


def group_of(answers: Sequence[Answer]) -> ScoredGroup:
    members = tuple(completion(f"{one[0]}{one[1]}", logprobs=logprobs(LOGITS, one).tolist()) for one in answers)
    rewards = doubles([reward(one) for one in answers])
    return ScoredGroup(RolloutGroup(prompt(), members), {"accuracy": rewards}, {"accuracy": rewards}, rewards, rewards)


def test_the_expected_gradient_is_that_of_the_reward_minus_the_divergence() -> None:
    """Over all 81 groups of two answers, each with its probability. The mean that holds the completion itself takes
    1/G of it away, here a half."""
    rows = {f"{one[0]}{one[1]}": logprobs(REFERENCE, one).tolist() for one in ANSWERS}
    penalty = in_reward(rows, lambda step: BETA)
    total, dead = torch.zeros_like(LOGITS), 0.0
    for answers in product(ANSWERS, repeat=2):
        judged = judge([group_of(answers)], group_centred)
        selected = PlainGrpo().select(judged, 2, version=0, rng=np.random.default_rng(0))
        samples = penalty.prepare(stored_clip()(selected.draws + selected.zero_advantage), 0)
        logits = LOGITS.clone().requires_grad_(True)
        drawn = [(int(text[0]), int(text[1])) for text in (one.draw.sample.completion.text for one in samples)]
        assert sorted(drawn) == sorted(answers)
        now = torch.stack([logprobs(logits, one) for one in drawn])
        given = SurrogateInput(
            now,
            torch.stack([torch.from_numpy(one.old_logprobs) for one in samples]),
            torch.tensor([one.draw.sample.advantage for one in samples], dtype=torch.float64),
            torch.ones(2, 2),
            torch.ones(2, 2, dtype=torch.bool),
            torch.zeros(2, dtype=torch.bool),
        )
        (gradient,) = torch.autograd.grad(token_mean(clipped(0.2, 0.2)(given).loss, given.mask, 2, 2), logits)
        probability = float(sum(logprobs(LOGITS, one).sum() for one in answers).exp())
        dead += probability * (not judged[0].effective)
        total -= probability * gradient
    assert dead > 0.4, "without the penalty these groups would teach nothing"
    assert float((total - 0.5 * exact_gradient(BETA)).abs().max()) < 1e-6
    assert float((exact_gradient(BETA) - exact_gradient(0.0)).abs().max()) > 0.01
