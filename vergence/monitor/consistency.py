"""Whether answers follow from their thoughts: the answer's likelihood under a slow copy of the policy (GRPO-CARE).

    consistency(y) = exp( mean_t log p_slow(answer_t | question, picture, thought) )

An answer that the thought does not lead to, because it was guessed or rewarded for another reason, is unlikely to a
copy that has not learnt the shortcut yet. One pass of that copy.
"""

from collections.abc import Sequence
from typing import final

import numpy as np

from vergence.model.policy import Policy
from vergence.model.response import ResponseText
from vergence.monitor.scores import Reader, spread_over
from vergence.reward.form import TAGS, Form
from vergence.types import Completion, Metrics, ScoredGroup


def answer_span(policy: Policy, completion: Completion, form: Form = TAGS) -> tuple[int, int] | None:
    """Tokens [begin, end) from behind "<answer>" to the end of "</answer>", or of what else the form puts there.

    None where an answer cannot be read. Found by decoding prefixes, so any tokenizer will do. A token that ends a tag
    and begins the answer is left out.
    """
    text_of = ResponseText(policy)
    span = form.span(text_of(completion.token_ids))
    if span is None:
        return None
    begin, end = (_shortest_with(text_of, completion, characters) for characters in span)
    return None if end <= begin else (begin, end)


def consistency_summary(likelihoods: Sequence[float], right: Sequence[bool]) -> Metrics:
    """Means over all readable answers, and over the right ones among them."""
    metrics = {"consistency/answer": float(np.mean(likelihoods))} if likelihoods else {}
    chosen = [value for value, good in zip(likelihoods, right, strict=True) if good]
    return metrics | ({"consistency/right_answer": float(np.mean(chosen))} if chosen else {})


@final
class Consistency:
    """Reads the answers of some of a step's completions with the eyes of a slow copy."""

    def __init__(self, slow: Reader, *, completions: int, form: Form = TAGS) -> None:
        self._slow = slow
        self._form = form
        self._completions = completions

    def __call__(self, step: int, scored: Sequence[ScoredGroup]) -> Metrics:
        """Nothing where no answer can be read."""
        right = {
            id(completion): bool(value > 0)
            for group in scored
            for completion, value in zip(group.group.completions, group.components["accuracy"], strict=True)
        }
        policy = self._slow.policy
        found = [
            (member, span)
            for member in spread_over([(one.group.prompt, one.group.completions) for one in scored], self._completions)
            if (span := answer_span(policy, member[1], self._form))
        ]
        seen = self._slow([member for member, _ in found])
        likelihoods = [
            float(np.exp(one.logprobs[begin:end].mean())) for one, (_, (begin, end)) in zip(seen, found, strict=True)
        ]
        return consistency_summary(likelihoods, [right[id(completion)] for (_, completion), _ in found])


def _shortest_with(text_of: ResponseText, completion: Completion, characters: int) -> int:
    """The fewest tokens from the beginning whose text has so many characters, which all of them together have."""
    low, high = 0, len(completion.token_ids)  # the text of `low` tokens is too short, that of `high` tokens is not
    while high - low > 1:
        middle = (low + high) // 2
        enough = len(text_of(completion.token_ids[:middle])) >= characters
        low, high = (low, middle) if enough else (middle, high)
    return high
