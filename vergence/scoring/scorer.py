"""From groups to calibrated scores: distinct members, what is remembered of them, and the reward model for the rest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, final, runtime_checkable

import numpy as np

from vergence.errors import RunError
from vergence.model.reward_head import RAW, Calibration
from vergence.pairs.comparisons import Member
from vergence.scoring.members import keyed
from vergence.scoring.memory import Forgetful, Scores
from vergence.types import Doubles, RolloutGroup


@runtime_checkable
class RawScorer(Protocol):
    """A reward model, wherever it runs: members in, raw scores out."""

    def raw(self, members: Sequence[Member]) -> Doubles:
        """Members [N] -> raw scores [N]."""
        ...


@final
@dataclass(frozen=True, slots=True, eq=False)
class PreferenceScorer:
    """The `Scorer` of a run.

    Equal members are scored once, whether they lie in one group, in several or, with a memory, in earlier calls.
    """

    model: RawScorer
    calibration: Calibration = RAW
    memory: Scores = Forgetful()  # noqa: RUF009 - it has no state
    notes: tuple[str, ...] = ()
    """What a user should know of this reward model, e.g. that it sees no pictures; one sentence each."""
    close: Callable[[], None] = lambda: None
    """Ends what the reward model runs in, where that is not this process."""

    def uncalibrated(self) -> "PreferenceScorer":
        """The same scorer giving raw scores: the paper's plain sum. What is remembered is shared."""
        return replace(self, calibration=RAW)

    def scores(self, groups: Sequence[RolloutGroup]) -> list[Doubles]:
        """P groups to P arrays [G] of calibrated scores. Raises RunError where the model gives a score that is none."""
        keys, distinct = keyed(groups)
        remembered = {key: self.memory.get(key) for key in distinct}
        missing = [key for key, score in remembered.items() if score is None]
        fresh = self._computed({key: distinct[key] for key in missing}) if missing else {}
        self.memory.put(fresh)
        known = {key: score for key, score in remembered.items() if score is not None} | fresh
        return [self.calibration.apply(np.array([known[key] for key in row], dtype=np.float64)) for row in keys]

    def raw(self, members: Sequence[Member]) -> Doubles:
        """Raw scores [N] of single members, through the memory."""
        groups = [RolloutGroup(prompt, (completion,)) for prompt, completion in members]
        return np.array([scores[0] for scores in self.uncalibrated().scores(groups)], dtype=np.float64)

    def state_dict(self) -> dict[str, Any]:
        """What is remembered: it decides which members later steps compute together."""
        return self.memory.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self.memory.load_state_dict(state)

    def _computed(self, members: dict[str, Member]) -> dict[str, float]:
        scores = self.model.raw(list(members.values()))
        if len(scores) != len(members):
            raise RunError(f"the reward model gave {len(scores)} scores for {len(members)} responses")
        if not np.isfinite(scores).all():
            place = int(np.flatnonzero(~np.isfinite(scores))[0])
            prompt, _ = list(members.values())[place]
            raise RunError(
                f"the reward model scored a response to problem {prompt.problem.id} as {scores[place]}; scores must be "
                "finite"
            )
        return dict(zip(members, scores.tolist(), strict=True))
