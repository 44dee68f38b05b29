"""What a policy says of given completions: the forward pass that monitors share, without gradients."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from vergence.model.batch import collate, mapped, unpad
from vergence.model.forward import token_scores
from vergence.model.policy import Policy
from vergence.model.vision import Tower
from vergence.types import Completion, Floats, Prompt

Member = tuple[Prompt, Completion]


@dataclass(frozen=True, slots=True)
class Seen:
    """One completion as a policy judges it."""

    logprobs: Floats
    """[T]"""
    entropy: Floats
    """[T] of the distribution that each token was drawn from, in nats."""


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """A policy that looks through a tower."""

    policy: Policy
    tower: Tower
    temperature: float
    microbatch_tokens: int
    weights: Callable[[], AbstractContextManager[None]] = nullcontext
    """With which weights it reads: its own of that moment, or a copy's (`WeightsCopy.in_place`)."""

    @torch.no_grad()
    def __call__(self, members: Sequence[Member]) -> list[Seen]:
        """One answer for each completion, in passes of about equal size; none for none."""

        def compute(part: Sequence[Member]) -> list[Seen]:
            batch = collate(part, self.policy.device)
            scores = token_scores(self.policy, batch, temperature=self.temperature, tower=self.tower)
            rows = zip(unpad(scores.logprobs, batch.mask), unpad(scores.entropy, batch.mask), strict=True)
            return [Seen(logprobs, entropy) for logprobs, entropy in rows]

        with self.weights():
            return mapped(members, self.microbatch_tokens, compute)


def spread_over(groups: Sequence[tuple[Prompt, Sequence[Completion]]], count: int) -> list[Member]:
    """At most `count` completions of problems with pictures.

    One of each group before the second of any, so that few completions still see many pictures.
    """
    longest = max((len(completions) for _, completions in groups), default=0)
    members = [
        (prompt, completions[index])
        for index in range(longest)
        for prompt, completions in groups
        if prompt.problem.images and index < len(completions)
    ]
    return members[:count]
