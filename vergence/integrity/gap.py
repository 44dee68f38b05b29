"""Whether sampling and training see the same: the gap between the log-probs of the two.

    gap(y)   mean over the tokens of y of |log p_sampler(y_t) - log p_other(y_t)|, in nats

The sampler's are those that came with the completion. The others are computed anew under the same weights, in one of
two ways. An examination computes a few sequences alone, through the model's ordinary attention, with pictures that are
read again. The first update of every step has the learner's own log-probs at hand, before any weight has changed, and
costs nothing more (verl logs the same as `training/rollout_probs_diff_mean`, of probabilities; TRL as
`sampling/sampling_logp_difference/mean`). Rounding is all that may lie between them. Where a picture was lost on the
way to one of the two, gaps of whole nats stand, and rewards look well for a long time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vergence.errors import IntegrityError
from vergence.model.plain import plain_logprobs
from vergence.model.policy import Policy, encode
from vergence.model.vision import Tower
from vergence.monitor.swap import swapped
from vergence.types import Completion, Floats, Metrics, Prompt

SEEN = 1e-7
"""Nats; a picture that changes no log-prob by more than this does not reach the model at all."""


@dataclass(frozen=True, slots=True, eq=False)
class Towers:
    """Three ways of looking, none of which remembers anything."""

    fresh: Tower
    """At the picture."""
    blank: Tower
    """At a grey one in its place."""


def gap_of(completion: Completion, logprobs: Floats) -> float:
    """gap(y) of one completion, nats a token; `logprobs` [T] under the same weights, from another computation."""
    return float(np.abs(logprobs - completion.sampler_logprobs).mean())


def check_mean_gap(members: Sequence[tuple[Prompt, Completion]], gaps: Sequence[float], red_line: float) -> None:
    """Raise IntegrityError naming the worst completion if the mean of the gaps of several is above the red line.

    Of the mean and not of the worst, since each step asks for all of its completions: in bfloat16 one token among
    thousands may be off by that much.
    """
    mean = float(np.mean(gaps))
    if not mean <= red_line:
        worst = members[int(np.argmax(gaps))][0].problem.id
        raise IntegrityError(
            f"log-probs of sampling and of the learner differ by {mean:.2g} nats a token in the mean over "
            f"{len(gaps)} completions, most in problem {worst}, expected at most integrity.red_line = {red_line:g}; "
            "the two do not see the same prompt or picture, or do not compute alike (compute.dtype)"
        )


@torch.no_grad()
def check_gap(
    policy: Policy,
    members: Sequence[tuple[Prompt, Completion]],
    fresh: Tower,
    *,
    temperature: float,
    red_line: float,
) -> Metrics:
    """The gaps of completions that the policy has sampled as it is now.

    Raises IntegrityError naming the worst if its gap is above the red line.
    """
    if not members:
        return {}
    gaps = []
    for prompt, completion in members:
        trained = plain_logprobs(policy, prompt, completion, temperature=temperature, tower=fresh)
        gaps.append(gap_of(completion, trained.float().cpu().numpy()))
    worst = int(np.argmax(gaps))
    if not gaps[worst] <= red_line:
        raise IntegrityError(
            f"vision integrity, problem {members[worst][0].problem.id}: log-probs of sampling and of training differ "
            f"by {gaps[worst]:.2g} nats a token, the red line is {red_line:g}; the two do not see the same prompt or "
            "picture, or do not compute alike"
        )
    return {"integrity/gap": float(np.mean(gaps)), "integrity/gap_max": gaps[worst]}


@torch.no_grad()
def check_looking(
    policy: Policy, members: Sequence[tuple[Prompt, Completion]], towers: Towers, *, temperature: float
) -> Metrics:
    """How much a grey picture, and another problem's, change the log-probs of what was answered.

    Raises IntegrityError if neither changes any of them: the pictures then do not reach the model.
    """
    pictured = [(prompt, completion) for prompt, completion in members if prompt.problem.images]
    if not pictured:
        return {}

    def logprobs(prompt: Prompt, completion: Completion, tower: Tower) -> np.ndarray:
        found: np.ndarray = (
            plain_logprobs(policy, prompt, completion, temperature=temperature, tower=tower).float().cpu().numpy()
        )
        return found

    true = {id(completion): logprobs(prompt, completion, towers.fresh) for prompt, completion in pictured}
    blank = [
        np.abs(true[id(completion)] - logprobs(prompt, completion, towers.blank)) for prompt, completion in pictured
    ]
    metrics = {"integrity/blank_gap": _mean(blank)}
    completions = {prompt.problem.id: completion for prompt, completion in reversed(pictured)}
    pairs = swapped(list({prompt.problem.id: prompt.problem for prompt, _ in pictured}.values()))
    others = [
        np.abs(true[id(completions[own.id])] - logprobs(encode(policy, other), completions[own.id], towers.fresh))
        for own, other in pairs
    ]
    if others:
        metrics["integrity/swap_gap"] = _mean(others)
    largest = max(float(one.max(initial=0.0)) for one in [*blank, *others])
    if largest <= SEEN:
        names = ", ".join(dict.fromkeys(prompt.problem.id for prompt, _ in pictured))
        raise IntegrityError(
            f"vision integrity, problems {names:.200}: no log-prob of their answers changes when the picture is "
            "grey or another problem's; the pictures do not reach the model: check its adapter and its chat template"
        )
    return metrics


def _mean(arrays: Sequence[np.ndarray]) -> float:
    return float(np.mean(np.concatenate(arrays)))
