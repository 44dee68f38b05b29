"""Preference pairs from scored groups: right and well-formed against anything else (MMPR's correctness pipeline).

Guards, in this order (MMPR's script; R1V2 names only the threshold):

    entailment   skip when the rejected answer contains the chosen one as a word: the rule may have erred
    length       skip when one response is more than `max_length_ratio` times as long as the other
    margin       skip when the score gap is below `min_margin` (R1V2's "threshold", in calibrated units)
    per prompt   at most `max_per_prompt` pairs, the largest margins first
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vergence.reward.answer import extract_answer
from vergence.types import Completion, Metrics, PreferencePair, ScoredGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class PairGuards:
    """What keeps a pair out."""

    min_margin: float
    """Smallest score gap chosen - rejected, in calibrated units; -inf asks for none."""
    max_length_ratio: float
    max_per_prompt: int
    format_negatives: bool
    """Whether a right answer in bad form may be a rejected response."""


@dataclass(frozen=True, slots=True, eq=False)
class PairHarvest:
    """Pairs, and how many candidates each guard turned away."""

    pairs: tuple[PreferencePair, ...]
    refused: Counter[str]


Scores = Callable[[ScoredGroup], np.ndarray]
"""A scored group -> [G] calibrated preference scores."""


def preference_component(scored: ScoredGroup) -> np.ndarray:
    """The preference model's scores, where the reward has them."""
    return scored.components["preference"]


def rules_only(scored: ScoredGroup) -> np.ndarray:
    """No preference model: every right response is infinitely better than every other."""
    good = (scored.components["accuracy"] > 0) & (scored.components["format"] > 0)
    return np.where(good, math.inf, 0.0)


def harvest(groups: Sequence[ScoredGroup], guards: PairGuards, scores: Scores, rng: np.random.Generator) -> PairHarvest:
    """All pairs that the guards let through, in the order of the groups."""
    pairs: list[PreferencePair] = []
    refused: Counter[str] = Counter({"entailment": 0, "length": 0, "margin": 0, "per prompt": 0})
    for scored in groups:
        candidates = _candidates(scored, guards, scores(scored), refused)
        # distinct responses first, then the clearest pairs; ties in random order
        candidates = [candidates[place] for place in rng.permutation(len(candidates))]
        candidates.sort(key=lambda pair: -pair.margin)
        kept = _spread_out(candidates, guards.max_per_prompt)
        refused["per prompt"] += len(candidates) - len(kept)
        pairs += kept
    return PairHarvest(tuple(pairs), refused)


def harvest_metrics(result: PairHarvest) -> Metrics:
    """How many pairs were kept, and how many each guard refused."""
    margins = [pair.margin for pair in result.pairs if math.isfinite(pair.margin)]
    metrics = {"pairs/kept": float(len(result.pairs))}
    metrics |= {f"pairs/refused_{name.replace(' ', '_')}": float(count) for name, count in result.refused.items()}
    return metrics | ({"pairs/margin_mean": float(np.mean(margins))} if margins else {})


def _candidates(
    scored: ScoredGroup, guards: PairGuards, scores: np.ndarray, refused: Counter[str]
) -> list[PreferencePair]:
    right, formed = scored.components["accuracy"] > 0, scored.components["format"] > 0
    completions = scored.group.completions
    bad = ~right | (right & ~formed if guards.format_negatives else np.zeros_like(right))
    pairs = []
    for good in np.flatnonzero(right & formed):
        for other in np.flatnonzero(bad):
            margin = float(scores[good] - scores[other])
            reason = _refusal(completions[good], completions[other], bool(right[other]), margin, guards)
            if reason:
                refused[reason] += 1
            else:
                source = "format" if right[other] else "correctness"
                pairs.append(PreferencePair(scored.group.prompt, completions[good], completions[other], margin, source))
    return pairs


def _refusal(
    chosen: Completion, rejected: Completion, rejected_is_right: bool, margin: float, guards: PairGuards
) -> str:
    """The name of the first guard that objects, or ""."""
    answer = extract_answer(chosen.text) or ""
    if not rejected_is_right and entails(extract_answer(rejected.text) or "", answer):
        return "entailment"
    shorter, longer = sorted((len(chosen.token_ids), len(rejected.token_ids)))
    if longer > guards.max_length_ratio * shorter:
        return "length"
    if margin < guards.min_margin:
        return "margin"
    return ""


def entails(rejected_answer: str, chosen_answer: str) -> bool:
    """Whether the chosen answer stands in the rejected one as a whole word.

    Differs from MMPR, which looks for any substring and so throws away "1" against "15".
    """
    if not chosen_answer:
        return False
    # a sign, a point or a comma beside a number makes another number of it
    pattern = rf"(?<![\w.,-]){re.escape(chosen_answer)}(?!\w|[.,]\d)"
    return re.search(pattern, rejected_answer) is not None


def _spread_out(candidates: Sequence[PreferencePair], limit: int) -> list[PreferencePair]:
    """At most `limit`, preferring pairs whose responses no earlier pair of the prompt uses."""
    kept: list[PreferencePair] = []
    used: set[int] = set()
    for pair in candidates:
        if len(kept) < limit and not {id(pair.chosen), id(pair.rejected)} & used:
            kept.append(pair)
            used |= {id(pair.chosen), id(pair.rejected)}
    for pair in candidates:
        if len(kept) < limit and not any(pair is other for other in kept):
            kept.append(pair)
    return kept
