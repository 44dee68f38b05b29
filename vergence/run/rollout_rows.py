"""Sampled groups as JSON rows for `rollouts/`: images by reference, rewards by component, advantages, buffer origin."""

from collections.abc import Sequence
from typing import Any

from vergence.types import Completion, Draw, Grade, JudgedGroup, Problem, Prompt, ScoredGroup, response


def rollout_rows(groups: Sequence[ScoredGroup]) -> list[dict[str, Any]]:
    """Groups after the reward."""
    return [
        _problem_row(group.group.prompt.problem)
        | {"completions": [_scored_row(group, index) for index in range(len(group.rewards))]}
        for group in groups
    ]


def judged_rows(groups: Sequence[JudgedGroup]) -> list[dict[str, Any]]:
    """Groups after the advantage."""
    return [
        _problem_row(group.scored.group.prompt.problem)
        | {
            "effective": group.effective,
            "completions": [
                _scored_row(group.scored, index) | {"advantage": float(group.advantages[index])}
                for index in range(len(group.advantages))
            ],
        }
        for group in groups
    ]


def replay_rows(draws: Sequence[Draw]) -> list[dict[str, Any]]:
    """Samples that the buffer gave back."""
    return [
        _problem_row(draw.sample.prompt.problem)
        | {
            "origin": str(draw.origin),
            "age": draw.age,
            "completions": [
                _completion_row(draw.sample.prompt, draw.sample.completion)
                | {"reward": draw.sample.reward, "advantage": draw.sample.advantage}
            ],
        }
        for draw in draws
    ]


def _problem_row(problem: Problem) -> dict[str, Any]:
    return {
        "problem": problem.id,
        "question": problem.question,
        "answer": problem.answer,
        "category": problem.category,
        "images": [{"path": image.path, "sha256": image.sha256} for image in problem.images],
    }


def _scored_row(group: ScoredGroup, index: int) -> dict[str, Any]:
    return (
        _completion_row(group.group.prompt, group.group.completions[index])
        | {
            "reward": float(group.rewards[index]),
            "components": {name: float(values[index]) for name, values in group.components.items()},
        }
        | (_graded_row(group.grades[index]) if group.grades else {})
    )


def _graded_row(grade: Grade) -> dict[str, Any]:
    return {"verdict": str(grade.verdict), "extracted": grade.extracted, "reason": grade.reason}


def _completion_row(prompt: Prompt, completion: Completion) -> dict[str, Any]:
    return {
        "text": response(prompt, completion),
        "finish": str(completion.finish),
        "tokens": len(completion.token_ids),
        "policy_version": completion.policy_version,
    }
