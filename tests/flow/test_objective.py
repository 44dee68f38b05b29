"""Every variant of the objective through the real forward pass, against its formula over the model's own forward."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from flow.test_forward import CPU, members_of, world  # noqa: F401 - the fixture
from vergence.loss.kl import grpo_d, k3
from vergence.loss.policy_gradient import SurrogateFunction, by_origin, cispo, clipped, shaped
from vergence.loss.reduce import Reduction, constant_length, sequence_mean, token_mean
from vergence.loss.sequence_ratio import gspo
from vergence.model.meter import NO_WORK
from vergence.model.policy import preprocess
from vergence.model.vision import CachedTower
from vergence.stages.grpo.entropy import AdaptiveEntropy, FixedEntropy
from vergence.stages.grpo.objective import surrogate_objective
from vergence.stages.grpo.penalty import KlPenalty, NoPenalty
from vergence.types import Draw, Origin, Sample, TrainingSample
from vergence.update.minibatch import Minibatch, deal_samples, minibatches

LENGTHS = [[5, 1, 9], [3], [12, 7, 2, 4]]
ADVANTAGES = [0.7, -1.1, 0.4, 0.9, -0.3, 1.2, -0.9, 0.5]
REPLAYED = [False, True, False, False, True, True, False, False]
TOKENS, SEQUENCES, LONGEST = 50, 9, 12
"""More than there are of both: some places are idle."""


def plain(policy, prompt, completion) -> tuple[Tensor, Tensor]:
    """Log-probs and entropies of one sequence by the model's own forward."""
    pixels = preprocess(policy, prompt.problem.images).values
    ids = torch.from_numpy(np.concatenate([prompt.token_ids, completion.token_ids]))[None]
    logits = policy.model(input_ids=ids, pixel_values=pixels).logits[0].float()
    kept = [column for column in range(logits.shape[1]) if column != policy.image_token_id]
    steps = torch.arange(len(prompt.token_ids) - 1, ids.shape[1] - 1)
    spread = logits[steps][:, kept].log_softmax(-1)
    places = torch.tensor([kept.index(int(one)) for one in completion.token_ids])
    return spread[torch.arange(len(places)), places], -(spread.exp() * spread).sum(-1)


@pytest.fixture
def batch(world):  # noqa: F811
    """The policy, and samples whose denominators lie about its log-probs."""
    policy, problems = world
    rng = np.random.default_rng(2)
    samples = []
    for index, (prompt, completion) in enumerate(members_of(policy, problems, LENGTHS)):
        with torch.no_grad():
            now = plain(policy, prompt, completion)[0].numpy()
        old = (now + rng.normal(0, 0.3, len(now))).astype(np.float32)
        origin = Origin.REPLAY if REPLAYED[index] else Origin.FRESH
        weights = np.where(REPLAYED[index], rng.uniform(0.5, 2.0, len(now)), 1.0).astype(np.float32)
        one = replace(completion, text=f"completion {index}")
        samples.append(TrainingSample(Draw(Sample(prompt, one, ADVANTAGES[index], 0.0), origin, 0), old, weights))
    policy.model.requires_grad_(True)
    yield policy, samples
    policy.model.requires_grad_(False)


# Loss of one token (or, for gspo, of one sequence) from its ratio, without tensors' minimum and clamp.
Term = Callable[[Tensor, float, bool], Tensor]


def hold(ratio: Tensor, low: float, high: float) -> float:
    return min(max(float(ratio.detach()), 1 - low), 1 + high)


def clipped_term(low: float, high: float, dual: float = float("inf")) -> Term:
    def term(ratio: Tensor, advantage: float, replayed: bool) -> Tensor:
        value, held = float(ratio.detach()), hold(ratio, low, high)
        chosen = ratio if value * advantage <= held * advantage else torch.tensor(held)
        if advantage < 0 and float(chosen.detach()) > dual:
            chosen = torch.tensor(dual)
        return -chosen * advantage

    return term


def shaped_term(ratio: Tensor, advantage: float, replayed: bool) -> Tensor:
    return -ratio / (ratio + 0.1) * advantage if replayed else clipped_term(0.2, 0.2)(ratio, advantage, replayed)


def cispo_term(ratio: Tensor, advantage: float, replayed: bool) -> Tensor:
    """The gradient of log pi is that of log rho."""
    return -hold(ratio, 1.0, 0.25) * advantage * ratio.log()


