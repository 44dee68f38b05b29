"""Continuations without the picture, as the rejected side of preference pairs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vergence.clock import Clock
from vergence.model.policy import Policy
from vergence.model.response import ResponseText
from vergence.model.vision import AblatedTower, grey_view
from vergence.pairs.dropout import Begun, Good, dropout_pair, first_half, responses_to_continue
from vergence.pairs.rules import Scores
from vergence.rollout.continuation import Beginning, continue_responses, joined
from vergence.seeds import generator, seed_of
from vergence.types import Completion, PreferencePair, Reward, RolloutGroup, Sampling, ScoredGroup, Verdict


@dataclass(frozen=True, slots=True, eq=False)
class Continued:
    """What blind continuations add to a round."""

    pairs: Sequence[Sequence[PreferencePair]]
    """For each group, its candidates of source dropout."""
    generated: Sequence[RolloutGroup]
    """What was sampled: beginnings as prompts, one completion each."""


Continue = Callable[[Sequence[ScoredGroup], int, int], Continued]
"""(scored groups, seed, policy version) -> what continuations add to them."""
Margins = Callable[[Sequence[ScoredGroup], Sequence[Begun], Sequence[ScoredGroup]], list[float]]
"""(scored groups, which of their responses were continued, the scored continuations) -> how much better each original
is."""


def no_continuations(groups: Sequence[ScoredGroup], seed: int, version: int) -> Continued:
    """Source dropout is off."""
    return Continued([()] * len(groups), ())


def unmeasured(groups: Sequence[ScoredGroup], begun: Sequence[Begun], blind: Sequence[ScoredGroup]) -> list[float]:
    """Nobody measures: the original has seen the picture, so it is infinitely better."""
    return [math.inf] * len(begun)


def measured_by(scores: Scores) -> Margins:
    """The gap of the preference scores."""

    def margins(groups: Sequence[ScoredGroup], begun: Sequence[Begun], blind: Sequence[ScoredGroup]) -> list[float]:
        return [
            float(scores(groups[one.group])[one.place] - scores(scored)[0])
            for one, scored in zip(begun, blind, strict=True)
        ]

    return margins


def is_wrong(continuation: ScoredGroup) -> bool:
    """Whether a continuation answers wrong: one that guesses right, or could not be judged, is no worse response."""
    return continuation.grades[0].verdict is Verdict.WRONG


def anything(continuation: ScoredGroup) -> bool:
    """Where nobody knows the right answers, any continuation is worse."""
    return True


def blind_continuations(
    policy: Policy,
    *,
    sampling: Sampling,
    good: Good,
    worse: Callable[[ScoredGroup], bool],
    count: int,
    reward: Reward,
    margins: Margins,
    clock: Clock,
) -> Continue:
    """`count` good responses of each prompt against their first halves, continued in front of a grey picture.

    `worse` says of a scored continuation whether it may be rejected.
    A rejected response comes without log-probs: sampling had half of it given, and did not see the picture.
    """
    view = AblatedTower(policy, grey_view)

    def write(groups: Sequence[ScoredGroup], some: Sequence[Begun], seed: int, version: int) -> list[_Written]:
        beginnings = [_beginning(groups[one.group], one) for one in some]
        drawn = continue_responses(policy, view, beginnings, sampling, seed=seed, version=version)
        text_of = ResponseText(policy)
        return [
            _Written(one, group, joined(text_of, start, group, max_new_tokens=sampling.max_new_tokens))
            for one, start, group in zip(some, beginnings, drawn, strict=True)
        ]

    def complete(groups: Sequence[ScoredGroup], seed: int, version: int) -> Continued:
        begun = responses_to_continue(groups, good, count, generator(seed, "responses"))
        written: list[_Written] = []
        with clock.phase("generate"):
            for turn in sorted({one.turn for one in begun}):
                some = [one for one in begun if one.turn == turn]
                written += write(groups, some, seed_of(seed, "turn", turn), version)
        if not written:
            return no_continuations(groups, seed, version)
        with clock.phase("reward"):
            scored = reward([RolloutGroup(groups[one.begun.group].group.prompt, (one.whole,)) for one in written])
            gaps = margins(groups, [one.begun for one in written], scored)
        pairs: list[list[PreferencePair]] = [[] for _ in groups]
        for one, continuation, gap in zip(written, scored, gaps, strict=True):
            if worse(continuation):
                group = continuation.group
                chosen = groups[one.begun.group].group.completions[one.begun.place]
                pairs[one.begun.group].append(dropout_pair(group.prompt, chosen, group.completions[0], gap))
        return Continued(pairs, [one.sampled for one in written])

    return complete


@dataclass(frozen=True, slots=True, eq=False)
class _Written:
    begun: Begun
    sampled: RolloutGroup
    whole: Completion


def _beginning(scored: ScoredGroup, one: Begun) -> Beginning:
    return Beginning(scored.group.prompt, first_half(scored.group.completions[one.place]))
