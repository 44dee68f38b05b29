"""MPO steps of lane S through the product's preference loss and learner, on the fixed pairs that the peer trains on.

A pair's reference log-probs are computed once, before its step, and kept. That pass stands apart in the fields
`reference_once_wall` and `reference_once_cpu`, so that a reader may also count it into the step, as if a pair were
seen only once: the peer pays it in every step. It has a tower of its own, so that the step still preprocesses.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.configs import MPO_WEIGHTS, Config
from benchmarks.ours_grpo import problems_of
from benchmarks.ours_rounds import RoundClock, learner_of, load, recorded
from benchmarks.peer import read_lines
from vergence.loss.preference import MpoWeights
from vergence.model.batch import MICROBATCH_TOKENS
from vergence.model.policy import Policy, encode
from vergence.model.vision import CachedTower, LiveTower, Tower
from vergence.stages.mpo.objective import PairObjective, Quality, preference_objective
from vergence.stages.mpo.reference import with_reference
from vergence.stages.parts import logprobs_of
from vergence.stages.work import needed_by_pairs, work_done
from vergence.types import Completion, Finish, Floats, Ints, PreferencePair, Problem, Prompt, TrainingPair

SHIFT_DECAY = 0.9
"""The product's default for BCO's shift; the peer has none. It costs nothing either way."""


def completion(token_ids: Sequence[int] | Ints, logprobs: Floats | None = None) -> Completion:
    """A response that nobody sampled here, with log-probs of sampling where something stands for them."""
    ids = np.asarray(token_ids, dtype=np.int64)
    return Completion(ids, np.zeros(len(ids), np.float32) if logprobs is None else logprobs, Finish.STOP, 0, "")


def pair_of(prompt: Prompt, chosen: Completion, rejected: Completion) -> PreferencePair:
    """A pair that came from a file."""
    return PreferencePair(prompt, chosen, rejected, margin=1.0, source="file")


def referenced(pairs: Sequence[PreferencePair], policy: Policy, tower: Tower) -> tuple[TrainingPair, ...]:
    """The pairs with log-probs under the policy as it is now: its own are the reference's before the first step."""

    def logprobs(members: Sequence[tuple[Prompt, Completion]]) -> list[Floats]:
        return logprobs_of(policy, tower, members, temperature=1.0, microbatch_tokens=MICROBATCH_TOKENS)

    return with_reference(pairs, {}, logprobs).pairs


def objective_of_pairs(policy: Policy, tower: Tower, quality: Quality, beta: float) -> PairObjective:
    """The product's preference loss with the weights of both sides."""
    return preference_objective(
        policy,
        tower,
        quality=quality,
        beta=beta,
        weights=MpoWeights(*MPO_WEIGHTS),
        microbatch_tokens=MICROBATCH_TOKENS,
        check=lambda members: None,
    )


def run_mpo(config: Config, models: Path, clock: RoundClock) -> Callable[[int], None]:
    """Load everything; the answer trains for so many steps."""
    policy = load(config, models, clock)
    problems = problems_of(config, models)
    rows = read_lines(models / "data" / config.name / "pairs.jsonl")
    tower, learner = LiveTower(policy), learner_of(policy, clock)
    objective = objective_of_pairs(policy, tower, Quality(SHIFT_DECAY), config.beta)
    work = work_done([policy.meter], [tower])

    def places(step: int) -> list[int]:
        return [(step * config.prompts + place) % len(rows) for place in range(config.prompts)]

    def train(rounds: int) -> None:
        kept, costs = [], []
        for step in range(rounds):
            begun = time.perf_counter(), time.process_time()
            chosen = [read_pair(policy, problems[place], rows[place]) for place in places(step)]
            kept.append(referenced(chosen, policy, CachedTower(policy)))
            costs.append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
        for pairs, cost in zip(kept, costs, strict=True):
            clock.split.restart()
            clock.extra = dict(zip(("reference_once_wall", "reference_once_cpu"), cost, strict=True))
            # tokenised again: the peer's collator does it in every step
            prompts = [encode(policy, one.pair.prompt.problem) for one in pairs]
            current = [
                replace(one, pair=pair_of(prompt, one.pair.chosen, one.pair.rejected))
                for prompt, one in zip(prompts, pairs, strict=True)
            ]
            work(0)
            learner.update(recorded(objective(current), clock))
            asked = [one.pair for one in current]
            tokens = sum(len(one.token_ids) for pair in asked for one in (pair.chosen, pair.rejected))
            clock.extra |= {"trained_tokens": tokens, "optimizer_steps": 1}
            clock.extra |= work(needed_by_pairs((), asked))
            clock.take()

    return train


def read_pair(policy: Policy, problem: Problem, row: dict[str, Any]) -> PreferencePair:
    """A line of pairs.jsonl, with its prompt."""
    return pair_of(encode(policy, problem), completion(row["chosen_ids"]), completion(row["rejected_ids"]))
