"""From candidates to pairs: the guards, the threshold, at most n of a prompt; and a count of what became of each."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vergence.pairs.guards import PairGuards, objection, too_close
from vergence.pairs.threshold import Tau
from vergence.types import Metrics, PreferencePair

KEPT = "kept"
REFUSALS = ("entailment", "length", "margin", "per prompt")
"""The guards, in the order in which they are asked."""
FATES = (KEPT, *REFUSALS)
SOURCES = ("correctness", "format", "margin", "dropout")

Fates = Counter[tuple[str, str]]
"""(source, fate) -> how many candidates; every candidate is counted once."""


@dataclass(frozen=True, slots=True, eq=False)
class PairHarvest:
    """Pairs, and what became of every candidate."""

    pairs: tuple[PreferencePair, ...]
    fates: Fates
    threshold: float
    """tau, in units of the margins."""

    @property
    def candidates(self) -> int:
        """How many there were."""
        return self.fates.total()

    def refused(self, reason: str) -> int:
        """How many candidates a guard turned away, of all sources together."""
        return sum(count for (_, fate), count in self.fates.items() if fate == reason)


def harvest(
    candidates: Sequence[Sequence[PreferencePair]], guards: PairGuards, tau: Tau, rng: np.random.Generator
) -> PairHarvest:
    """Of each prompt's candidates, those that the guards let through, in the order of the prompts."""
    fates: Fates = Counter()
    unobjected: list[list[PreferencePair]] = []
    for of_prompt in candidates:
        reasons = [objection(pair, guards) for pair in of_prompt]
        fates.update((pair.source, why) for pair, why in zip(of_prompt, reasons, strict=True) if why)
        unobjected.append([pair for pair, why in zip(of_prompt, reasons, strict=True) if not why])
    threshold = tau([pair.margin for of_prompt in unobjected for pair in of_prompt])
    pairs: list[PreferencePair] = []
    for of_prompt in unobjected:
        fates.update((pair.source, "margin") for pair in of_prompt if too_close(pair, threshold))
        clear = [pair for pair in of_prompt if not too_close(pair, threshold)]
        sampled = [pair for pair in clear if pair.source != "dropout"]
        # distinct responses first, then the clearest pairs; ties in random order
        sampled = [sampled[place] for place in rng.permutation(len(sampled))]
        sampled.sort(key=lambda pair: -pair.margin)
        kept, left = _spread_out(sampled, guards.max_per_prompt)
        kept += [pair for pair in clear if pair.source == "dropout"]
        fates.update((pair.source, "per prompt") for pair in left)
        fates.update((pair.source, KEPT) for pair in kept)
        pairs += kept
    return PairHarvest(tuple(pairs), fates, threshold)


def _spread_out(candidates: Sequence[PreferencePair], limit: int) -> tuple[list[PreferencePair], list[PreferencePair]]:
    """(kept, left): at most `limit`, preferring pairs whose responses no earlier pair of the prompt uses."""
    first: list[PreferencePair] = []
    second: list[PreferencePair] = []
    used: set[int] = set()
    for pair in candidates:
        if len(first) < limit and not {id(pair.chosen), id(pair.rejected)} & used:
            first.append(pair)
            used |= {id(pair.chosen), id(pair.rejected)}
        else:
            second.append(pair)
    room = limit - len(first)
    return first + second[:room], second[room:]


def harvest_metrics(result: PairHarvest) -> Metrics:
    """How many pairs were kept, of which source, and how many each guard refused."""
    margins = [pair.margin for pair in result.pairs if math.isfinite(pair.margin)]
    metrics = {
        "pairs/candidates": float(result.candidates),
        "pairs/kept": float(len(result.pairs)),
        "pairs/kept_share": len(result.pairs) / max(1, result.candidates),
    }
    if math.isfinite(result.threshold):
        metrics["pairs/threshold"] = result.threshold
    for source in SOURCES:
        if any(one == source for one, _ in result.fates):
            metrics[f"pairs/kept_{source}"] = float(result.fates[source, KEPT])
    for reason in REFUSALS:
        metrics[f"pairs/refused_{reason.replace(' ', '_')}"] = float(result.refused(reason))
    return metrics | ({"pairs/margin_mean": float(np.mean(margins))} if margins else {})
