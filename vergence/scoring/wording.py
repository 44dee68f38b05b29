"""How text becomes prompts and completions for a reward model."""

import numpy as np

from vergence.model.ends import end_of_turn
from vergence.model.policy import Policy, encode
from vergence.model.reward_head import RewardModel
from vergence.pairs.comparisons import Wording
from vergence.scoring.plain import plain_completion, plain_prompt
from vergence.scoring.scorer import RawScorer
from vergence.types import Completion, Finish


def wording_of(policy: Policy) -> Wording:
    """The policy's chat template and tokenizer; a text that ended by itself gets the token that closes a turn.

    Raises ModelError if the policy has no end token.
    """
    end = end_of_turn(policy)

    def completion(text: str, finish: Finish = Finish.STOP) -> Completion:
        ids = policy.tokenizer(text, add_special_tokens=False)["input_ids"]
        tokens = np.asarray([*ids, end] if finish is Finish.STOP else ids, dtype=np.int64)
        return Completion(tokens, np.zeros(len(tokens), dtype=np.float32), finish, 0, text)

    return Wording(lambda problem: encode(policy, problem), completion)


def scorer_wording(model: RawScorer) -> Wording:
    """A reward model of ours reads tokens; any other reads text by itself."""
    if isinstance(model, RewardModel):
        return wording_of(model.backbone)
    return Wording(plain_prompt, plain_completion)
