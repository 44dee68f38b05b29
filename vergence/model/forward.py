"""The forward pass that everything shares: each prompt once, its completions beside it, gradients exact.

    prompt (with its image)  ->  keys and values [P]  ->  indexed to [B]  ->  completions attend to them

The number of completions changes neither how often an image is encoded nor how often a prompt is computed.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vergence.errors import DataError
from vergence.model.batch import Batch
from vergence.model.policy import Policy
from vergence.model.vision import Tower
from vergence.types import ImageRef


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """P prompts after their pass."""

    cache: Any
    """Keys and values of P rows."""
    last: Float[Tensor, "P D"]
    """Hidden state of each prompt's last token."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenScores:
    """What the policy says of given completions."""

    logprobs: Float[Tensor, "B T"]
    """0.0 where the batch's mask is False."""
    entropy: Float[Tensor, "B T"]
    """Of the distribution that each token was drawn from, in nats, without gradient; 0.0 where masked."""


def embed_prompts(
    policy: Policy, ids: Int[Tensor, "P S"], images: tuple[ImageRef, ...], tower: Tower
) -> Float[Tensor, "P S D"]:
    """Token embeddings with image embeddings in the placeholders' places.

    Raises DataError if placeholders and image features differ in number.
    """
    embedded: Tensor = policy.model.get_input_embeddings()(ids)
    if not images:
        return embedded
    with policy.precision():
        features = policy.family.project(policy.model, tower.features(images)).flatten(0, 1)
    places = ids == policy.image_token_id
    if int(places.sum()) != len(features):
        raise DataError(
            f"image {images[0].path} (first of {len(images)} in its batch): {len(features)} image features for "
            f"{int(places.sum())} placeholders in the prompts; the prompt was cut or the image changed on disk"
        )
    return embedded.masked_scatter(places[..., None], features.to(embedded.dtype))


def run_prompts(
    policy: Policy,
    ids: Int[Tensor, "P S"],
    mask: Bool[Tensor, "P S"],
    images: tuple[ImageRef, ...],
    tower: Tower,
) -> Prefix:
    """The one pass over the prompts."""
    from transformers import DynamicCache

    embedded = embed_prompts(policy, ids, images, tower)
    cache = DynamicCache()
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    hidden = continue_from(policy, cache, embedded, positions, None if bool(mask.all()) else mask.long())
    return Prefix(cache, hidden[:, -1])


def continue_from(
    policy: Policy,
    cache: Any,
    embedded: Float[Tensor, "B L D"],
    positions: Int[Tensor, "B L"],
    attention: Int[Tensor, "B W"] | None,
) -> Float[Tensor, "B L D"]:
    """Run the language model on further embeddings; the cache grows by them."""
    with policy.precision():
        output = policy.family.language(policy.model)(
            inputs_embeds=embedded,
            attention_mask=attention,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )
    hidden: Tensor = output.last_hidden_state
    return hidden


def completion_hidden(
    policy: Policy, batch: Batch, token_ids: Int[Tensor, "B L"], tower: Tower
) -> Float[Tensor, "B L+1 D"]:
    """Hidden states after the prompt's last token (index 0) and after each of `token_ids` (index 1 ..).

    `token_ids` are the batch's completions or a left part of them.
    """
    prefix = run_prompts(policy, batch.prompt_ids, batch.prompt_mask, batch.images, tower)
    first = prefix.last[batch.owner][:, None]
    if token_ids.shape[1] == 0:
        return first
    prefix.cache.batch_select_indices(batch.owner)
    lengths = batch.prompt_mask.sum(1)[batch.owner]
    steps = torch.arange(token_ids.shape[1], device=token_ids.device)
    embedded = policy.model.get_input_embeddings()(token_ids)
    attention = _attention(batch, token_ids.shape[1])
    hidden = continue_from(policy, prefix.cache, embedded, lengths[:, None] + steps, attention)
    return torch.cat([first, hidden], dim=1)


def token_scores(policy: Policy, batch: Batch, *, temperature: float, tower: Tower) -> TokenScores:
    """Log-probabilities of the batch's completions under exactly the distribution that sampling uses.

    That is: logits divided by the temperature, and image placeholders excluded.
    """
    hidden = completion_hidden(policy, batch, batch.token_ids[:, :-1], tower)
    logprobs = distribution(policy, hidden, temperature)
    picked = logprobs.gather(-1, batch.token_ids[..., None])[..., 0]
    with torch.no_grad():
        finite = logprobs.clamp(min=torch.finfo(logprobs.dtype).min)  # 0 * -inf is not a number
        entropy = -(finite.exp() * finite).sum(-1)
    zero = torch.zeros((), dtype=picked.dtype, device=picked.device)
    return TokenScores(torch.where(batch.mask, picked, zero), torch.where(batch.mask, entropy, zero))


def distribution(policy: Policy, hidden: Float[Tensor, "*N D"], temperature: float) -> Float[Tensor, "*N V"]:
    """Log-probabilities of the next token, in fp32."""
    with policy.precision():
        logits = policy.model.get_output_embeddings()(hidden)
    logits = logits.float()
    if temperature not in (0.0, 1.0):  # greedy choices are reported with their untempered probability
        logits = logits / temperature
    banned = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
    banned[list(policy.banned_token_ids)] = True
    spread: Tensor = logits.masked_fill(banned, float("-inf")).log_softmax(-1)
    return spread


def _attention(batch: Batch, width: int) -> Int[Tensor, "B W"] | None:
    """Prompt padding must be hidden; padding after a completion needs no mask, because attention is causal."""
    if bool(batch.prompt_mask.all()):
        return None
    prompts = batch.prompt_mask[batch.owner]
    return torch.cat([prompts, torch.ones_like(batch.token_ids[:, :width], dtype=torch.bool)], dim=1).long()
