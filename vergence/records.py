"""Samples and pairs as plain dictionaries, so that a checkpoint can hold them and give back the same objects.

One copy per prompt survives: records of one group share a prompt record, and restoring shares the prompt again.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from vergence.types import (
    AnswerType,
    Completion,
    Finish,
    Grading,
    ImageRef,
    PreferencePair,
    Problem,
    Prompt,
    Sample,
    TrainingPair,
)


def prompt_table(prompts: Sequence[Prompt]) -> tuple[list[dict[str, Any]], dict[int, int]]:
    """Each distinct prompt once, and where the prompt with a given identity stands in that list."""
    places: dict[int, int] = {}
    rows: list[dict[str, Any]] = []
    for prompt in prompts:
        if id(prompt) not in places:
            places[id(prompt)] = len(rows)
            rows.append(_prompt_record(prompt))
    return rows, places


def restore_prompts(rows: Sequence[dict[str, Any]]) -> list[Prompt]:
    """The inverse of `prompt_table`."""
    return [
        Prompt(
            Problem(
                id=row["id"],
                question=row["question"],
                images=tuple(ImageRef(path, sha256) for path, sha256 in row["images"]),
                answer=row["answer"],
                category=row["category"],
                objects=frozenset(row["objects"]),
                mentions=row["mentions"],
                grading=Grading(
                    type=AnswerType(row["grading"]["type"]),
                    options=tuple(row["grading"]["options"]),
                    tolerance=row["grading"]["tolerance"],
                    tests=row["grading"]["tests"],
                ),
            ),
            row["token_ids"].numpy(),
            row["positions"].numpy(),
            row.get("prefill", ""),  # snapshots of earlier versions have none
        )
        for row in rows
    ]


def sample_records(samples: Sequence[Sample]) -> dict[str, Any]:
    """A list of samples."""
    prompts, places = prompt_table([sample.prompt for sample in samples])
    return {
        "prompts": prompts,
        "samples": [
            {
                "prompt": places[id(sample.prompt)],
                "completion": completion_record(sample.completion),
                "advantage": sample.advantage,
                "reward": sample.reward,
            }
            for sample in samples
        ],
    }


def restore_samples(record: dict[str, Any]) -> list[Sample]:
    """The inverse of `sample_records`."""
    prompts = restore_prompts(record["prompts"])
    return [
        Sample(prompts[row["prompt"]], restore_completion(row["completion"]), row["advantage"], row["reward"])
        for row in record["samples"]
    ]


def pair_records(pairs: Sequence[TrainingPair]) -> dict[str, Any]:
    """A list of preference pairs, reference log-probs included."""
    prompts, places = prompt_table([one.pair.prompt for one in pairs])
    return {
        "prompts": prompts,
        "pairs": [
            {
                "prompt": places[id(one.pair.prompt)],
                "chosen": completion_record(one.pair.chosen),
                "rejected": completion_record(one.pair.rejected),
                "margin": one.pair.margin,
                "source": one.pair.source,
                "chosen_reference": torch.from_numpy(one.chosen_reference),
                "rejected_reference": torch.from_numpy(one.rejected_reference),
            }
            for one in pairs
        ],
    }


def restore_pairs(record: dict[str, Any]) -> list[TrainingPair]:
    """The inverse of `pair_records`."""
    prompts = restore_prompts(record["prompts"])
    return [
        TrainingPair(
            PreferencePair(
                prompts[row["prompt"]],
                restore_completion(row["chosen"]),
                restore_completion(row["rejected"]),
                row["margin"],
                row["source"],
            ),
            row["chosen_reference"].numpy(),
            row["rejected_reference"].numpy(),
        )
        for row in record["pairs"]
    ]


def completion_record(completion: Completion) -> dict[str, Any]:
    """One completion."""
    return {
        "token_ids": torch.from_numpy(completion.token_ids),
        "sampler_logprobs": torch.from_numpy(completion.sampler_logprobs),
        "finish": str(completion.finish),
        "policy_version": completion.policy_version,
        "text": completion.text,
    }


def restore_completion(record: dict[str, Any]) -> Completion:
    """The inverse of `completion_record`."""
    return Completion(
        token_ids=record["token_ids"].numpy().astype(np.int64),
        sampler_logprobs=record["sampler_logprobs"].numpy(),
        finish=Finish(record["finish"]),
        policy_version=record["policy_version"],
        text=record["text"],
    )


def _prompt_record(prompt: Prompt) -> dict[str, Any]:
    problem = prompt.problem
    return {
        "id": problem.id,
        "question": problem.question,
        "images": [(image.path, image.sha256) for image in problem.images],
        "answer": problem.answer,
        "category": problem.category,
        "objects": sorted(problem.objects),
        "mentions": problem.mentions,
        "grading": {
            "type": str(problem.grading.type),
            "options": list(problem.grading.options),
            "tolerance": problem.grading.tolerance,
            "tests": problem.grading.tests,
        },
        "token_ids": torch.from_numpy(prompt.token_ids),
        "positions": torch.from_numpy(prompt.positions),
        "prefill": prompt.prefill,
    }