VARIANTS: dict[str, tuple[SurrogateFunction, Term, Reduction, float]] = {
    "R1V2 Eq. 8": (clipped(0.2, 0.2), clipped_term(0.2, 0.2), sequence_mean, 0.0),
    "DAPO": (clipped(0.2, 0.28), clipped_term(0.2, 0.28), token_mean, 0.0),
    "Dr. GRPO": (clipped(0.2, 0.2), clipped_term(0.2, 0.2), constant_length(LONGEST), 0.0),
    "dual clip": (clipped(0.2, 0.2, 1.3), clipped_term(0.2, 0.2, 1.3), token_mean, 0.0),
    "CISPO": (cispo(1.0, 0.25), cispo_term, token_mean, 0.0),
    "ExGRPO": (by_origin(clipped(0.2, 0.2), shaped(0.1)), shaped_term, token_mean, 0.0),
    "entropy": (clipped(0.2, 0.2), clipped_term(0.2, 0.2), token_mean, 0.05),
}


def divisor(reduce: Reduction, length: int) -> int:
    """What a term of a sequence of that length is divided by."""
    if reduce is token_mean:
        return TOKENS
    return length * SEQUENCES if reduce is sequence_mean else SEQUENCES * LONGEST


def objective_of(policy, surrogate: SurrogateFunction, reduce: Reduction, microbatch_tokens: int, **more):
    return surrogate_objective(
        policy,
        CachedTower(policy),
        temperature=1.0,
        surrogate=surrogate,
        reduce=reduce,
        penalty=more.pop("penalty", NoPenalty()),
        microbatch_tokens=microbatch_tokens,
        check=lambda members: None,
        **more,
    )


def outcome(policy, objective, samples: Sequence[TrainingSample]) -> tuple[float, Tensor, dict[str, float], int]:
    """Loss, gradient of two weights, metrics of the whole minibatch, and the number of parts."""
    watched = watched_weights(policy)
    parts = [evaluate() for evaluate in objective(Minibatch(tuple(samples), TOKENS, SEQUENCES))]
    loss = sum(part.loss for part in parts)
    gradient = torch.cat([one.flatten() for one in torch.autograd.grad(loss, watched)])
    assert not any(value.requires_grad for part in parts for value in part.metrics.values())
    metrics = {name: float(sum(part.metrics[name] for part in parts)) for name in parts[0].metrics}
    peaks = {name: max(float(part.peaks[name]) for part in parts) for name in parts[0].peaks}
    return loss.item(), gradient, metrics | peaks, len(parts)


def watched_weights(policy) -> list[Tensor]:
    return [
        policy.model.model.multi_modal_projector.linear_2.weight,
        policy.model.get_output_embeddings().weight,
    ]


def assert_same(policy, total: Tensor, loss: float, gradient: Tensor) -> None:
    expected = torch.cat([one.flatten() for one in torch.autograd.grad(total, watched_weights(policy))])
    assert float((gradient - expected).norm() / expected.norm()) < 1e-4
    assert pytest.approx(total.item(), abs=1e-5) == loss


@pytest.mark.parametrize("name", VARIANTS)
def test_loss_and_gradient_are_those_of_the_formula(batch, name: str) -> None:
    policy, samples = batch
    surrogate, term, reduce, bonus = VARIANTS[name]
    objective = objective_of(policy, surrogate, reduce, 60, entropy_weight=FixedEntropy(bonus))
    loss, gradient, metrics, parts = outcome(policy, objective, samples)
    assert parts > 1
    total, offset = torch.zeros(()), 0.0
    fresh = sum(len(one.old_logprobs) for one in samples if one.draw.origin is Origin.FRESH)
    for index, one in enumerate(samples):
        logprobs, entropies = plain(policy, one.draw.sample.prompt, one.draw.sample.completion)
        for place, old in enumerate(one.old_logprobs):
            ratio = (logprobs[place] - float(old)).exp()
            share = float(one.weights[place]) / divisor(reduce, len(logprobs))
            value = share * term(ratio, ADVANTAGES[index], REPLAYED[index])
            total = total + value - (0.0 if REPLAYED[index] else bonus / fresh) * entropies[place]
            if name == "CISPO":  # its value is A log pi, and the formula above has A log rho: they differ by a constant
                offset += share * -hold(ratio, 1.0, 0.25) * ADVANTAGES[index] * float(old)
    assert_same(policy, total, loss - offset, gradient)
    assert pytest.approx(bonus) == metrics["loss/entropy_weight"]


def test_gspo_is_its_formula_over_sequences(batch) -> None:
    policy, samples = batch
    loss, gradient, metrics, _ = outcome(policy, objective_of(policy, gspo(0.05, 0.05), sequence_mean, 60), samples)
    total, clipped_tokens = torch.zeros(()), 0
    for index, one in enumerate(samples):
        logprobs, _ = plain(policy, one.draw.sample.prompt, one.draw.sample.completion)
        s = (logprobs - torch.from_numpy(one.old_logprobs)).mean().exp()
        weight = float(np.exp(np.log(one.weights).mean()))
        value = clipped_term(0.05, 0.05)(s, ADVANTAGES[index], REPLAYED[index])
        clipped_tokens += 0 if value.requires_grad else len(logprobs)
        total = total + weight * value / SEQUENCES
    assert_same(policy, total, loss, gradient)
    assert 0 < clipped_tokens < sum(len(one.old_logprobs) for one in samples)
    assert (
        pytest.approx(clipped_tokens / sum(len(one.old_logprobs) for one in samples)) == metrics["loss/clip_fraction"]
    )


