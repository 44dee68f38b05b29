"""How responses end: with one token for all that are compared, whoever wrote them.

A model may end with any of several tokens, and a text that was cut into tokens by somebody else ends with the one that
was put there. Whoever reads the last token, a reward model above all, would learn from it who made the response.
"""

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from vergence.errors import ModelError
from vergence.model.policy import Policy
from vergence.types import Completion, Finish

_SAID = "written"
"""A response of one word, to see what a chat template puts behind it."""


def end_of_turn(policy: Policy) -> int:
    """The token that closes a response: of the policy's end tokens the one that its chat template writes behind a turn,
    or else the tokenizer's.

    Example: the models of a family may end with `<end_of_turn>` and with `<eos>`; its template closes turns with the
    first, and its tokenizer calls the second the end token. Raises ModelError if there is none.
    """
    ends = policy.end_token_ids
    if not ends:
        raise ModelError("the checkpoint has no end token; name eos_token_id in its generation_config.json")
    written = policy.tokenizer(_behind_a_turn(policy), add_special_tokens=False)["input_ids"]
    usual = policy.tokenizer.eos_token_id
    return next((one for one in written if one in ends), ends[0] if usual is None else int(usual))


def ended_alike(completion: Completion, ends: Collection[int], end: int) -> Completion:
    """A response that ended by itself with `end` in place of whichever of `ends` it has; one that was cut off as it is.

    Its log-probs, which may be those of another token, are 0.0 throughout: this is for reading, not for training.
    """
    if completion.finish is not Finish.STOP:
        return completion
    ids = completion.token_ids
    body = ids[:-1] if len(ids) and int(ids[-1]) in ends else ids
    tokens = np.append(body, end).astype(np.int64)
    return replace(completion, token_ids=tokens, sampler_logprobs=np.zeros(len(tokens), dtype=np.float32))


def _behind_a_turn(policy: Policy) -> str:
    """What the chat template writes behind the text of a response; "" where it has no place for one."""
    if policy.tokenizer.chat_template is None:
        return ""
    for content in ([{"type": "text", "text": _SAID}], _SAID):
        turns = [
            {"role": "user", "content": [{"type": "text", "text": "?"}]},
            {"role": "assistant", "content": content},
        ]
        try:
            text = policy.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=False)
        except Exception:  # a template is a program, and may refuse either form in any way
            continue
        if _SAID in text:
            return str(text.rsplit(_SAID, 1)[1])
    return ""
