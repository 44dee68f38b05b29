"""Advantages of kept samples: as they were stored, or made anew in the mixed group of their prompt."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
import torch

from vergence.advantage.scaling import Advantage
from vergence.buffer.entries import Entry
from vergence.types import Doubles, JudgedGroup, Prompt, RolloutGroup, ScoredGroup


@runtime_checkable
class KeptAdvantages(Protocol):
    """What the advantages of kept samples are before each draw."""

    def renew(self, entries: Sequence[Entry], judged: Sequence[JudgedGroup], version: int) -> list[Entry]:
        """The kept entries with the advantages that hold now; `judged` are the groups of this step."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What must outlast the step."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        ...


@final
class StaleAdvantages:
    """A sample keeps the advantage it was stored with (VL-Rethinker's SSR)."""

    def renew(self, entries: Sequence[Entry], judged: Sequence[JudgedGroup], version: int) -> list[Entry]:
        """The entries as they are."""
        return list(entries)

    def state_dict(self) -> dict[str, Any]:
        """It has no state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""


Key = tuple[str, bytes]
"""`Prompt.key`."""


@dataclass(frozen=True, slots=True, eq=False)
class _Rewarded:
    """What the advantages of a group are made of, without its completions."""

    version: int
    components: dict[str, Doubles]
    terms: dict[str, Doubles]
    rule_rewards: Doubles
    rewards: Doubles


@final
class MixedAdvantages:
    """The advantage within all completions of the prompt that are known now (in the spirit of RePO and ExGRPO).

        A_i = advantage of r_i within the rewards of every group of the same prompt that was sampled at most `max_age`
              policy versions ago, this step's included

    Rewards of whole groups are remembered, so that neither eviction nor a group without any advantage changes what is
    known of a prompt. Where the prompt was sampled once, the mixed group is the sample's own group and the advantage
    is the stored one. Priorities follow the renewed advantage: a prompt that has been mastered fades out of the draw.
    """

    def __init__(self, advantage: Advantage, max_age: int) -> None:
        """`advantage` must treat each group by itself; one that looks at the whole batch has no meaning here."""
        self._advantage = advantage
        self._max_age = max_age
        self._known: dict[Key, list[_Rewarded]] = {}

    def renew(self, entries: Sequence[Entry], judged: Sequence[JudgedGroup], version: int) -> list[Entry]:
        """The entries, with advantages in the mixed groups of their prompts."""
        self._note(judged, version)
        mixed = {entry.samples[0].prompt.key: entry.samples[0].prompt for entry in entries}
        advantages = dict(zip(mixed, self._advantage([self._mixed(one) for one in mixed.values()]), strict=True))
        return [self._renewed(entry, advantages[entry.samples[0].prompt.key]) for entry in entries]

    def state_dict(self) -> dict[str, Any]:
        """The rewards of every group that is young enough."""
        return {
            "known": [
                {
                    "problem": problem,
                    "tokens": torch.from_numpy(np.frombuffer(tokens, dtype=np.uint8).copy()),
                    "version": one.version,
                    "components": {name: torch.from_numpy(values) for name, values in one.components.items()},
                    "terms": {name: torch.from_numpy(values) for name, values in one.terms.items()},
                    "rule_rewards": torch.from_numpy(one.rule_rewards),
                    "rewards": torch.from_numpy(one.rewards),
                }
                for (problem, tokens), groups in self._known.items()
                for one in groups
            ]
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self._known = {}
        for row in state["known"]:
            rewarded = _Rewarded(
                row["version"],
                {name: values.numpy() for name, values in row["components"].items()},
                {name: values.numpy() for name, values in row["terms"].items()},
                row["rule_rewards"].numpy(),
                row["rewards"].numpy(),
            )
            self._known.setdefault((row["problem"], row["tokens"].numpy().tobytes()), []).append(rewarded)

    def _note(self, judged: Sequence[JudgedGroup], version: int) -> None:
        for one in judged:
            scored = one.scored
            rewarded = _Rewarded(
                version, dict(scored.components), dict(scored.terms), scored.rule_rewards, scored.rewards
            )
            self._known.setdefault(scored.group.prompt.key, []).append(rewarded)
        young = {
            key: [one for one in groups if version - one.version <= self._max_age]
            for key, groups in self._known.items()
        }
        self._known = {key: groups for key, groups in young.items() if groups}

    def _mixed(self, prompt: Prompt) -> ScoredGroup:
        """Every known reward of a prompt as one group; completions are not needed for advantages."""
        groups = self._known[prompt.key]
        return ScoredGroup(
            RolloutGroup(prompt, ()),
            _joined([one.components for one in groups]),
            _joined([one.terms for one in groups]),
            np.concatenate([one.rule_rewards for one in groups]),
            np.concatenate([one.rewards for one in groups]),
        )

    def _renewed(self, entry: Entry, advantages: Doubles) -> Entry:
        """The entry's own group begins behind those of older versions."""
        groups = self._known[entry.samples[0].prompt.key]
        start = sum(len(one.rewards) for one in groups if one.version < entry.version)
        samples = tuple(
            replace(sample, advantage=float(advantages[start + place]))
            for sample, place in zip(entry.samples, entry.places, strict=True)
        )
        return replace(entry, samples=samples)


def _joined(parts: Sequence[dict[str, Doubles]]) -> dict[str, Doubles]:
    return {name: np.concatenate([one[name] for one in parts]) for name in parts[0]}