IDLE = (2, 6)
"""Fresh ones that rewards give no advantage."""


@pytest.mark.parametrize("reduce", [token_mean, sequence_mean, constant_length(LONGEST)], ids=["token", "seq", "const"])
def test_the_kl_penalty_is_a_mean_over_fresh_completions_whatever_their_advantage(batch, reduce) -> None:
    """At step 2 of GRPO-D from 0.1 to 0.3: 0.1; replayed samples have no part in it, those without advantage have,
    and the mean of what it adds is logged."""
    policy, samples = batch
    for place in IDLE:
        one = samples[place].draw
        samples[place] = replace(
            samples[place], draw=replace(one, sample=replace(one.sample, advantage=0.0), effective=False)
        )
    penalty = KlPenalty(
        policy,
        CachedTower(policy),
        weight=grpo_d(0.1, 0.3, steps=11, turn=0.2),
        estimator=k3,
        temperature=1.0,
        microbatch_tokens=60,
    )
    penalty.prepare(samples, 2)
    assert pytest.approx(0.1) == penalty.weight
    assert {index for index, replayed in enumerate(REPLAYED) if not replayed} == {
        index for index, one in enumerate(samples) if id(one.draw.sample.completion) in penalty._known
    }
    for one in samples:  # another reference than the policy itself
        if one.draw.origin is Origin.FRESH:
            known = penalty._known[id(one.draw.sample.completion)]
            penalty._known[id(one.draw.sample.completion)] = (known + 0.2 * np.cos(np.arange(len(known)))).astype(
                np.float32
            )
    objective = objective_of(policy, clipped(0.2, 0.2), reduce, 60, penalty=penalty)
    loss, gradient, metrics, parts = outcome(policy, objective, samples)
    assert parts > 1
    drawn = [one for one, replayed in zip(samples, REPLAYED, strict=True) if not replayed]
    tokens = sum(len(one.old_logprobs) for one in drawn)
    total, added = torch.zeros(()), 0.0
    for index, one in enumerate(samples):
        logprobs, _ = plain(policy, one.draw.sample.prompt, one.draw.sample.completion)
        length = len(logprobs)
        for place, old in enumerate(one.old_logprobs):
            if index not in IDLE:
                ratio = (logprobs[place] - float(old)).exp()
                surrogate = float(one.weights[place]) * clipped_term(0.2, 0.2)(ratio, ADVANTAGES[index], False)
                total = total + surrogate / divisor(reduce, length)
            if not REPLAYED[index]:
                d = float(penalty._known[id(one.draw.sample.completion)][place]) - logprobs[place]
                count = {token_mean: tokens, sequence_mean: len(drawn) * length}.get(reduce, len(drawn) * LONGEST)
                total = total + 0.1 * (d.exp() - d - 1) / count
                added += float(0.1 * (d.exp() - d - 1).detach())
    assert_same(policy, total, loss, gradient)
    assert pytest.approx(added / tokens, rel=1e-3) == metrics["loss/penalty"]
    assert pytest.approx(0.1) == metrics["loss/kl_weight"]


def test_three_dead_groups_of_four_do_not_weaken_the_brake(batch) -> None:
    """Each token's KL is 1, so the mean is 1: it was 0.25 of it that was left where three groups of four were dead."""
    policy, samples = batch
    dead = [
        replace(one, draw=replace(one.draw, origin=Origin.FRESH, effective=place == 0))
        for place, one in enumerate(samples[:4])
    ]
    dead = [replace(one, draw=replace(one.draw, sample=replace(one.draw.sample, advantage=0.0))) for one in dead]
    (whole,) = minibatches(
        dead, places=4, minibatch_size=4, idle_tokens=5.0, deal=deal_samples, rng=np.random.default_rng(0)
    )
    penalty = KlPenalty(
        policy,
        CachedTower(policy),
        weight=lambda step: 1.0,
        estimator=lambda logprobs, reference: torch.ones_like(logprobs),
        temperature=1.0,
        microbatch_tokens=60,
    )
    penalty.prepare(dead, 0)
    (part,) = [one() for one in objective_of(policy, clipped(0.2, 0.2), token_mean, 10_000, penalty=penalty)(whole)]
    assert pytest.approx(1.0) == part.loss.item()
    assert pytest.approx(1.0) == part.metrics["loss/penalty"].item()


