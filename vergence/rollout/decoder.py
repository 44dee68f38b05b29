"""The state of a batch that is being decoded: prompts run once, then one token for every row at a time."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vergence.model.batch import collate_prompts
from vergence.model.forward import embed_prompts, head_of, prompt_spans, run_decoder
from vergence.model.fused import FusedDecoder, fits, fuse, product
from vergence.model.logprobs import logits_of
from vergence.model.packing import pack
from vergence.model.policy import Policy
from vergence.model.shared_prefix import shared_prefix
from vergence.model.vision import Tower
from vergence.rollout.cache import GroupCache, Remembering
from vergence.types import Prompt, Sampling

AGREEMENT = 1e-3
"""Largest difference of hidden states, relative to the largest of them, at which the fused step is trusted."""
SMALL_PRODUCT = 1 << 25
"""Multiplications of a product below which a second thread costs more than it brings."""
_agreed: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
"""Decoder -> whether its fused step gave the hidden states of its own forward pass. Asked once for each model."""


@final
class GroupDecoder:
    """P prompts, G rows each: hidden states from which the next tokens are drawn."""

    def __init__(self, policy: Policy, prompts: Sequence[Prompt], tower: Tower, sampling: Sampling) -> None:
        size = sampling.num_completions
        batch = collate_prompts(prompts, policy.device)
        packing, _ = pack(batch.lengths, (), (), policy.device, prompt_spans(policy, batch))
        memory = Remembering(shared_prefix(packing, policy.device))
        policy.meter.add(prompt_tokens=packing.num_prompt_tokens)
        embedded = embed_prompts(policy, batch, tower)
        hidden = run_decoder(policy, embedded.tokens, batch.positions, memory, embedded.beside)
        self._policy = policy
        self._language = policy.family.language(policy.model)
        self._cache = GroupCache(memory, size)
        self._axes = len(batch.positions)
        self._positions = batch.next_positions.repeat_interleave(size)
        rows, positions = len(prompts) * size, int(batch.next_positions.max()) + sampling.max_new_tokens
        self._fused = _fused(policy, self._language, rows, positions)
        self._head = head_of(policy, sampling.temperature)
        plain = self._head.linear if policy.compute_dtype == torch.float32 else None
        self._head_product = None if plain is None else product(plain.weight, rows)
        self._hidden: Float[Tensor, "R D"] = hidden.repeat_interleave(size, 0)
        """The state each row's next token is drawn from."""

    @property
    def vocabulary(self) -> int:
        """V."""
        return self._head.vocabulary

    def logits(self) -> Float[Tensor, "R V"]:
        """What the next tokens are drawn from: scaled by the temperature, -inf at tokens that are never drawn."""
        if self._head_product is None:
            return logits_of(self._head, self._hidden)
        return self._head.finished(self._head_product(self._hidden))

    def append(self, token_ids: Int[Tensor, "R"]) -> None:
        """One further token for every row."""
        self._policy.meter.add(completion_tokens=len(token_ids))
        embedded = self._policy.model.get_input_embeddings()(token_ids)
        if self._fused is None:
            self._hidden = self._by_the_model(embedded)
        else:
            self._hidden = self._by_fused_steps(self._fused, embedded)
        self._cache.advance()
        self._positions = self._positions + 1

    def keep(self, rows: Int[Tensor, "R2"]) -> None:
        """Drop all other rows."""
        self._cache.keep(rows)
        self._hidden, self._positions = self._hidden[rows], self._positions[rows]

    def _by_the_model(self, embedded: Float[Tensor, "R D"]) -> Float[Tensor, "R D"]:
        return run_decoder(self._policy, embedded, self._positions.expand(self._axes, -1), self._cache)

    def _by_fused_steps(self, fused: FusedDecoder, embedded: Float[Tensor, "R D"]) -> Float[Tensor, "R D"]:
        if self._language in _agreed:
            return fused.step(embedded, self._positions, self._cache.attend_scaled)
        # Both write the same column of the cache. The fused step comes last and its numbers are used, so that a first
        # step is rounded like any other: a resumed run has its first step elsewhere.
        own = self._by_the_model(embedded)
        hidden = fused.step(embedded, self._positions, self._cache.attend_scaled)
        difference = float((hidden - own).abs().max() / own.abs().max())
        _agreed[self._language] = difference <= AGREEMENT
        if _agreed[self._language]:
            return hidden
        warnings.warn(
            f"{type(self._language).__name__}: the fused decoding step differs from the model by {difference:.1e} "
            "of its largest state; decoding by the model's own forward pass, which is slower",
            stacklevel=2,
        )
        self._fused = None
        return self._by_the_model(embedded)


def _fused(policy: Policy, language: Any, rows: int, positions: int) -> FusedDecoder | None:
    if policy.compute_dtype != torch.float32 or not _agreed.get(language, True) or not fits(language):
        return None
    return fuse(language, rows=rows, positions=positions)


@contextmanager
def cast_once(policy: Policy) -> Iterator[None]:
    """Within this block each weight of the language model is cast to the type that passes compute in once.

    A token is little work, and casting a weight costs more than multiplying a few rows with it. autocast keeps a cast
    until its outermost block ends, so that block is here, around all tokens, and not around each. It keeps casts of
    weights that want gradients alone, so frozen ones say that they do; none is computed in the block. The casts are
    held beside the weights for as long as the block lasts.
    """
    if policy.compute_dtype == torch.float32:
        yield
        return
    modules = [policy.family.language(policy.model), policy.model.get_output_embeddings()]
    weights = {id(one): one for module in modules for one in module.parameters()}.values()
    frozen = [one for one in weights if one.dtype == torch.float32 and not one.requires_grad]
    for one in frozen:
        one.requires_grad_(True)
    try:
        with torch.no_grad(), policy.precision():
            yield
    finally:
        for one in frozen:
            one.requires_grad_(False)


@contextmanager
def few_threads(policy: Policy, rows: int) -> Iterator[None]:
    """One thread while a step's products are so small that a second thread only waits and wakes; CPU only."""
    before = torch.get_num_threads()
    config = policy.family.language(policy.model).config
    largest = rows * config.hidden_size * 2 * getattr(config, "intermediate_size", 4 * config.hidden_size)
    if policy.device.type != "cpu" or largest > SMALL_PRODUCT:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
