"""Bytes by phase, counted from shapes. What a plan cannot know (fragments, libraries, the runtime) is left out.

always      weights of the policy, a copy of the trained ones for a reference; features that are remembered
generate    + keys and values of the prompts, once each, and of every completion; weights as passes compute with them
update      + gradients, optimizer state, activations of one micro-batch, one chunk of logits
"""

from dataclasses import dataclass

from vergence.planning.shape import Decoder, ModelShape
from vergence.planning.weights import Held
from vergence.planning.work import Batch, Lengths

LOGIT_CHUNK = 1024
"""Rows of logits that are in memory at a time (vergence/model/logprobs.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Formats:
    """Bytes of a number."""

    weights: int = 4
    """Of trained weights, gradients and both moments of AdamW: fp32."""
    compute: int = 2
    """Of activations, keys and values: 2 in bfloat16, 4 in fp32."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one device, by what they are for."""

    weights: float
    reference: float
    casts: float
    """Of weights in fp32 that are held in the shorter type of the passes too while completions are sampled."""
    features: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    cache: float

    @property
    def generate(self) -> float:
        """At most, while completions are sampled. Gradients are freed by then; the optimizer's state is not."""
        return self.weights + self.reference + self.casts + self.features + self.optimizer + self.cache

    @property
    def update(self) -> float:
        """At most, while weights are updated."""
        learning = self.gradients + self.optimizer + self.activations + self.logits
        return self.weights + self.reference + self.features + learning


def step_memory(
    shape: ModelShape,
    lengths: Lengths,
    batch: Batch,
    formats: Formats,
    *,
    held: Held,
    holds_reference: bool,
    microbatch_tokens: int,
    feature_bytes: float,
    rows_at_a_time: int,
    devices: int,
) -> Memory:
    """Of one step of grpo. Weights, gradients and state are spread evenly over `devices`; work is split among them."""
    prompt = lengths.prompt_tokens(shape.tower)
    rows = min(rows_at_a_time, -(-batch.prompts * batch.completions // devices))
    prompts = -(-rows // batch.completions)
    tokens = min(microbatch_tokens, batch.completions * lengths.response_tokens + prompt)
    tokens = max(tokens, prompt + lengths.response_tokens)
    return Memory(
        weights=held.bytes / devices,
        reference=formats.weights * held.trained / devices if holds_reference else 0.0,
        casts=formats.compute * held.cast / devices if formats.compute < formats.weights else 0.0,
        features=feature_bytes,
        gradients=formats.weights * held.trained / devices,
        optimizer=2 * formats.weights * held.trained / devices,
        activations=tokens * activation_bytes(shape.decoder, formats, batch.checkpointing),
        logits=2.0 * 4 * LOGIT_CHUNK * shape.decoder.vocabulary,
        cache=cache_bytes(shape.decoder, formats, prompts * prompt + rows * lengths.response_tokens),
    )


def activation_bytes(decoder: Decoder, formats: Formats, checkpointing: bool) -> float:
    """Kept for the backward pass, for each token.

    Of a layer: its input, the two normed states, queries, keys, values, the attention's result, and three of the inner
    width. With checkpointing only each layer's input, and one layer whole while it is computed again.
    """
    whole = 4 * decoder.width + 2 * decoder.query_width + 2 * decoder.key_width + 3 * decoder.inner
    if checkpointing:
        return float(formats.compute * (decoder.layers * decoder.width + whole))
    return float(formats.compute * decoder.layers * whole)


def cache_bytes(decoder: Decoder, formats: Formats, tokens: int) -> float:
    """Keys and values of so many tokens."""
    return float(2 * formats.compute * decoder.layers * decoder.key_width * tokens)
