"""Small problems, prompts, completions, groups and samples, with everything a test does not care about filled in."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from vergence.loss.policy_gradient import SurrogateInput
from vergence.types import (
    Completion,
    Draw,
    Finish,
    Grade,
    ImageRef,
    JudgedGroup,
    Origin,
    Problem,
    Prompt,
    RolloutGroup,
    Sample,
    ScoredGroup,
    TrainingSample,
    Verdict,
)

RIGHT = "<think>5+6=11</think><answer>15</answer>"
"""Right and well-formed for `problem()`."""
WRONG = "<think>5+6=12</think><answer>16</answer>"
"""Wrong and well-formed."""
BARE = "<answer>15</answer>"
"""Right in bad form."""
NOTHING = "15"
"""Neither."""


def problem(name: str = "p", **changes: Any) -> Problem:
    fields: dict[str, Any] = {
        "question": "sum?",
        "images": (ImageRef("/pictures/p.png", "ab12"),),
        "answer": "15",
        "category": "sum",
        "objects": frozenset("5640"),
        "mentions": r"\d(?==)",
    }
    return Problem(id=name, **(fields | changes))


def prompt(name: str = "p", **changes: Any) -> Prompt:
    return Prompt(problem(name, **changes), np.array([1, 4, 6, 5, 30, 11]), np.arange(6)[None])


def completion(
    text: str = RIGHT,
    *,
    logprobs: Sequence[float] = (-0.5, -1.0),
    finish: Finish = Finish.STOP,
    version: int = 0,
) -> Completion:
    """As many tokens as there are log-probs."""
    return Completion(
        np.arange(10, 10 + len(logprobs), dtype=np.int64), np.array(logprobs, dtype=np.float32), finish, version, text
    )


def group(texts: Sequence[str | Completion], **changes: Any) -> RolloutGroup:
    """Texts, or completions where more than the text matters."""
    return RolloutGroup(
        prompt(**changes), tuple(one if isinstance(one, Completion) else completion(one) for one in texts)
    )


def scored(
    rule_rewards: Sequence[float],
    rewards: Sequence[float] | None = None,
    *,
    components: Mapping[str, Sequence[float]] | None = None,
    terms: Mapping[str, Sequence[float]] | None = None,
    texts: Sequence[str | Completion] | None = None,
    failed: Sequence[int] = (),
    name: str = "p",
) -> ScoredGroup:
    """A scored group; without `rewards` the rules are the whole reward, and without components they are accuracy.

    Without `terms` accuracy adds the rule rewards, and preference whatever `rewards` holds beyond them. What rests on
    the grades of the places in `failed` is not a number.
    """
    rules = doubles(rule_rewards)
    whole = rules if rewards is None else doubles(rewards)
    two = {"accuracy": rules} if rewards is None else {"accuracy": rules, "preference": whole - rules}
    made = ScoredGroup(
        group(texts or [f"answer {index}" for index in range(len(rule_rewards))], name=name),
        {name: doubles(values) for name, values in (components or {"accuracy": rule_rewards}).items()},
        two if terms is None else {name: doubles(values) for name, values in terms.items()},
        rules,
        whole,
    )
    return without_grades(made, failed) if failed else made


def without_grades(made: ScoredGroup, failed: Sequence[int]) -> ScoredGroup:
    """The group as a reward gives it whose grader fails at these places."""

    def unknown(values: np.ndarray) -> np.ndarray:
        return np.array([np.nan if place in failed else value for place, value in enumerate(values)])

    verdicts = [Verdict.FAILED if place in failed else Verdict.WRONG for place in range(len(made.rewards))]
    return replace(
        made,
        components={name: unknown(one) if name == "accuracy" else one for name, one in made.components.items()},
        terms={name: unknown(one) for name, one in made.terms.items()},
        rule_rewards=unknown(made.rule_rewards),
        rewards=unknown(made.rewards),
        grades=tuple(Grade(one, None, "scripted") for one in verdicts),
    )


class ScriptedGrader:
    """Fails where a response holds the word "broken"; else right is what holds "right"."""

    def __init__(self) -> None:
        self.calls = 0

    def grade(self, responses: Sequence[tuple[Problem, str]]) -> list[Grade]:
        self.calls += 1
        return [self._grade(text) for _, text in responses]

    def _grade(self, text: str) -> Grade:
        if "broken" in text:
            return Grade(Verdict.FAILED, None, "broken on purpose")
        return Grade(Verdict.CORRECT if "right" in text else Verdict.WRONG, text, "scripted")


def judged(advantages: Sequence[float], *, effective: bool, accuracy: Sequence[float] = ()) -> JudgedGroup:
    accuracy = accuracy or [0.0] * len(advantages)
    return JudgedGroup(scored(accuracy), doubles(advantages), effective)


def sample(
    advantage: float = 1.0,
    *,
    name: str = "p",
    of: Prompt | None = None,
    logprobs: Sequence[float] = (-0.5, -1.0),
    version: int = 0,
    text: str = RIGHT,
    reward: float = 1.5,
) -> Sample:
    """One sample; `of` lets several share a prompt."""
    return Sample(of or prompt(name), completion(text, logprobs=logprobs, version=version), advantage, reward)


def draw(of: Sample | None = None, origin: Origin = Origin.FRESH, age: int = 0, *, effective: bool = True) -> Draw:
    return Draw(of or sample(), origin, age, effective=effective)


def training_sample(
    advantage: float, logprobs: Sequence[float], weights: Sequence[float] = (), *, effective: bool = True
) -> TrainingSample:
    """Fresh, with weights of 1 unless others are given."""
    one = draw(sample(advantage, logprobs=logprobs), effective=effective)
    return TrainingSample(
        one, np.array(logprobs, np.float32), np.array(weights or [1.0] * len(logprobs), dtype=np.float32)
    )


def surrogate_input(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    weights: torch.Tensor | None = None,
    *,
    mask: torch.Tensor | None = None,
    replayed: torch.Tensor | None = None,
) -> SurrogateInput:
    """Fresh, with weights of 1 and no padding unless others are given."""
    return SurrogateInput(
        logprobs,
        old_logprobs,
        advantages,
        torch.ones_like(old_logprobs) if weights is None else weights,
        torch.ones_like(old_logprobs, dtype=torch.bool) if mask is None else mask,
        torch.zeros(len(advantages), dtype=torch.bool) if replayed is None else replayed,
    )


def doubles(values: Sequence[float]) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def through_a_file(state: Any) -> Any:
    """What a checkpoint gives back: written by torch, and read with `weights_only`."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)
