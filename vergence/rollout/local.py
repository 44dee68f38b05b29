"""The generator that runs in this process, on the learner's own weights."""

from collections.abc import Sequence
from typing import final

from vergence.model.policy import Policy, encode
from vergence.model.vision import Tower
from vergence.rollout.decode import sample_groups
from vergence.types import Problem, Prompt, RolloutGroup, Sampling


@final
class LocalGenerator:
    """Samples with the policy as it is at the moment of the call; nothing needs to be published to it."""

    def __init__(self, policy: Policy, tower: Tower, *, max_rows: int = 1024) -> None:
        self._policy = policy
        self._tower = tower
        self._max_rows = max_rows
        self._prompts: dict[str, Prompt] = {}

    def generate(
        self, problems: Sequence[Problem], sampling: Sampling, *, seed: int, version: int
    ) -> list[RolloutGroup]:
        """P problems to P groups of G, at most `max_rows` completions at a time."""
        size = max(1, self._max_rows // sampling.num_completions)
        groups: list[RolloutGroup] = []
        for first in range(0, len(problems), size):
            prompts = [self._encoded(problem) for problem in problems[first : first + size]]
            groups += sample_groups(self._policy, prompts, sampling, self._tower, seed=seed, version=version)
        return groups

    def _encoded(self, problem: Problem) -> Prompt:
        if problem.id not in self._prompts:
            self._prompts[problem.id] = encode(self._policy, problem)
        return self._prompts[problem.id]
