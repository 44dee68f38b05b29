"""Log-probs of given tokens, chunk by chunk, against torch's log_softmax over all logits at once."""

import pytest
import torch
from torch import Tensor, nn

from vergence.model.logprobs import Head, logits_of, picked_logprobs

TOKENS, WIDTH, VOCABULARY = 11, 6, 9
BANNED = (2, 7)
ALLOWED = torch.tensor([0, 1, 3, 4, 5, 6, 8])
ONE_CHUNK = 1 << 20
FOUR_ROWS = 4 * 4 * VOCABULARY
"""Bytes of the logits of four tokens: chunks of 4, 4 and 3."""
CHUNKS = pytest.mark.parametrize("chunk_bytes", [ONE_CHUNK, FOUR_ROWS, 1], ids=["one chunk", "three", "one a token"])


class Halved(nn.Linear):
    """A head of its own kind: a linear layer whose logits are halved."""

    def forward(self, hidden: Tensor) -> Tensor:
        return super().forward(hidden) / 2


def linear(*, bias: bool) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Linear(WIDTH, VOCABULARY, bias=bias)


def head(module: nn.Module, *, temperature: float = 1.0, banned: tuple[int, ...] = BANNED) -> Head:
    return Head(module, torch.tensor(banned, dtype=torch.long), temperature, torch.float32)


def data() -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, targets that are allowed, and the gradient of the log-probs."""
    rng = torch.Generator().manual_seed(1)
    hidden = 3 * torch.randn(TOKENS, WIDTH, generator=rng)
    targets = ALLOWED[torch.randint(len(ALLOWED), (TOKENS,), generator=rng)]
    return hidden.requires_grad_(True), targets, torch.randn(TOKENS, generator=rng)


def at_once(logits: Tensor, targets: Tensor, temperature: float, banned: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Without banned columns there is nothing to ban."""
    kept = [column for column in range(logits.shape[1]) if column not in banned]
    spread = (logits[:, kept] / temperature).log_softmax(-1)
    places = torch.tensor([kept.index(int(one)) for one in targets])
    return spread[torch.arange(len(targets)), places], -(spread.exp() * spread).sum(-1)


@CHUNKS
@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("banned", [(), BANNED], ids=["all allowed", "two banned"])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_values_entropy_and_gradients(
    chunk_bytes: int, bias: bool, banned: tuple[int, ...], temperature: float
) -> None:
    module = linear(bias=bias)
    hidden, targets, upstream = data()
    inputs = [hidden, *module.parameters()]
    expected, expected_entropy = at_once(module(hidden), targets, temperature, banned)
    theirs = torch.autograd.grad(expected, inputs, upstream)
    picked, entropy = picked_logprobs(
        head(module, temperature=temperature, banned=banned), hidden, targets, chunk_bytes=chunk_bytes
    )
    assert picked.dtype == entropy.dtype == torch.float32
    torch.testing.assert_close(picked, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(entropy, expected_entropy, atol=1e-5, rtol=1e-5)
    assert not entropy.requires_grad
    ours = torch.autograd.grad(picked, inputs, upstream)
    assert len(ours) == 2 + bias
    for mine, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, right, atol=1e-5, rtol=1e-5)


