"""From hidden states to log-probabilities of given tokens, without ever holding the logits of a whole batch.

Logits are the largest tensor of a training step: tokens x vocabulary. Here they exist for one chunk of tokens at a
time. What fits into one chunk keeps its logits until the backward pass; a longer batch computes each chunk's again,
which costs a fourth head product in place of memory.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

CHUNK_BYTES = 1 << 27
"""Logits alive at once, in fp32."""

_NEVER = -1e30


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """How hidden states become a distribution over the next token."""

    module: nn.Module
    """The model's own output embedding."""
    banned: Int[Tensor, "K"]
    """Ids of probability zero."""
    temperature: float
    """0.0 is greedy, whose choices are reported with their untempered probability."""
    compute_dtype: torch.dtype

    @property
    def vocabulary(self) -> int:
        """V."""
        weight = self.module.get_parameter("weight")
        return len(weight)

    @property
    def linear(self) -> nn.Linear | None:
        """The head if it is an ordinary linear layer without a bias, and nothing else."""
        module = self.module
        return module if type(module) is nn.Linear and module.bias is None else None

    @property
    def scale(self) -> float:
        """What logits are multiplied by."""
        return 1.0 if self.temperature == 0.0 else 1.0 / self.temperature

    def finished(self, products: Float[Tensor, "M V"]) -> Float[Tensor, "M V"]:
        """Scaled logits in fp32, -inf at banned ids, from the head's products."""
        scaled = products.float() * self.scale if self.scale != 1.0 else products.float()
        return scaled.index_fill(-1, self.banned, float("-inf"))


def logits_of(head: Head, hidden: Float[Tensor, "M D"]) -> Float[Tensor, "M V"]:
    """Scaled logits in fp32, -inf at banned ids."""
    with torch.autocast(hidden.device.type, head.compute_dtype, enabled=head.compute_dtype != torch.float32):
        logits = head.module(hidden)
    return head.finished(logits)


def picked_logprobs(
    head: Head,
    hidden: Float[Tensor, "M D"],
    targets: Int[Tensor, "M"],
    *,
    entropy_gradient: bool = False,
    chunk_bytes: int = CHUNK_BYTES,
) -> tuple[Float[Tensor, "M"], Float[Tensor, "M"]]:
    """log p(target) with gradient, and the entropy of the distribution (nats), one of each per token.

    The entropy has a gradient only with `entropy_gradient`; values and the other gradient do not depend on it.
    """
    if type(head.module) is nn.Linear:
        picked, entropy = _LinearHead.apply(
            hidden, head.module.weight, head.module.bias, targets, head, entropy_gradient, chunk_bytes
        )
        return picked, entropy
    # an adapter on the head, or a head of its own kind: its module is called, and autograd takes care
    rows = _rows(head, chunk_bytes)
    parts = [
        checkpoint(_picked, head, part, ids, entropy_gradient, use_reentrant=False)
        for part, ids in zip(hidden.split(rows), targets.split(rows), strict=True)
    ]
    return torch.cat([picked for picked, _ in parts]), torch.cat([entropy for _, entropy in parts])


def _picked(head: Head, hidden: Tensor, targets: Tensor, entropy_gradient: bool) -> tuple[Tensor, Tensor]:
    spread = logits_of(head, hidden).log_softmax(-1)
    with torch.set_grad_enabled(entropy_gradient and torch.is_grad_enabled()):
        finite = spread.clamp(min=torch.finfo(spread.dtype).min)  # 0 * -inf is not a number
        entropy = -(finite.exp() * finite).sum(-1)
    return spread.gather(-1, targets[:, None])[:, 0], entropy


def _rows(head: Head, chunk_bytes: int) -> int:
    """Tokens of a chunk."""
    return max(1, chunk_bytes // (4 * head.vocabulary))


class _LinearHead(torch.autograd.Function):
    """The head product and its softmax as one operation with a written-out gradient.

        d log p(y) / d logits = onehot(y) - p
        d H / d logits        = -p (log p + H)           H = -sum p log p; only if it is asked for

    so the gradient needs p alone, which is made from kept or repeated logits.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        head: Head,
        entropy_gradient: bool,
        chunk_bytes: int,
    ) -> tuple[Tensor, Tensor]:
        rows = _rows(head, chunk_bytes)
        dtype = torch.promote_types(head.compute_dtype, torch.float32)
        picked, entropy, normaliser = (hidden.new_empty(len(hidden), dtype=dtype) for _ in range(3))
        kept = None
        for first in range(0, len(hidden), rows):
            part = slice(first, first + rows)
            logits = _scaled(hidden[part], weight, bias, head)
            largest = logits.amax(-1, keepdim=True)
            logits -= largest
            kept = logits.exp()
            total = kept.sum(-1, keepdim=True)
            log_total = total.log()[:, 0]
            picked[part] = logits.gather(-1, targets[part, None])[:, 0] - log_total
            normaliser[part] = largest[:, 0] + log_total
            kept /= total
            entropy[part] = log_total - torch.linalg.vecdot(kept, logits)
        single = len(hidden) <= rows
        ctx.save_for_backward(
            hidden, weight, bias, targets, normaliser, kept if single else None, entropy if entropy_gradient else None
        )
        ctx.head, ctx.rows = head, rows
        if not entropy_gradient:
            ctx.mark_non_differentiable(entropy)
        return picked, entropy

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        hidden, weight, bias, targets, normaliser, kept, entropy = ctx.saved_tensors
        head, rows, upstream, for_entropy = ctx.head, ctx.rows, *gradients
        for_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for_bias = torch.zeros_like(bias) if bias is not None and ctx.needs_input_grad[2] else None
        for first in range(0, len(hidden), rows):
            part = slice(first, first + rows)
            if kept is None:
                spread = (_scaled(hidden[part], weight, bias, head) - normaliser[part, None]).exp_()
            else:
                spread = kept
            grad = spread * (-head.scale * upstream[part, None])
            grad[torch.arange(len(grad), device=grad.device), targets[part]] += head.scale * upstream[part]
            if entropy is not None:
                # p log p by xlogy, which is 0 where p is 0
                slope = torch.xlogy(spread, spread) + spread * entropy[part, None]
                grad -= slope * (head.scale * for_entropy[part, None])
            low = grad.to(head.compute_dtype)
            if for_hidden is not None:
                for_hidden[part] = (low @ weight.to(low.dtype)).to(hidden.dtype)
            if for_weight is not None:
                for_weight += (low.T @ hidden[part].to(low.dtype)).to(weight.dtype)
            if for_bias is not None:
                for_bias += grad.sum(0)
        return for_hidden, for_weight, for_bias, None, None, None, None


def _scaled(hidden: Tensor, weight: Tensor, bias: Tensor | None, head: Head) -> Tensor:
    """Logits of a chunk, scaled, in fp32; banned ids get a number so low that its exponential is 0."""
    low = head.compute_dtype
    logits = nn.functional.linear(hidden.to(low), weight.to(low), None if bias is None else bias.to(low)).float()
    if head.scale != 1.0:
        logits *= head.scale
    return logits.index_fill_(-1, head.banned, _NEVER)
