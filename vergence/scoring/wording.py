"""How text becomes prompts and completions for a reward model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np

from vergence.model.policy import Policy, encode
from vergence.model.reward_head import RewardModel
from vergence.pairs.comparisons import Wording
from vergence.scoring.plain import plain_completion, plain_prompt
from vergence.scoring.scorer import RawScorer
from vergence.types import Completion, Finish, Problem, Prompt


@final
@dataclass(frozen=True, slots=True, eq=False)
class FinishedWording:
    """Prompts of problems, and completions of texts of which it is known how they ended."""

    prompt: Callable[[Problem], Prompt]
    completion: Callable[[str, Finish], Completion]

    def ended(self) -> Wording:
        """For texts that all ended by themselves."""
        return Wording(self.prompt, lambda text: self.completion(text, Finish.STOP))


def wording_of(policy: Policy) -> Wording:
    """The policy's chat template and tokenizer."""
    return policy_wording(policy).ended()


def policy_wording(policy: Policy) -> FinishedWording:
    """The same, for texts of which some were cut off."""
    return FinishedWording(
        lambda problem: encode(policy, problem), lambda text, finish: as_completion(policy, text, finish)
    )


def scorer_wording(model: RawScorer) -> FinishedWording:
    """A reward model of ours reads tokens; any other reads text by itself."""
    if isinstance(model, RewardModel):
        return policy_wording(model.backbone)
    return FinishedWording(plain_prompt, plain_completion)


def as_completion(policy: Policy, text: str, finish: Finish = Finish.STOP) -> Completion:
    """A text as if it had been sampled, with the end token if it ended by itself; its log-probs are never read."""
    ids = policy.tokenizer(text, add_special_tokens=False)["input_ids"]
    end = [policy.tokenizer.eos_token_id] if finish is Finish.STOP else []
    tokens = np.asarray([*ids, *end], dtype=np.int64)
    return Completion(tokens, np.zeros(len(tokens), dtype=np.float32), finish, 0, text)
