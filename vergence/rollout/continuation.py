"""Responses that are begun by somebody else and continued by the policy, perhaps without seeing the picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vergence.model.policy import Policy
from vergence.model.vision import Tower
from vergence.rollout.decode import sample_groups
from vergence.types import Completion, Finish, Ints, Prompt, RolloutGroup, Sampling

MAX_ROWS = 1024
"""Continuations that are decoded at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Beginning:
    """A prompt and the first tokens of a response to it."""

    prompt: Prompt
    token_ids: Ints
    """[N] at least one."""

    def as_prompt(self) -> Prompt:
        """The beginning as part of the prompt: what follows is drawn as a completion of this.

        The tokens take the positions that a completion's tokens would take, on every axis, and pictures stay where they
        are, so the policy computes exactly what it would compute behind these tokens of its own.
        """
        prompt = self.prompt
        count = len(self.token_ids)
        following = prompt.positions.max() + 1 + np.arange(count)
        positions = np.concatenate([prompt.positions, np.tile(following, (len(prompt.positions), 1))], axis=1)
        return Prompt(prompt.problem, np.concatenate([prompt.token_ids, self.token_ids]), positions)


def continue_responses(
    policy: Policy, tower: Tower, beginnings: Sequence[Beginning], sampling: Sampling, *, seed: int, version: int
) -> list[RolloutGroup]:
    """One continuation of each beginning, as groups of one: the beginning as a prompt, and the tokens that follow it.

    A whole response is held to `sampling.max_new_tokens`: see `joined`. `sampling.num_completions` is not read. Two
    beginnings of one problem would be given the same random numbers: call this once for each of them.
    """
    groups: list[RolloutGroup] = []
    for first in range(0, len(beginnings), MAX_ROWS):
        some = beginnings[first : first + MAX_ROWS]
        room = sampling.max_new_tokens - min(len(one.token_ids) for one in some)
        groups += sample_groups(
            policy,
            [one.as_prompt() for one in some],
            replace(sampling, num_completions=1, max_new_tokens=max(1, room)),
            tower,
            seed=seed,
            version=version,
        )
    return groups


def joined(
    text_of: Callable[[Ints], str], beginning: Beginning, group: RolloutGroup, *, max_new_tokens: int
) -> Completion:
    """Beginning and continuation as one response of at most `max_new_tokens` tokens; `text_of` reads its tokens.

    Its log-probs are 0.0 throughout: what they should be depends on who is asked, with the picture or without.
    """
    (continuation,) = group.completions
    whole = np.concatenate([beginning.token_ids, continuation.token_ids])
    ids = whole[:max_new_tokens].astype(np.int64)
    return Completion(
        token_ids=ids,
        sampler_logprobs=np.zeros(len(ids), dtype=np.float32),
        finish=continuation.finish if len(ids) == len(whole) else Finish.LENGTH,
        policy_version=continuation.policy_version,
        text=text_of(ids),
    )
