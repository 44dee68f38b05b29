"""Answers to problems, graded and counted."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vergence.evaluation.statistics import Interval, mean_at_k, pass_at_k
from vergence.monitor.mentions import NOTHING, MentionCount, count_mentions
from vergence.reward.answer import extract_answer
from vergence.reward.rules import accuracy, format_reward
from vergence.types import Generator, Metrics, Problem, RolloutGroup, Sampling


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """Results of one policy on one set of problems."""

    num_problems: int
    num_samples: int
    """k, answers per problem."""
    accuracy: Interval
    """avg@k."""
    pass_at_k: float
    format_rate: float
    mentions: MentionCount
    categories: dict[str, float]
    """Category to avg@k."""


def answer_all(
    generator: Generator, problems: Sequence[Problem], *, samples: int, max_new_tokens: int, seed: int
) -> list[RolloutGroup]:
    """`samples` answers at temperature 1 to each problem; 0 means one greedy answer."""
    sampling = Sampling(
        num_completions=max(1, samples), max_new_tokens=max_new_tokens, temperature=1.0 if samples else 0.0
    )
    return generator.generate(problems, sampling, seed=seed, version=0)


def figures(groups: Sequence[RolloutGroup]) -> Figures:
    """Grade and count."""
    right = [[accuracy(group.prompt.problem, one) for one in group.completions] for group in groups]
    formed = [format_reward(group.prompt.problem, one) for group in groups for one in group.completions]
    mentions = NOTHING
    by_category: dict[str, list[list[float]]] = defaultdict(list)
    for group, row in zip(groups, right, strict=True):
        by_category[group.prompt.problem.category].append(row)
        for completion in group.completions:
            mentions = mentions + count_mentions(group.prompt.problem, completion.text)
    return Figures(
        num_problems=len(groups),
        num_samples=len(groups[0].completions),
        accuracy=mean_at_k(right),
        pass_at_k=pass_at_k(right),
        format_rate=sum(formed) / len(formed),
        mentions=mentions,
        categories={name: mean_at_k(rows).mean for name, rows in sorted(by_category.items())},
    )


def tuning_metrics(
    generator: Generator,
    blank_generator: Generator,
    problems: Sequence[Problem],
    *,
    blank_problems: int,
    max_new_tokens: int,
    seed: int,
    also: Callable[[Sequence[RolloutGroup]], Metrics] = lambda greedy: {},
) -> Metrics:
    """What a stage logs about the tuning split: greedy, sampled, and the gap to answering with a grey picture.

    `also` makes further figures of the greedy responses.
    """
    greedy_groups = answer_all(generator, problems, samples=0, max_new_tokens=max_new_tokens, seed=seed)
    greedy = figures(greedy_groups)
    sampled = figures(answer_all(generator, problems, samples=1, max_new_tokens=max_new_tokens, seed=seed))
    metrics = {
        "tuning/greedy_accuracy": greedy.accuracy.mean,
        "tuning/sampled_accuracy": sampled.accuracy.mean,
        "tuning/format_rate": sampled.format_rate,
    }
    if sampled.mentions.responses:
        metrics["tuning/hallucination_rate"] = sampled.mentions.response_rate
    if blank_problems:
        few = problems[:blank_problems]
        blank = answer_all(blank_generator, few, samples=0, max_new_tokens=max_new_tokens, seed=seed)
        blank_accuracy = figures(blank).accuracy.mean
        metrics["tuning/blank_accuracy"] = blank_accuracy
        metrics["perception/blank_gap"] = figures(greedy_groups[:blank_problems]).accuracy.mean - blank_accuracy
    return metrics | also(greedy_groups)


def as_row(result: Figures) -> dict[str, Any]:
    """Figures as plain values, for JSON."""
    return {
        "problems": result.num_problems,
        "samples": result.num_samples,
        "accuracy": result.accuracy.mean,
        "accuracy_low": result.accuracy.low,
        "accuracy_high": result.accuracy.high,
        "pass_at_k": result.pass_at_k,
        "format_rate": result.format_rate,
        "hallucination_rate": result.mentions.response_rate if result.mentions.responses else None,
        "hallucinated_mention_rate": result.mentions.mention_rate if result.mentions.responses else None,
        "categories": result.categories,
    }


def prediction_rows(groups: Sequence[RolloutGroup]) -> list[dict[str, Any]]:
    """One row per answer: what was said, what was read from it, and the verdict."""
    return [
        {
            "id": group.prompt.problem.id,
            "sample": index,
            "category": group.prompt.problem.category,
            "answer": group.prompt.problem.answer,
            "response": completion.text,
            "extracted": extract_answer(completion.text),
            "correct": accuracy(group.prompt.problem, completion) > 0,
            "well_formed": format_reward(group.prompt.problem, completion) > 0,
            "finish": str(completion.finish),
        }
        for group in groups
        for index, completion in enumerate(group.completions)
    ]
