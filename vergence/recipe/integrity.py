"""The vision integrity guard's keys."""

from typing import Annotated

from pydantic import Field

from vergence.recipe.sections import Positive, Section


class IntegritySection(Section):
    """Does the model see the pictures that its prompts are about? A run in which it does not stops."""

    every: Annotated[int, Field(ge=0)] = 10
    """Steps of grpo between examinations; the first is always examined, and so is every round of mpo. 0 switches the
    guard off, with its red line."""
    prompts: Positive = 4
    """How many of a step's prompts are examined, others each time: four passes over each, one sequence at a time."""
    red_line: Annotated[float, Field(gt=0)] = 0.05
    """Largest mean difference between the log-probs of sampling and of training, in nats a token: of each examined
    completion, and over all completions of the first update of every step of grpo."""
