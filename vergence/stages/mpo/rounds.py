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
from vergence.types import Completion, Generator, PreferencePair, Prompt, Reward, RolloutGroup, Sampling, ScoredGroup

AtUnitTemperature = Callable[[Sequence[RolloutGroup]], Sequence[RolloutGroup]]
"""Groups with log-probs at the sampling temperature -> the same with log-probs at temperature 1."""
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
        at_unit_temperature: AtUnitTemperature,
        reward: Reward,
        candidates: Callable[[Sequence[ScoredGroup]], list[list[PreferencePair]]],
        complete: Continue,
        pairing: Pairing,
    ) -> None:
        self._run = run
        self._problems = problems
        self._prompts = prompts
        self._generator = generator
        self._sampling = sampling
        self._at_unit_temperature = at_unit_temperature
        self._reward = reward
        self._candidates = candidates
        self._complete = complete
        self._pairing = pairing

    def begin(self, round_: int, version: int) -> Round:
        """A round of its own prompts."""
        run = self._run
        problems = self._problems.take(round_, self._prompts)
        with run.clock.phase("generate"):
            groups = self._generator.generate(
                problems, self._sampling, seed=run.seed(round_, "rollout"), version=version
            )
        with run.clock.phase("reward"):
            plain = self._at_unit_temperature(groups)
            scored = self._reward(plain)
        continued = self._complete(scored, run.seed(round_, "dropout"), version)
        candidates = [[*made, *more] for made, more in zip(self._candidates(scored), continued.pairs, strict=True)]
        harvest = self._pairing(candidates, generator(run.seed(round_, "pairs")))
        again = () if plain is groups else [(group.prompt, one) for group in plain for one in group.completions]
        return Round(scored, [*groups, *continued.generated], [*again, *continued.rescored], harvest)


def by_prompt(members: Sequence[tuple[Prompt, Completion]]) -> list[RolloutGroup]:
    """Members as groups, so that each prompt is counted once."""
    prompts = {prompt.key: prompt for prompt, _ in members}
    completions: dict[tuple[str, bytes], list[Completion]] = {key: [] for key in prompts}
    for prompt, completion in members:
        completions[prompt.key].append(completion)
    return [RolloutGroup(prompts[key], tuple(some)) for key, some in completions.items()]
