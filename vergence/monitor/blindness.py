"""Responses that say they cannot see the picture (Skywork-R1V3 counts them). Costs no pass of the model."""

import re
from collections.abc import Sequence

from vergence.types import Metrics, RolloutGroup


def blindness_metrics(groups: Sequence[RolloutGroup], patterns: Sequence[re.Pattern[str]]) -> Metrics:
    """Share of completions of problems with a picture that match one of the patterns; nothing without any."""
    texts = [text for group in groups if group.prompt.problem.images for text in group.responses]
    if not texts:
        return {}
    claims = sum(any(pattern.search(text) for pattern in patterns) for text in texts)
    return {"hallucination/blindness": claims / len(texts)}
