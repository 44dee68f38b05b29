"""Answers to problems, graded and counted."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vergence.evaluation.statistics import Interval, mean_at_k, pass_at_k
from vergence.monitor.mentions import NOTHING, MentionCount, count_mentions
from vergence.types import (
    Generator,
    Metrics,
    Problem,
    Reward,
    RolloutGroup,
    Sampling,
    ScoredGroup,
    Verdict,
    graded,
    response,
)

UNKNOWN = Interval(math.nan, math.nan, math.nan)
"""Of no graded answer at all."""


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """Results of one policy on one set of problems."""

    num_problems: int
    num_samples: int
    """k, answers per problem."""
    failed: int
    """Answers that the grader could not judge; the figures of right answers leave them out, and problems without any
    other answer."""
    accuracy: Interval
    """avg@k; not a number where no answer was judged."""
    pass_at_k: float
    format_rate: float
    mentions: MentionCount
    categories: dict[str, float]
    """Category to avg@k, where an answer was judged."""


def answer_all(
    generator: Generator, problems: Sequence[Problem], *, samples: int, max_new_tokens: int, seed: int
) -> list[RolloutGroup]:
    """`samples` answers at temperature 1 to each problem; 0 means one greedy answer."""
    sampling = Sampling(
        num_completions=max(1, samples), max_new_tokens=max_new_tokens, temperature=1.0 if samples else 0.0
    )
    return generator.generate(problems, sampling, seed=seed, version=0)


def figures(scored: Sequence[ScoredGroup]) -> Figures:
    """Count. Groups have the components accuracy and format (`RuleReward`)."""
    known = graded(scored)
    right = [one.components["accuracy"].tolist() for one in known]
    formed = [value for one in scored for value in one.components["format"].tolist()]
    mentions = NOTHING
    for one in scored:
        for text in one.group.responses:
            mentions = mentions + count_mentions(one.group.prompt.problem, text)
    by_category: dict[str, list[list[float]]] = defaultdict(list)
    for one, row in zip(known, right, strict=True):
        by_category[one.group.prompt.problem.category].append(row)
    return Figures(
        num_problems=len(scored),
        num_samples=len(scored[0].group.completions),
        failed=sum(len(one.failed) for one in scored),
        accuracy=mean_at_k(right) if right else UNKNOWN,
        pass_at_k=pass_at_k(right) if right else math.nan,
        format_rate=sum(formed) / len(formed),
        mentions=mentions,
        categories={name: mean_at_k(rows).mean for name, rows in sorted(by_category.items())},
    )


def tuning_metrics(
    generator: Generator,
    blank_generator: Generator,
    rules: Reward,
    problems: Sequence[Problem],
    *,
    blank_problems: int,
    max_new_tokens: int,
    seed: int,
    also: Callable[[Sequence[RolloutGroup]], Metrics] = lambda greedy: {},
) -> Metrics:
    """What a stage logs about the tuning split: greedy, sampled, and the gap to answering with a grey picture.

    `rules` gives accuracy and format. `also` makes further figures of the greedy responses.
    """
    greedy_groups = answer_all(generator, problems, samples=0, max_new_tokens=max_new_tokens, seed=seed)
    greedy_scored = rules(greedy_groups)
    greedy = figures(greedy_scored)
    sampled = figures(rules(answer_all(generator, problems, samples=1, max_new_tokens=max_new_tokens, seed=seed)))
    metrics = {
        "tuning/greedy_accuracy": greedy.accuracy.mean,
        "tuning/sampled_accuracy": sampled.accuracy.mean,
        "tuning/format_rate": sampled.format_rate,
        "tuning/failed": (greedy.failed + sampled.failed) / (2 * len(problems)),
    }
    if sampled.mentions.responses:
        metrics["tuning/hallucination_rate"] = sampled.mentions.response_rate
    if blank_problems:
        few = problems[:blank_problems]
        blank = answer_all(blank_generator, few, samples=0, max_new_tokens=max_new_tokens, seed=seed)
        blank_accuracy = figures(rules(blank)).accuracy.mean
        metrics["tuning/blank_accuracy"] = blank_accuracy
        metrics["perception/blank_gap"] = figures(greedy_scored[:blank_problems]).accuracy.mean - blank_accuracy
    return metrics | also(greedy_groups)


def as_row(result: Figures) -> dict[str, Any]:
    """Figures as plain values, for JSON; None for what is not known."""
    row = {
        "problems": result.num_problems,
        "samples": result.num_samples,
        "failed": result.failed,
        "accuracy": result.accuracy.mean,
        "accuracy_low": result.accuracy.low,
        "accuracy_high": result.accuracy.high,
        "pass_at_k": result.pass_at_k,
        "format_rate": result.format_rate,
        "hallucination_rate": result.mentions.response_rate if result.mentions.responses else None,
        "hallucinated_mention_rate": result.mentions.mention_rate if result.mentions.responses else None,
        "categories": result.categories,
    }
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}


def prediction_rows(scored: Sequence[ScoredGroup]) -> list[dict[str, Any]]:
    """One row per answer: what was said, what was read from it, and the verdict with its reason.

    `correct` is None where the grader failed.
    """
    return [
        {
            "id": one.group.prompt.problem.id,
            "sample": index,
            "category": one.group.prompt.problem.category,
            "answer": one.group.prompt.problem.answer,
            "response": response(one.group.prompt, completion),
            "extracted": grade.extracted,
            "verdict": str(grade.verdict),
            "reason": grade.reason,
            "correct": None if grade.verdict is Verdict.FAILED else grade.verdict is Verdict.CORRECT,
            "well_formed": bool(formed > 0),
            "finish": str(completion.finish),
        }
        for one in scored
        for index, (completion, grade, formed) in enumerate(
            zip(one.group.completions, one.grades, one.components["format"], strict=True)
        )
    ]
