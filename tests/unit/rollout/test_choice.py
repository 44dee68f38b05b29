"""Choosing tokens: the inverse of a cumulative distribution that is summed slowly, and transformers' own processors."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from families import picture_problems, tiny_policy
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import RepetitionPenaltyLogitsProcessor, TopKLogitsWarper, TopPLogitsWarper

from vergence.model.batch import collate
from vergence.model.forward import token_scores
from vergence.model.vision import CachedTower
from vergence.rollout.choice import (
    BLOCK,
    chooser,
    greedy,
    inverse_cdf,
    most_likely,
    nucleus,
    penalised,
    shaping,
)
from vergence.rollout.local import LocalGenerator
from vergence.types import Sampling

NEVER = float("-inf")
LARGEST = float(np.nextafter(1.0, 0.0))
"""The largest number that a generator of [0, 1) gives."""
VOCABULARIES = pytest.mark.parametrize(
    "vocabulary", [1, 5, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 1000, 4 * BLOCK + 1]
)


def drawn(rows: int, vocabulary: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed))


def uniform(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def cumulative(logits: Tensor) -> list[float]:
    """The cumulative distribution of one row, summed exactly."""
    largest = float(logits.max())
    weights = [math.exp(float(one) - largest) for one in logits]
    total = math.fsum(weights)
    return [math.fsum(weights[: place + 1]) / total for place in range(len(weights))]


# ── the inverse of the cumulative distribution ───────────────────────────────────────────────────────────────────


def test_four_tokens_by_hand() -> None:
    """Probabilities 1/10, 2/10, 3/10, 4/10 pass 0.1, 0.3, 0.6 and 1."""
    logits = torch.tensor([1.0, 2.0, 3.0, 4.0]).log().expand(8, 4)
    chosen, normaliser = inverse_cdf(logits, uniform(0.0, 0.099, 0.101, 0.299, 0.301, 0.599, 0.601, 0.999))
    assert chosen.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    torch.testing.assert_close(normaliser, torch.full((8,), math.log(10.0)))


@VOCABULARIES
def test_the_token_is_the_first_whose_cumulative_probability_passes_the_number(vocabulary: int) -> None:
    """Sums in fp32 blocks may miss a boundary by a few parts in ten million, and by nothing more."""
    logits = drawn(3, vocabulary)
    rng = np.random.default_rng(0)
    for row in logits:
        exact = [0.0, *cumulative(row)]
        numbers = rng.random(200)
        chosen, _ = inverse_cdf(row.expand(200, -1), torch.from_numpy(numbers))
        for number, token in zip(numbers, chosen.tolist(), strict=True):
            assert exact[token] - 1e-6 <= number <= exact[token + 1] + 1e-6


@VOCABULARIES
def test_the_normaliser_is_that_of_log_softmax(vocabulary: int) -> None:
    logits = drawn(4, vocabulary)
    _, normaliser = inverse_cdf(logits, uniform(0.0, 0.3, 0.6, 0.9))
    assert normaliser.dtype == logits.dtype
    torch.testing.assert_close(normaliser, logits.logsumexp(-1), atol=1e-5, rtol=1e-6)


@VOCABULARIES
def test_every_token_has_its_share_of_the_unit_interval(vocabulary: int) -> None:
    """An even comb of 20,000 numbers: counts are probabilities times 20,000, within one tooth at each end."""
    logits = drawn(1, vocabulary)[0]
    teeth = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    chosen, _ = inverse_cdf(logits.expand(20_000, -1), teeth)
    counts = torch.bincount(chosen, minlength=vocabulary).double()
    assert float((counts - 20_000 * logits.double().softmax(0)).abs().max()) <= 1.5
    assert chosen.tolist() == sorted(chosen.tolist())


@VOCABULARIES
def test_the_ends_of_the_interval_are_the_first_and_the_last_token(vocabulary: int) -> None:
    logits = torch.zeros(2, vocabulary)
    assert inverse_cdf(logits, uniform(0.0, LARGEST))[0].tolist() == [0, vocabulary - 1]


ALLOWED = {
    "one token": [300],
    "the first": [0],
    "the last": [599],
    "one block of three": list(range(BLOCK, 2 * BLOCK)),
    "a block's first and last": [BLOCK, 2 * BLOCK - 1],
    "not the last block": list(range(100, 500)),
    "every third": list(range(1, 600, 3)),
    "the ends of blocks": [BLOCK - 1, BLOCK, 2 * BLOCK - 1, 2 * BLOCK],
}


@pytest.mark.parametrize("allowed", ALLOWED.values(), ids=ALLOWED.keys())
def test_a_banned_token_is_never_drawn(allowed: list[int]) -> None:
    """Nor at the ends of the interval, nor where the last blocks hold nothing."""
    logits = drawn(1, 600)
    banned = torch.ones(600, dtype=torch.bool)
    banned[allowed] = False
    logits = logits.masked_fill(banned, NEVER)
    numbers = torch.cat([uniform(0.0, 5e-324, 1e-17, 0.5, 1 - 1e-9, LARGEST), torch.linspace(0, LARGEST, 500).double()])
    chosen, normaliser = inverse_cdf(logits.expand(len(numbers), -1), numbers.clamp(max=LARGEST))
    assert set(chosen.tolist()) <= set(allowed)
    assert int(chosen[0]) == allowed[0]
    torch.testing.assert_close(normaliser[0], logits[0, allowed].logsumexp(0))


@given(st.lists(st.sampled_from([NEVER, -200.0, -30.0, 0.0, 1.0, 5.0]), min_size=1, max_size=40), st.floats(0, LARGEST))
def test_nothing_without_weight_is_ever_drawn(logits: list[float], number: float) -> None:
    """Weights of 200 below the largest are zero in fp32, like banned ones."""
    row = torch.tensor([[*logits, 5.0, *logits]] * 3)
    chosen, _ = inverse_cdf(row, uniform(0.0, number, LARGEST))
    assert bool((row[0, chosen] > -100).all())


@pytest.mark.parametrize("share", [1.0, 0.7, 0.3, 1e-3])
@pytest.mark.parametrize("vocabulary", [300, 600, 1000])
def test_the_largest_number_never_leaves_the_tokens_that_have_weight(vocabulary: int, share: float) -> None:
    """Many sums, so that every way of rounding the product of number and sum occurs."""
    logits = drawn(400, vocabulary)
    allowed = torch.arange(vocabulary) < max(1, int(share * vocabulary))
    logits = logits.masked_fill(~allowed, NEVER)
    chosen, _ = inverse_cdf(logits, torch.full((400,), LARGEST, dtype=torch.float64))
    assert bool(allowed[chosen].all())


def test_the_logits_stay_as_they_are() -> None:
    """They are read again for the log-prob that is kept."""
    logits = drawn(2, 10)
    before = logits.clone()
    inverse_cdf(logits, uniform(0.2, 0.8))
    greedy(logits, uniform(0.2, 0.8))
    assert torch.equal(logits, before)


def test_greedy_takes_the_largest_and_no_noise() -> None:
    logits = drawn(3, 700)
    for number in (0.0, LARGEST):
        chosen, normaliser = greedy(logits, uniform(number, number, number))
        assert chosen.tolist() == [int(np.argmax(row.numpy())) for row in logits]
        torch.testing.assert_close(normaliser, logits.double().exp().sum(-1).log().float())


def test_temperature_zero_is_greedy() -> None:
    assert chooser(Sampling(num_completions=1, max_new_tokens=1, temperature=0.0)) is greedy
    assert chooser(Sampling(num_completions=1, max_new_tokens=1, temperature=0.1)) is inverse_cdf


# ── shaping, against transformers ────────────────────────────────────────────────────────────────────────────────

IDS = torch.tensor([[3, 4, 3], [0, 19, 7], [5, 5, 5]])
"""What three rows have seen."""


def seen_of(ids: Tensor, vocabulary: int) -> Tensor:
    return torch.stack([torch.tensor([token in row for token in range(vocabulary)]) for row in ids.tolist()])


@pytest.mark.parametrize("count", [1, 2, 7, 20, 50])
def test_top_k(count: int) -> None:
    logits = drawn(3, 20)
    assert torch.equal(most_likely(logits, count), TopKLogitsWarper(top_k=count)(IDS, logits))


def test_top_k_with_ties_and_with_less_than_k_tokens_that_can_be_drawn() -> None:
    logits = torch.tensor([[1.0, 2.0, 2.0, 0.0], [1.0, NEVER, NEVER, NEVER]])
    assert most_likely(logits, 1).tolist() == [[NEVER, 2.0, 2.0, NEVER], [1.0, NEVER, NEVER, NEVER]]
    assert most_likely(logits, 2)[1].tolist() == [1.0, NEVER, NEVER, NEVER]


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.9, 0.999])
def test_top_p(share: float) -> None:
    logits = drawn(3, 20)
    logits[0, 4] = NEVER
    expected = TopPLogitsWarper(top_p=share)(IDS, logits)
    assert torch.equal(nucleus(logits, share), expected)
    assert bool((expected > NEVER).any(-1).all())


def test_top_p_by_hand() -> None:
    """Probabilities 0.5, 0.3, 0.15, 0.05: two of them reach 0.7, three reach 0.81, and one always stays."""
    logits = torch.tensor([[0.15, 0.5, 0.05, 0.3]]).log()
    kept = {share: (nucleus(logits, share) > NEVER).nonzero()[:, 1].tolist() for share in (0.7, 0.81, 0.99, 0.001)}
    assert kept == {0.7: [1, 3], 0.81: [0, 1, 3], 0.99: [0, 1, 2, 3], 0.001: [1]}


@pytest.mark.parametrize("penalty", [0.5, 1.2, 3.0])
def test_repetition_penalty(penalty: float) -> None:
    logits = drawn(3, 20)
    logits[1, 7] = NEVER
    expected = RepetitionPenaltyLogitsProcessor(penalty)(IDS, logits.clone())
    assert torch.equal(penalised(logits, seen_of(IDS, 20), penalty), expected)


def test_all_three_in_the_order_of_transformers() -> None:
    sampling = Sampling(
        num_completions=1, max_new_tokens=1, temperature=1.0, top_k=6, top_p=0.8, repetition_penalty=1.5
    )
    logits = drawn(3, 20)
    expected = RepetitionPenaltyLogitsProcessor(1.5)(IDS, logits.clone())
    expected = TopPLogitsWarper(top_p=0.8)(IDS, TopKLogitsWarper(top_k=6)(IDS, expected))
    shape = shaping(sampling)
    assert shape is not None
    assert torch.equal(shape(logits, seen_of(IDS, 20)), expected)


def test_nothing_is_shaped_unless_it_is_asked_for() -> None:
    assert shaping(Sampling(num_completions=1, max_new_tokens=1, temperature=0.7)) is None


# ── what is kept of a shaped choice ──────────────────────────────────────────────────────────────────────────────

SHAPED = {
    "top-k": {"top_k": 2},
    "top-p": {"top_p": 0.5},
    "repetition penalty": {"repetition_penalty": 1.8},
    "all": {"top_k": 5, "top_p": 0.7, "repetition_penalty": 1.3},
}


@pytest.mark.parametrize("changes", SHAPED.values(), ids=SHAPED.keys())
def test_the_log_probs_that_are_kept_are_the_policys_own(changes: dict[str, float], tmp_path: Path) -> None:
    """Equal to those of training, which knows of no shaping; and shaping does change what is drawn."""
    policy = tiny_policy("llava", tmp_path)
    problems = picture_problems(tmp_path / "pictures", 3)
    tower = CachedTower(policy)
    generator = LocalGenerator(policy, tower)
    plain = Sampling(num_completions=3, max_new_tokens=8, temperature=0.8)
    shaped = Sampling(num_completions=3, max_new_tokens=8, temperature=0.8, **changes)
    groups = generator.generate(problems, shaped, seed=0, version=0)
    members = [(group.prompt, one) for group in groups for one in group.completions]
    with torch.no_grad():
        scores = token_scores(policy, collate(members, torch.device("cpu")), temperature=0.8, tower=tower)
    for row, (_, completion) in enumerate(members):
        expected = scores.logprobs[row, : len(completion.token_ids)].numpy()
        np.testing.assert_allclose(completion.sampler_logprobs, expected, atol=1e-4)
    unshaped = generator.generate(problems, plain, seed=0, version=0)
    before = [one.token_ids.tolist() for group in unshaped for one in group.completions]
    assert [one.token_ids.tolist() for _, one in members] != before


def test_greedy_with_a_repetition_penalty_equals_transformers_generate(tmp_path: Path) -> None:
    """The penalty counts the prompt's tokens and the answer's own; the problem has no picture."""
    policy = tiny_policy("llava", tmp_path)
    problem = picture_problems(tmp_path / "pictures", 5)[4]
    assert problem.images == ()
    sampling = Sampling(num_completions=1, max_new_tokens=16, temperature=0.0, repetition_penalty=1.3)
    group = LocalGenerator(policy, CachedTower(policy)).generate([problem], sampling, seed=0, version=0)[0]
    ids = torch.from_numpy(group.prompt.token_ids)[None]
    out = policy.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=16,
        do_sample=False,
        repetition_penalty=1.3,
        suppress_tokens=[policy.image_token_id],
    )
    assert group.completions[0].token_ids.tolist() == out[0, ids.shape[1] :].tolist()
