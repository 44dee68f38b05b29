"""Frozen weights in bfloat16: half the memory of float32, for weights that nobody trains."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from vergence.model.policy import Policy


def large_weights(model: Any) -> dict[int, nn.Parameter]:
    """By identity, the weights of products and convolutions, and the table of the input embedding.

    An embedding that does more than look up (Gemma's multiplies) is not among them: it would compute in bfloat16.
    """
    table = model.get_input_embeddings()
    modules: list[Any] = [one for one in model.modules() if isinstance(one, nn.Linear | _ConvNd)]
    modules += [table] if type(table) is nn.Embedding else []
    return {id(one.weight): one.weight for one in modules}


def hold_in_bfloat16(policy: Policy, trained: Collection[str]) -> None:
    """Hold the large weights that are not `trained` (names) in bfloat16, in place; all others stay as they are.

    Passes in bfloat16 round the weights of products to it at every use, so what these compute is the same to the bit.
    Embeddings are rounded, which changes nothing where the checkpoint was stored in bfloat16; what is looked up is
    float32 again, as is what is added up along the layers. A weight that is tied to a trained one is trained.
    """
    parameters = dict(policy.model.named_parameters())
    kept = {id(parameters[name]) for name in trained}
    for identity, weight in large_weights(policy.model).items():
        if identity not in kept and weight.dtype == torch.float32:
            weight.data = weight.data.to(torch.bfloat16)
    table = policy.model.get_input_embeddings()
    if table.weight.dtype == torch.bfloat16:
        table.register_forward_hook(_in_float32)


def _in_float32(module: nn.Module, given: Any, rows: Tensor) -> Tensor:
    return rows.float()