def test_figures_of_the_surrogate_leave_out_what_has_no_advantage(batch) -> None:
    """With completions without advantage beside them, clipped tokens and entropies are shares of the same tokens; and
    nothing is said of them where there is nothing else."""
    policy, samples = batch
    objective = objective_of(policy, clipped(0.1, 0.1), token_mean, 60)
    alone = outcome(policy, objective, samples[:5])[2]
    others = [replace(one, draw=replace(one.draw, origin=Origin.FRESH, effective=False)) for one in samples[5:]]
    beside = outcome(policy, objective, [*samples[:5], *others])[2]
    names = {name for name in alone if name.startswith(("loss/clip", "loss/ratio"))} | {"loss/entropy"}
    assert len(names) == 9
    assert pytest.approx({name: alone[name] for name in names}, rel=1e-4) == {name: beside[name] for name in names}
    assert not names & outcome(policy, objective, others)[2].keys()


def test_a_penalty_of_weight_zero_computes_nothing(batch) -> None:
    policy, samples = batch
    penalty = KlPenalty(
        policy, CachedTower(policy), weight=lambda step: 0.0, estimator=k3, temperature=1.0, microbatch_tokens=60
    )
    policy.meter.take()
    penalty.prepare(samples, 0)
    assert NO_WORK == policy.meter.take()
    assert 0.0 == float(penalty(samples, torch.zeros(1, 1)))


def test_metrics_do_not_depend_on_how_a_minibatch_is_cut(batch) -> None:
    """Critical tokens included: here the third and the last of each completion that has them."""
    policy, samples = batch

    def places(completion) -> list[int]:
        return [place for place in (2, 8) if place < len(completion.token_ids)]

    def of(microbatch_tokens: int):
        return outcome(
            policy,
            objective_of(policy, clipped(0.1, 0.1, 1.2), token_mean, microbatch_tokens, places=places),
            samples,
        )

    whole_loss, whole_gradient, whole, one_part = of(10_000)
    loss, gradient, metrics, parts = of(60)
    assert (1, True) == (one_part, parts > 1)
    assert pytest.approx(whole_loss, abs=1e-6) == loss
    assert torch.allclose(whole_gradient, gradient, atol=1e-6, rtol=1e-4)
    assert pytest.approx(whole, abs=1e-5) == metrics
    sides = ("low", "high", "dual")
    assert pytest.approx(sum(metrics[f"loss/clip_fraction_{side}"] for side in sides)) == metrics["loss/clip_fraction"]
    assert all(metrics[f"loss/clip_fraction_{side}"] > 0 for side in sides)
    entropies, ratios = [], []
    for one in samples:
        with torch.no_grad():
            logprobs, entropy = plain(policy, one.draw.sample.prompt, one.draw.sample.completion)
        ratios += np.exp(logprobs.numpy() - one.old_logprobs).tolist()
        if one.draw.origin is Origin.FRESH:
            entropies += [float(entropy[place]) for place in places(one.draw.sample.completion)]
    assert pytest.approx(np.mean(entropies), rel=1e-3) == metrics["loss/critical_entropy"]
    assert pytest.approx(np.abs(np.array(ratios) - 1).mean(), rel=1e-3) == metrics["loss/ratio_deviation"]


def test_without_a_critical_token_there_is_no_such_metric(batch) -> None:
    policy, samples = batch
    objective = objective_of(policy, clipped(0.2, 0.2), token_mean, 60, places=lambda completion: [])
    assert "loss/critical_entropy" not in outcome(policy, objective, samples)[2]


def test_the_adaptive_weight_answers_to_the_entropy_of_the_update_before(batch) -> None:
    """Target above the policy's entropy: 0 at first, then one step more with every update; below it: 0 throughout.
    It is the entropy of fresh completions, which the bonus counts for."""
    policy, samples = batch
    with torch.no_grad():
        every = torch.cat([plain(policy, one.draw.sample.prompt, one.draw.sample.completion)[1] for one in samples])
    every = every[
        ~torch.tensor([replayed for one, replayed in zip(samples, REPLAYED, strict=True) for _ in one.weights])
    ]
    for factor, expected in ((1.01, [0.0, 0.01, 0.02, 0.02]), (0.99, [0.0] * 4)):
        weight = AdaptiveEntropy(target=float(every.mean()) * factor, step=0.01, largest=0.02)
        objective = objective_of(policy, clipped(0.2, 0.2), token_mean, 60, entropy_weight=weight)
        seen = [outcome(policy, objective, samples)[2]["loss/entropy_weight"] for _ in range(4)]
        assert pytest.approx(expected) == seen
