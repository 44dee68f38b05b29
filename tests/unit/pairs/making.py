"""Scored groups and pairs from short descriptions."""

from collections.abc import Sequence

from vergence.types import Completion, PreferencePair, ScoredGroup

from ..builders import completion, prompt, scored


def answering(answer: str, *, tokens: int = 4) -> Completion:
    """A well-formed response with that answer and so many tokens, which its thought tells."""
    return completion(f"<think>{tokens}</think><answer>{answer}</answer>", logprobs=[-1.0] * tokens)


def one_group(rows: Sequence[tuple[Completion, int, int, float]]) -> ScoredGroup:
    """Rows of (completion, accuracy, format, preference score)."""
    texts, right, formed, scores = zip(*rows, strict=True)
    return scored(right, texts=texts, components={"accuracy": right, "format": formed, "preference": scores})


def pair(
    *, margin: float = 1.0, source: str = "correctness", chosen: Completion | None = None, rejected: Completion | None
) -> PreferencePair:
    """A pair of a prompt of its own."""
    return PreferencePair(prompt(), chosen or answering("15"), rejected or answering("7"), margin, source)
