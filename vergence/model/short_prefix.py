"""The attention of a packed row whose sequences are all short: prompt keys beside each completion's own, one softmax.

Where a row of scores has a few dozen entries, starting kernels costs more than what they compute. Repeating the few
prompt keys for each completion then beats joining pieces; the prompt itself is still computed once.
"""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from vergence.model.packing import Packing, widened

SHORT = 4096
"""Scores of one completion and head up to which sequences count as short."""


def is_short(packing: Packing) -> bool:
    """Whether repeated prompt keys are cheaper than joined pieces."""
    width = packing.own.width
    return 0 < width * (packing.prompts.width + width) <= SHORT


@final
@dataclass(frozen=True, slots=True, eq=False)
class ShortPrefix:
    """The pattern of log-probs and updates for short sequences."""

    packing: Packing
    mask: Float[Tensor, "R 1 T W"]
    """Added to the scores of R completions (or of all of them alike, R = 1): first the prompt's cells, then its own."""

    @property
    def kept(self) -> Int[Tensor, "M"]:
        """As the packing says."""
        return self.packing.kept

    def attend(
        self,
        layer: int,
        query: Float[Tensor, "N H d"],
        key: Float[Tensor, "N K d"],
        value: Float[Tensor, "N K d"],
        scale: float,
    ) -> Float[Tensor, "N H d"]:
        """Exact attention with exact gradients; `layer` does not matter."""
        prompts, own, split = self.packing.prompts, self.packing.own, self.packing.num_prompt_tokens
        repeats = query.shape[1] // key.shape[1]
        prompt_keys, prompt_values = prompts.spread(key[:split]), prompts.spread(value[:split])
        of_prompts = scaled_dot_product_attention(
            prompts.spread(query[:split]),
            widened(prompt_keys, repeats),
            widened(prompt_values, repeats),
            is_causal=True,
            scale=scale,
        )
        owners = self.packing.own_prompts
        keys = torch.cat([prompt_keys.index_select(0, owners), own.spread(key[split:])], 2)
        values = torch.cat([prompt_values.index_select(0, owners), own.spread(value[split:])], 2)
        of_own = scaled_dot_product_attention(
            own.spread(query[split:]),
            widened(keys, repeats),
            widened(values, repeats),
            attn_mask=self.mask.to(query.dtype),
            scale=scale,
        )
        return torch.cat([prompts.gather(of_prompts), own.gather(of_own)])


def short_prefix(packing: Packing) -> ShortPrefix:
    """The pattern of a short packing."""
    width, device = packing.own.width, packing.own.lengths.device
    later = torch.ones(width, width, dtype=torch.bool, device=device).triu_(1)
    lengths = packing.prompts.lengths[packing.own_prompts] if packing.ragged_prompts else packing.prompts.lengths[:1]
    behind = torch.arange(packing.prompts.width, device=device) >= lengths[:, None]
    rows = len(lengths)
    hidden = torch.cat([behind[:, None].expand(-1, width, -1), later.expand(rows, -1, -1)], 2)
    return ShortPrefix(packing, torch.zeros(hidden.shape, device=device).masked_fill_(hidden, float("-inf"))[:, None])
