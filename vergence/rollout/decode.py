"""Sampling completions: each prompt and its pictures are computed once, and finished rows are dropped from the work.

Random numbers come from (seed, problem id, completion index), so a completion does not depend on what else is in its
batch, apart from rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vergence.model.policy import Policy
from vergence.model.response import ResponseText
from vergence.model.vision import Tower
from vergence.rollout.choice import chooser, shaping
from vergence.rollout.decoder import GroupDecoder, cast_once, few_threads
from vergence.seeds import generator
from vergence.types import Completion, Finish, Floats, Ints, Prompt, RolloutGroup, Sampling

FINISHED_SHARE = 8
"""Finished rows are dropped as soon as they are one in so many: few copies, little idle work."""


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
    decoder = GroupDecoder(policy, prompts, tower, sampling)
    with cast_once(policy), few_threads(policy, len(prompts) * sampling.num_completions):
        grown = _grow(policy, decoder, prompts, sampling, _noise(prompts, sampling, seed))
    texts = ResponseText(policy).batch(
        [ids[:length] for ids, length in zip(grown.token_ids, grown.lengths, strict=True)]
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
    """One uniform number for every token that may come."""
    if sampling.temperature == 0.0:
        return torch.zeros(len(prompts) * sampling.num_completions, sampling.max_new_tokens, dtype=torch.float64)
    rows = [
        generator(seed, prompt.problem.id, index).random(sampling.max_new_tokens)
        for prompt in prompts
        for index in range(sampling.num_completions)
    ]
    return torch.from_numpy(np.stack(rows))


def _grow(
    policy: Policy,
    decoder: GroupDecoder,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    noise: Float[Tensor, "B T"],
) -> _Grown:
    device, size = policy.device, sampling.num_completions
    shape, choose = shaping(sampling), chooser(sampling)
    seen = _seen(decoder.vocabulary if shape else 0, prompts, size, device)
    noise, ends = noise.to(device), torch.tensor(policy.end_token_ids, device=device)

    count = len(prompts) * size
    token_ids = torch.zeros(count, sampling.max_new_tokens, dtype=torch.long, device=device)
    logprobs = torch.zeros(count, sampling.max_new_tokens, dtype=torch.float32, device=device)
    lengths = torch.full((count,), sampling.max_new_tokens, device=device)
    rows = torch.arange(count, device=device)
    """The decoder's rows, by their place in the answer."""
    for step in range(sampling.max_new_tokens):
        logits = decoder.logits()
        chosen, normaliser = choose(logits if shape is None else shape(logits, seen[rows]), noise[rows, step])
        token_ids[rows, step] = chosen
        own = normaliser if shape is None else logits.logsumexp(-1)
        logprobs[rows, step] = (logits.gather(1, chosen[:, None])[:, 0] - own).to(logprobs.dtype)
        if shape is not None:
            seen[rows, chosen] = True
        # a finished row may still be computed for a while; the first end token counts
        ended = torch.isin(chosen, ends) & (lengths[rows] > step)
        lengths[rows[ended]] = lengths[rows[ended]].clamp(max=step + 1)
        if step + 1 == sampling.max_new_tokens:
            break
        running = lengths[rows] > step + 1
        left = int(running.sum())
        if left == 0:
            break
        if (len(rows) - left) * FINISHED_SHARE >= len(rows):
            kept = running.nonzero()[:, 0]
            decoder.keep(kept)
            rows, chosen = rows[kept], chosen[kept]
        decoder.append(chosen)
    last = token_ids.gather(1, lengths[:, None] - 1)[:, 0]
    return _Grown(
        token_ids.cpu().numpy(), logprobs.cpu().numpy(), lengths.cpu().numpy(), torch.isin(last, ends).cpu().numpy()
    )


def _seen(vocabulary: int, prompts: Sequence[Prompt], size: int, device: torch.device) -> Tensor:
    """[B, V] which tokens occur in each row's prompt; nobody asks where the vocabulary is empty."""
    seen = torch.zeros(len(prompts) * size, vocabulary, dtype=torch.bool, device=device)
    for index, prompt in enumerate(prompts if vocabulary else ()):
        seen[index * size : (index + 1) * size, torch.from_numpy(prompt.token_ids).to(device)] = True
    return seen
