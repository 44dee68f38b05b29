"""The text of a response: everything that was generated and stands for text.

`skip_special_tokens` of transformers leaves out more: a tokenizer may have tokens of its own for <think> or <answer>,
marked as special, and a form or a grader that reads them would never see them.
"""

from collections.abc import Sequence
from typing import final

import numpy as np

from vergence.model.families.family import Frame
from vergence.model.policy import Policy
from vergence.types import Ints

_ROLES = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id")
_SMALL = Frame(224, 224)
"""A picture that every image processor takes."""


@final
class ResponseText:
    """Token ids of a policy's responses to text; made anew when its tokenizer changes."""

    def __init__(self, policy: Policy) -> None:
        self._tokenizer = policy.tokenizer
        self._silent = np.array(sorted(silent_token_ids(policy)), dtype=np.int64)

    def __call__(self, token_ids: Ints | Sequence[int]) -> str:
        """One response, or the beginning of one."""
        return self.batch([token_ids])[0]

    def batch(self, rows: Sequence[Ints | Sequence[int]]) -> list[str]:
        """Several."""
        kept = [ids[~np.isin(ids, self._silent)] for ids in (np.asarray(row, dtype=np.int64) for row in rows)]
        texts: list[str] = self._tokenizer.batch_decode([ids.tolist() for ids in kept], skip_special_tokens=False)
        return texts


def silent_token_ids(policy: Policy) -> frozenset[int]:
    """Ids that stand for no text: what begins, ends and fills a sequence, the unknown token, the tokens of pictures.

    Every other one is part of the text, also where the tokenizer calls it special.
    """
    roles = [getattr(policy.tokenizer, role, None) for role in _ROLES]
    known = {int(role) for role in roles if role is not None}
    return frozenset({*known, *policy.end_token_ids, *policy.placeholder_token_ids, *_around_pictures(policy)})


def _around_pictures(policy: Policy) -> set[int]:
    """Special tokens that a prompt with a picture has, and one without has not."""
    tokenizer = policy.tokenizer
    picture = policy.family.placeholder(policy.config, tokenizer, policy.image_processor, _SMALL)
    plain = shown = ""
    if tokenizer.chat_template is not None:
        text = {"type": "text", "text": ""}
        plain, shown = (
            tokenizer.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
            for content in ([text], [{"type": "image"}, text])
        )
        shown = shown.replace(policy.family.mark(policy.config, tokenizer), picture)
    special = {token for token, one in tokenizer.added_tokens_decoder.items() if one.special}
    texts = (shown + picture, plain)
    with_picture, without = (set(tokenizer(one, add_special_tokens=False)["input_ids"]) for one in texts)
    return (with_picture - without) & special
