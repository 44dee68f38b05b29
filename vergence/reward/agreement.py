"""How the rules and a reward model agree about the completions of one group, and where they part.

Everything is asked within groups: a score is only determined up to a shift for each prompt, so scores of different
prompts say little about each other. A group is *mixed* if it holds right and wrong answers; only mixed groups can show
agreement. Chance is 0.5 for the concordance, 0 for a correlation, and the share of right answers for a favourite.
"""

from collections.abc import Sequence

import numpy as np

from vergence.types import Doubles, Metrics, ScoredGroup

ROUNDING = 1e-9
"""What differs by less is the same number after rounding."""


def is_mixed(right: Doubles) -> bool:
    """Whether accuracy [G] has both kinds of answers."""
    return bool((right > 0).any() and (right <= 0).any())


def concordance(right: Doubles, scores: Doubles) -> float:
    """Share of the pairs (right answer, wrong answer) of a mixed group in which the right one has the higher score.

        1 / (n_r n_w)  sum over right r, wrong w of  [s_r > s_w] + [s_r = s_w] / 2

    accuracy [G], scores [G] -> 0..1; the group's area under the ROC curve. 0.5 is chance.
    """
    difference = scores[right > 0][:, None] - scores[right <= 0][None, :]
    return float(0.5 + 0.5 * np.sign(difference).mean())


def favourite_right(right: Doubles, scores: Doubles) -> float:
    """Whether the completion with the highest score is right: accuracy of best-of-G; ties share. [G], [G] -> 0..1."""
    return float((right[scores == scores.max()] > 0).mean())


def last_right(right: Doubles, scores: Doubles) -> float:
    """Whether the completion with the lowest score is right; ties share. [G], [G] -> 0..1."""
    return favourite_right(right, -scores)


def correlation(left: Doubles, right: Doubles) -> float | None:
    """Pearson's correlation of two arrays [N], -1..1; None where either does not vary, but for rounding."""
    if min(np.ptp(left), np.ptp(right)) <= ROUNDING:
        return None
    return float(np.corrcoef(left, right)[0, 1])


def length_correlation(groups: Sequence[ScoredGroup]) -> float | None:
    """Correlation of score and number of tokens among the right answers of a batch, -1..1; None where nothing varies.

    Both are taken relative to their mean over the right answers of their own group, then put together: with two or
    three right answers in a group a correlation for each group would be little else than -1 or 1.
    """
    lengths, scores = [], []
    for group in groups:
        right = group.components["accuracy"] > 0
        if right.any():
            tokens = np.array([len(one.token_ids) for one in group.group.completions], dtype=np.float64)[right]
            chosen = group.components["preference"][right]
            lengths.append(tokens - tokens.mean())
            scores.append(chosen - chosen.mean())
    return correlation(np.concatenate(lengths), np.concatenate(scores)) if lengths else None


def agreement_metrics(scored: Sequence[ScoredGroup]) -> Metrics:
    """Means over the mixed groups of a batch, each group counting the same; correlations by the plain mean.

    (Fisher's z would give the small groups with a correlation of exactly 1 an infinite weight.)
    """
    groups = [group for group in scored if is_mixed(group.components["accuracy"])]
    metrics = {"agreement/mixed_groups": float(len(groups))}
    if groups:
        rows = [(group.components["accuracy"], group.components["preference"]) for group in groups]
        metrics["agreement/concordance"] = float(np.mean([concordance(*row) for row in rows]))
        metrics["agreement/favourite_right"] = float(np.mean([favourite_right(*row) for row in rows]))
        metrics["agreement/last_right"] = float(np.mean([last_right(*row) for row in rows]))
        metrics["agreement/chance_right"] = float(np.mean([(right > 0).mean() for right, _ in rows]))
        metrics |= concordance_by_category(groups)
    found = {
        "agreement/correlation": _mean([correlation(*row) for row in rows]) if groups else None,
        "agreement/length_correlation": length_correlation(scored),
    }
    return metrics | {name: value for name, value in found.items() if value is not None}


def concordance_by_category(mixed: Sequence[ScoredGroup]) -> Metrics:
    """The mean concordance of the mixed groups of each category that has a name."""
    found: dict[str, list[float]] = {}
    for group in mixed:
        value = concordance(group.components["accuracy"], group.components["preference"])
        found.setdefault(group.group.prompt.problem.category, []).append(value)
    return {f"agreement/concordance_of_{name}": float(np.mean(found[name])) for name in sorted(found) if name}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