@CHUNKS
def test_a_head_that_is_no_plain_linear_layer_is_called(chunk_bytes: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Halved(WIDTH, VOCABULARY)
    hidden, targets, upstream = data()
    inputs = [hidden, *module.parameters()]
    expected, expected_entropy = at_once(module(hidden), targets, 0.6, BANNED)
    theirs = torch.autograd.grad(expected, inputs, upstream)
    picked, entropy = picked_logprobs(head(module, temperature=0.6), hidden, targets, chunk_bytes=chunk_bytes)
    torch.testing.assert_close(picked, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(entropy, expected_entropy, atol=1e-5, rtol=1e-5)
    assert not entropy.requires_grad
    for mine, right in zip(torch.autograd.grad(picked, inputs, upstream), theirs, strict=True):
        torch.testing.assert_close(mine, right, atol=1e-5, rtol=1e-5)


@CHUNKS
@pytest.mark.parametrize("kind", ["linear", "linear without bias", "own kind"])
@pytest.mark.parametrize("banned", [(), BANNED], ids=["all allowed", "two banned"])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_the_entropy_has_a_gradient_where_it_is_asked_for(
    chunk_bytes: int, kind: str, banned: tuple[int, ...], temperature: float
) -> None:
    """Of the log-probs and the entropies together, and of the entropies alone, against autograd of a plain softmax."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Halved(WIDTH, VOCABULARY) if kind == "own kind" else linear(bias=kind == "linear")
    hidden, targets, upstream = data()
    inputs = [hidden, *module.parameters()]
    other = upstream.flip(0)
    expected, expected_entropy = at_once(module(hidden), targets, temperature, banned)
    picked, entropy = picked_logprobs(
        head(module, temperature=temperature, banned=banned),
        hidden,
        targets,
        entropy_gradient=True,
        chunk_bytes=chunk_bytes,
    )
    plain, plain_entropy = picked_logprobs(
        head(module, temperature=temperature, banned=banned), hidden, targets, chunk_bytes=chunk_bytes
    )
    assert torch.equal(plain, picked)
    assert torch.equal(plain_entropy, entropy)
    together = torch.autograd.grad([picked, entropy], inputs, [upstream, other], retain_graph=True)
    alone = torch.autograd.grad(entropy, inputs, other, retain_graph=True)
    untouched = torch.autograd.grad(picked, inputs, upstream)
    theirs = torch.autograd.grad([expected, expected_entropy], inputs, [upstream, other], retain_graph=True)
    theirs_alone = torch.autograd.grad(expected_entropy, inputs, other)
    for mine, right in zip([*together, *alone], [*theirs, *theirs_alone], strict=True):
        torch.testing.assert_close(mine, right, atol=1e-5, rtol=1e-5)
    for mine, before in zip(untouched, torch.autograd.grad(plain, inputs, upstream), strict=True):
        torch.testing.assert_close(mine, before, atol=1e-6, rtol=1e-6)


def test_the_gradient_of_the_entropy_is_finite_where_probabilities_vanish() -> None:
    module = linear(bias=False)
    hidden, targets, _ = data()
    with torch.no_grad():
        module.get_parameter("weight").mul_(1000)
    _, entropy = picked_logprobs(head(module), hidden, targets, entropy_gradient=True)
    (gradient,) = torch.autograd.grad(entropy.sum(), hidden)
    assert bool(gradient.isfinite().all())


@CHUNKS
@pytest.mark.parametrize("trained", ["hidden", "weight", "bias"])
def test_only_what_is_trained_gets_a_gradient(chunk_bytes: int, trained: str) -> None:
    module = linear(bias=True).requires_grad_(False)
    hidden, targets, upstream = data()
    hidden.requires_grad_(False)
    leaves = {"hidden": hidden, "weight": module.weight, "bias": module.bias}
    leaf = leaves[trained].requires_grad_(True)
    picked, _ = picked_logprobs(head(module), hidden, targets, chunk_bytes=chunk_bytes)
    picked.backward(upstream)
    expected, _ = at_once(module(hidden), targets, 1.0, BANNED)
    (right,) = torch.autograd.grad(expected, leaf, upstream)
    assert leaf.grad is not None
    torch.testing.assert_close(leaf.grad, right, atol=1e-5, rtol=1e-5)
    assert all(one.grad is None for name, one in leaves.items() if name != trained)


@pytest.mark.parametrize("chunk_bytes", [ONE_CHUNK, FOUR_ROWS], ids=["one chunk", "three"])
def test_a_graph_that_is_kept_gives_the_same_gradient_twice(chunk_bytes: int) -> None:
    """The kept distribution of a single chunk must outlive its first use."""
    module = linear(bias=True)
    hidden, targets, upstream = data()
    picked, _ = picked_logprobs(head(module), hidden, targets, chunk_bytes=chunk_bytes)
    first = torch.autograd.grad(picked, [hidden, *module.parameters()], upstream, retain_graph=True)
    second = torch.autograd.grad(picked, [hidden, *module.parameters()], upstream)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_logits_are_scaled_and_banned_ones_are_never_drawn() -> None:
    module = linear(bias=True)
    hidden, _, _ = data()
    logits = logits_of(head(module, temperature=0.5), hidden)
    torch.testing.assert_close(logits[:, ALLOWED], 2 * module(hidden)[:, ALLOWED])
    assert bool((logits[:, list(BANNED)] == float("-inf")).all())


def test_greedy_choices_have_their_untempered_probability() -> None:
    module = linear(bias=False)
    hidden, targets, _ = data()
    at_zero, _ = picked_logprobs(head(module, temperature=0.0), hidden, targets)
    at_one, _ = picked_logprobs(head(module, temperature=1.0), hidden, targets)
    assert torch.equal(at_zero, at_one)
    assert torch.equal(logits_of(head(module, temperature=0.0), hidden), logits_of(head(module), hidden))


@pytest.mark.parametrize("module", [linear(bias=False), Halved(WIDTH, VOCABULARY)], ids=["linear", "own kind"])
def test_logits_far_from_zero_do_not_overflow(module: nn.Module) -> None:
    """Exponentials of 1000 are infinite; differences of 1000 are not."""
    hidden, targets, _ = data()
    with torch.no_grad():
        module.get_parameter("weight").mul_(1000)
    picked, entropy = picked_logprobs(head(module), hidden, targets)
    expected, _ = at_once(module(hidden).double(), targets, 1.0, BANNED)
    torch.testing.assert_close(picked.double(), expected, rtol=1e-5, atol=1e-3)
    assert bool(entropy.isfinite().all())
    assert bool((entropy >= -1e-6).all())
    picked.sum().backward()
    assert hidden.grad is not None
    assert bool(hidden.grad.isfinite().all())


def test_the_entropy_of_equal_logits_is_the_logarithm_of_their_number() -> None:
    module = linear(bias=False)
    _, targets, _ = data()
    picked, entropy = picked_logprobs(head(module), torch.zeros(TOKENS, WIDTH), targets)
    expected = torch.full((TOKENS,), float(torch.tensor(len(ALLOWED)).log()))
    torch.testing.assert_close(entropy, expected)
    torch.testing.assert_close(picked, -expected)


def test_half_precision_is_computed_in_and_answers_are_not() -> None:
    """Products in bfloat16, softmax in fp32: close, and gradients in the weights' own fp32."""
    module = linear(bias=True)
    hidden, targets, upstream = data()
    inputs = [hidden, *module.parameters()]
    low = Head(module, torch.tensor(BANNED), 1.0, torch.bfloat16)
    picked, entropy = picked_logprobs(low, hidden, targets)
    expected, expected_entropy = at_once(module(hidden), targets, 1.0, BANNED)
    assert picked.dtype == entropy.dtype == torch.float32
    torch.testing.assert_close(picked, expected, atol=0.06, rtol=0.02)
    torch.testing.assert_close(entropy, expected_entropy, atol=0.06, rtol=0.02)
    ours = torch.autograd.grad(picked, inputs, upstream)
    theirs = torch.autograd.grad(expected, inputs, upstream)
    for mine, right in zip(ours, theirs, strict=True):
        assert mine.dtype == torch.float32
        assert float((mine - right).norm() / right.norm()) < 0.03
    assert logits_of(low, hidden).dtype == torch.float32


def test_what_a_decoder_must_know_of_a_head() -> None:
    plain, biased, own = linear(bias=False), linear(bias=True), Halved(WIDTH, VOCABULARY, bias=False)
    assert head(plain).linear is plain
    assert head(biased).linear is None
    assert head(own).linear is None
    assert [head(one).vocabulary for one in (plain, biased, own)] == [VOCABULARY] * 3
    assert head(plain, temperature=0.25).scale == 4.0
