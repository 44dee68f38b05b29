"""Sampling completions: each prompt is computed once, and finished rows are dropped from the work.

Random numbers come from (seed, problem id, completion index), so a completion does not depend on what else is in its
batch, apart from rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vergence.model.batch import collate_prompts
from vergence.model.forward import continue_from, distribution, run_prompts
from vergence.model.policy import Policy
from vergence.model.vision import Tower
from vergence.seeds import generator
from vergence.types import Completion, Finish, Floats, Ints, Prompt, RolloutGroup, Sampling


@dataclass(frozen=True, slots=True, eq=False)
class _Grown:
    """Rows after decoding, still rectangular."""

    token_ids: Ints
    """[B, T], arbitrary after the row's length."""
    logprobs: Floats
    """[B, T]"""
    lengths: Ints
    """[B]"""
    stopped: np.ndarray
    """[B] whether the end token came."""


@torch.no_grad()
def sample_groups(
    policy: Policy, prompts: Sequence[Prompt], sampling: Sampling, tower: Tower, *, seed: int, version: int
) -> list[RolloutGroup]:
    """P prompts to P groups of G completions."""
    grown = _grow(policy, prompts, sampling, tower, _noise(prompts, sampling, seed))
    texts = policy.tokenizer.batch_decode(
        [ids[:length] for ids, length in zip(grown.token_ids, grown.lengths, strict=True)],
        skip_special_tokens=True,
    )
    completions = [
        Completion(
            token_ids=grown.token_ids[row, : grown.lengths[row]].copy(),
            sampler_logprobs=grown.logprobs[row, : grown.lengths[row]].copy(),
            finish=Finish.STOP if grown.stopped[row] else Finish.LENGTH,
            policy_version=version,
            text=texts[row],
        )
        for row in range(len(texts))
    ]
    size = sampling.num_completions
    return [
        RolloutGroup(prompt, tuple(completions[index * size : (index + 1) * size]))
        for index, prompt in enumerate(prompts)
    ]


def _noise(prompts: Sequence[Prompt], sampling: Sampling, seed: int) -> Float[Tensor, "B T"]:
    """One uniform number for every token that may come; none are needed to be greedy."""
    width = sampling.max_new_tokens if sampling.temperature > 0 else 0
    rows = [
        generator(seed, prompt.problem.id, index).random(width)
        for prompt in prompts
        for index in range(sampling.num_completions)
    ]
    return torch.from_numpy(np.stack(rows))


def _grow(
    policy: Policy, prompts: Sequence[Prompt], sampling: Sampling, tower: Tower, noise: Float[Tensor, "B T"]
) -> _Grown:
    device = policy.device
    ids, mask = collate_prompts(prompts, device)
    prefix = run_prompts(
        policy, ids, mask, tuple(image for prompt in prompts for image in prompt.problem.images), tower
    )
    rows = len(prompts) * sampling.num_completions
    owner = torch.arange(len(prompts), device=device).repeat_interleave(sampling.num_completions)
    cache, hidden = prefix.cache, prefix.last[owner]
    cache.batch_select_indices(owner)
    attention = None if bool(mask.all()) else mask[owner].long()
    position = mask.sum(1)[owner]

    token_ids = np.zeros((rows, sampling.max_new_tokens), dtype=np.int64)
    logprobs = np.zeros((rows, sampling.max_new_tokens), dtype=np.float32)
    lengths = np.zeros(rows, dtype=np.int64)
    stopped = np.zeros(rows, dtype=bool)
    alive = torch.arange(rows, device=device)
    ends = torch.tensor(policy.end_token_ids, device=device)

    for step in range(sampling.max_new_tokens):
        spread = distribution(policy, hidden, sampling.temperature)
        chosen = choose(spread, noise[alive.cpu(), step : step + 1].to(device), sampling.temperature)
        places = alive.cpu().numpy()
        token_ids[places, step] = chosen.cpu().numpy()
        logprobs[places, step] = spread.gather(1, chosen[:, None])[:, 0].cpu().numpy()
        lengths[places] = step + 1
        ended = torch.isin(chosen, ends)
        stopped[alive[ended].cpu().numpy()] = True
        going = (~ended).nonzero()[:, 0]
        if len(going) == 0 or step + 1 == sampling.max_new_tokens:
            break
        if len(going) < len(alive):
            alive, chosen, position = alive[going], chosen[going], position[going]
            attention = None if attention is None else attention[going]
            cache.batch_select_indices(going)
        if attention is not None:
            attention = torch.cat([attention, attention.new_ones(len(alive), 1)], dim=1)
        embedded = policy.model.get_input_embeddings()(chosen[:, None])
        hidden = continue_from(policy, cache, embedded, position[:, None], attention)[:, -1]
        position = position + 1
    return _Grown(token_ids, logprobs, lengths, stopped)


def choose(logprobs: Float[Tensor, "B V"], uniform: Float[Tensor, "B U"], temperature: float) -> Int[Tensor, "B"]:
    """The most likely token when greedy, else the inverse of the cumulative distribution at `uniform`."""
    if temperature == 0.0:
        return logprobs.argmax(-1)
    cumulative = logprobs.double().exp().cumsum(-1)
    # scaled by the total, so that rounding can never point past the last token of positive probability
    return torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)[:, 0].clamp(
        max=logprobs.shape[-1] - 1
    )
