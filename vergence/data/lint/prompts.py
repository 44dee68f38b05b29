"""Whether a problem can be asked: its prompt is made, and prompt and response fit into the model's context."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vergence.data.lint.finding import Fault
from vergence.errors import InputError
from vergence.types import Problem

LengthOf = Callable[[Problem], int]
"""A problem -> the tokens of its prompt, pictures included. Raises InputError."""
TextLengthOf = Callable[[str], int]
"""A response -> its tokens."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What prompts must fit into."""

    context: int
    """Tokens of the model's context."""
    response: int
    """Tokens of the longest response that will be sampled."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """How prompts are made and counted."""

    prompt_length: LengthOf
    text_length: TextLengthOf
    limits: Limits


@dataclass(frozen=True, slots=True)
class Measured:
    """A prompt's length, or what is wrong with it, or both."""

    tokens: int | None
    """None where no prompt could be made."""
    fault: tuple[Fault, str] | None


def measure(prompts: Prompts, problem: Problem, responses: Sequence[str] = ()) -> Measured:
    """Make the prompt and look whether it fits, with the longest of its own responses where there are any, and with
    the longest that will be sampled where there are none. Raises nothing.
    """
    context = prompts.limits.context
    try:
        tokens = prompts.prompt_length(problem)
        own = [prompts.text_length(text) + 1 for text in responses if text]  # and the token that ends it
    except InputError as error:
        return Measured(None, (Fault.PROMPT, str(error)))
    except Exception as error:  # a tokenizer's, or an image processor's
        return Measured(None, (Fault.PROMPT, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"))
    response = max(own, default=prompts.limits.response)
    if tokens >= context:
        return Measured(tokens, (Fault.TOO_LONG, f"{tokens:,} tokens, the context has {context:,}"))
    if tokens + response > context:
        whose = f"its own has {response:,}" if own else f"a response may have {response:,}"
        text = f"{tokens:,} tokens leave {context - tokens:,} of {context:,}; {whose}"
        return Measured(tokens, (Fault.NO_ROOM, text))
    return Measured(tokens, None)


OVERLONG = frozenset({Fault.TOO_LONG, Fault.NO_ROOM})
"""Faults of prompts that a run may leave out."""
