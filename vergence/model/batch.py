"""Sequences as tensors: P prompts once, B completions that point at them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vergence.types import Completion, Floats, ImageRef, Prompt


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one forward pass reads.

    Example: two prompts with 3 and 1 completions give P = 2, B = 4 and `owner = [0, 0, 0, 1]`.
    """

    prompt_ids: Int[Tensor, "P S"]
    """Padded on the left, so that every prompt ends in the last column."""
    prompt_mask: Bool[Tensor, "P S"]
    images: tuple[ImageRef, ...]
    """Of all prompts, in order; one copy each."""
    owner: Int[Tensor, "B"]
    """Which prompt a completion belongs to."""
    token_ids: Int[Tensor, "B T"]
    """Completions, padded on the right."""
    mask: Bool[Tensor, "B T"]
    """True on completion tokens."""


def collate_prompts(prompts: Sequence[Prompt], device: torch.device) -> tuple[Int[Tensor, "P S"], Bool[Tensor, "P S"]]:
    """Left-padded ids and their mask."""
    width = max(len(prompt.token_ids) for prompt in prompts)
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros(len(prompts), width, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt.token_ids) :] = torch.from_numpy(prompt.token_ids)
        mask[row, width - len(prompt.token_ids) :] = True
    return ids.to(device), mask.to(device)


def collate(members: Sequence[tuple[Prompt, Completion]], device: torch.device) -> Batch:
    """One batch of completions; prompts that are one object occur once in it."""
    prompts: dict[int, tuple[int, Prompt]] = {}
    for prompt, _ in members:
        prompts.setdefault(id(prompt), (len(prompts), prompt))
    unique = [prompt for _, prompt in prompts.values()]
    prompt_ids, prompt_mask = collate_prompts(unique, device)
    lengths = torch.tensor([len(completion.token_ids) for _, completion in members])
    return Batch(
        prompt_ids=prompt_ids,
        prompt_mask=prompt_mask,
        images=tuple(image for prompt in unique for image in prompt.problem.images),
        owner=torch.tensor([prompts[id(prompt)][0] for prompt, _ in members], device=device),
        token_ids=pad([completion.token_ids for _, completion in members]).to(device),
        mask=(torch.arange(int(lengths.max())) < lengths[:, None]).to(device),
    )


def pad(rows: Sequence[np.ndarray] | Sequence[Floats]) -> Tensor:
    """Rows of different lengths as one tensor, zeros on the right."""
    width = max(len(row) for row in rows)
    out = np.zeros((len(rows), width), dtype=rows[0].dtype)
    for index, row in enumerate(rows):
        out[index, : len(row)] = row
    return torch.from_numpy(out)


def unpad(values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> list[Floats]:
    """The rows of a padded tensor, each at its own length."""
    lengths = mask.sum(1).tolist()
    return [row[:length].copy() for row, length in zip(values.float().cpu().numpy(), lengths, strict=True)]
