"""Where a round's pairs come from: sampled and scored, by the policy as the round finds it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

import numpy as np

from vergence.data.problems import Problems
from vergence.pairs.harvest import PairHarvest
from vergence.run.stage_run import StageRun
from vergence.seeds import generator
from vergence.stages.mpo.blind import Continue
from vergence.stages.mpo.reference import Known, Logprobs, with_reference
from vergence.types import (
    Completion,
    Generator,
    PreferencePair,
    Prompt,
    Reward,
    RolloutGroup,
    Sampling,
    ScoredGroup,
    TrainingPair,
)

Pairing = Callable[[Sequence[Sequence[PreferencePair]], np.random.Generator], PairHarvest]
"""Each prompt's candidates -> the pairs that are kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """What a round begins with."""

    scored: Sequence[ScoredGroup]
    generated: Sequence[RolloutGroup]
    """Everything that was sampled for it."""
    rescored: Sequence[tuple[Prompt, Completion]]
    """What went forward once more, for the reference's log-probs."""
    harvest: PairHarvest
    pairs: tuple[TrainingPair, ...]
    """Those of the harvest, with their reference log-probs."""


@runtime_checkable
class Rounds(Protocol):
    """Makes the pairs of a round."""

    def begin(self, round_: int, version: int) -> Round:
        """The round's pairs; `version` is the policy's number now."""
        ...


@final
class SampledRounds:
    """problems -> rollout -> reward -> pairs."""

    def __init__(
        self,
        run: StageRun,
        *,
        problems: Problems,
        prompts: int,
        generator: Generator,
        sampling: Sampling,
        reward: Reward,
        candidates: Callable[[Sequence[ScoredGroup]], list[list[PreferencePair]]],
        complete: Continue,
        pairing: Pairing,
        known: Known,
        logprobs: Logprobs,
    ) -> None:
        self._run = run
        self._problems = problems
        self._prompts = prompts
        self._generator = generator
        self._sampling = sampling
        self._reward = reward
        self._candidates = candidates
        self._complete = complete
        self._pairing = pairing
        self._known = known
        self._logprobs = logprobs

    def begin(self, round_: int, version: int) -> Round:
        """A round of its own prompts."""
        run = self._run
        problems = self._problems.take(round_, self._prompts)
        with run.clock.phase("generate"):
            groups = self._generator.generate(
                problems, self._sampling, seed=run.seed(round_, "rollout"), version=version
            )
        with run.clock.phase("reward"):
            scored = self._reward(groups)
        continued = self._complete(scored, run.seed(round_, "dropout"), version)
        candidates = [[*made, *more] for made, more in zip(self._candidates(scored), continued.pairs, strict=True)]
        harvest = self._pairing(candidates, generator(run.seed(round_, "pairs")))
        with run.clock.phase("reference"):
            referenced = with_reference(harvest.pairs, self._known(groups), self._logprobs)
        generated = [*groups, *continued.generated]
        return Round(scored, generated, referenced.computed, harvest, referenced.pairs)


def by_prompt(members: Sequence[tuple[Prompt, Completion]]) -> list[RolloutGroup]:
    """Members as groups, so that each prompt is counted once."""
    prompts = {prompt.key: prompt for prompt, _ in members}
    completions: dict[tuple[str, bytes], list[Completion]] = {key: [] for key in prompts}
    for prompt, completion in members:
        completions[prompt.key].append(completion)
    return [RolloutGroup(prompts[key], tuple(some)) for key, some in completions.items()]
