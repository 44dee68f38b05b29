"""Attention for prompts that are computed once, as an implementation that any Hugging Face decoder can be switched to.

transformers lets a model's attention be replaced by name, and hands further keyword arguments of the forward call down
to it. Ours is called "vergence". Given a `pattern` it attends by that pattern; without one it is transformers' own sdpa
attention, so a switched model behaves like any other.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from vergence.errors import ModelError

NAME = "vergence"
_USUAL_LAYERS = {
    "LlamaDecoderLayer",
    "MistralDecoderLayer",
    "Qwen2DecoderLayer",
    "Qwen3DecoderLayer",
    "Qwen2_5_VLDecoderLayer",
    "Qwen3VLTextDecoderLayer",
}
"""Layers of norm, attention, addition, norm, MLP, addition, and nothing else. By name, because others look alike."""
_NORMS_BEHIND = {"Gemma3DecoderLayer"}
"""The same with a further norm behind attention and behind the MLP."""
_REFUSED = ("softcap", "s_aux", "position_bias")
"""Arguments of other kinds of attention, which patterns do not compute."""


@runtime_checkable
class Pattern(Protocol):
    """Who attends to whom in a packed row of N tokens."""

    @property
    def kept(self) -> Int[Tensor, "M"] | None:
        """Tokens whose last hidden states are asked for, None if all are."""
        ...

    def attend(
        self,
        layer: int,
        query: Float[Tensor, "N H d"],
        key: Float[Tensor, "N K d"],
        value: Float[Tensor, "N K d"],
        scale: float,
    ) -> Float[Tensor, "N H d"]:
        """The attention of one layer; H query heads share K key heads."""
        ...

    def windowed(self, window: int) -> "Pattern":
        """The same row as a layer sees it whose tokens attend to the last `window` tokens of their sequence."""
        ...


def attend(
    module: Any,
    query: Float[Tensor, "B H N d"],
    key: Float[Tensor, "B K M d"],
    value: Float[Tensor, "B K M d"],
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    pattern: Pattern | None = None,
    **others: Any,
) -> tuple[Float[Tensor, "B N H d"], None]:
    """What transformers calls in every attention layer. Raises ModelError for kinds of attention not supported."""
    if pattern is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return output, None
    for name in _REFUSED:
        if others.get(name) is not None:
            raise ModelError(
                f"{type(module).__name__}: attention with {name} = {others[name]} cannot share prompts; "
                "use a model with full attention"
            )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    # under autocast the rotation has made queries and keys fp32 again; they are computed in as sdpa would
    asked, keys, values = (tensor[0].transpose(0, 1).to(value.dtype) for tensor in (query, key, value))
    window = others["sliding_window"] if "sliding_window" in others else window_of(module)
    seen = pattern if window is None else pattern.windowed(window)
    return seen.attend(module.layer_idx, asked, keys, values, scale)[None], None


def window_of(module: Any) -> int | None:
    """The sliding window of a decoder's attention module, as its config says; None for full attention.

    transformers lets decoders with and without windows share one config: where layers have types, only those that
    slide have the window.
    """
    window: int | None = getattr(module.config, "sliding_window", None)
    types = getattr(module.config, "layer_types", None)
    return window if types is None or types[module.layer_idx] == "sliding_attention" else None


def switch(language: Any) -> None:
    """Let a Hugging Face decoder attend through `attend`; where no pattern is given nothing changes.

    Raises ModelError for decoders in which tokens reach each other by anything but full attention and sliding windows:
    in a packed row they would reach other sequences.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    others = set(getattr(language.config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if others:
        raise ModelError(
            f"{type(language).__name__}: layers of type {', '.join(sorted(others))} cannot share prompts, only full "
            "attention and sliding windows can; use another language model"
        )
    if getattr(language.config, "use_bidirectional_attention", None):
        raise ModelError(
            f"{type(language).__name__}: its text is read in both directions (use_bidirectional_attention), so it "
            "cannot write; use another language model"
        )
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    language.config._attn_implementation = NAME
    last = language.layers[-1]
    if type(last).__name__ in _USUAL_LAYERS:
        _derive(last, _LastLayer)
    elif type(last).__name__ in _NORMS_BEHIND:
        _derive(last, _LastLayerWithNormsBehind)


def _derive(layer: Any, kind: type) -> None:
    """Let the class of a layer go through `kind`.

    A class and not a method of the one object, because transformers (5.24) checkpoints the `forward` of classes.
    """
    usual = type(layer)
    layer.__class__ = type(usual.__name__, (kind, usual), {"__module__": usual.__module__})


def _kept(named: Mapping[str, Any]) -> Int[Tensor, "M"] | None:
    """The tokens that anybody asks for; None for all."""
    pattern: Pattern | None = named.get("pattern")
    return None if pattern is None else pattern.kept


class _LastLayer:
    """The last layer of a decoder, whose MLP runs for the tokens that anybody asks for.

    Behind it the other tokens have nobody to give anything to: all of a prompt but its last token, which is most of a
    row where prompts are long.
    """

    def forward(self: Any, hidden_states: Tensor, *others: Any, **named: Any) -> Tensor:
        """[1, N, D] to [1, M, D], or to [1, N, D] without a pattern."""
        kept = _kept(named)
        if kept is None:
            whole: Tensor = super().forward(hidden_states, *others, **named)  # type: ignore[misc]
            return whole
        attended, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **named)
        joined = hidden_states.index_select(1, kept) + attended.index_select(1, kept)
        output: Tensor = joined + self.mlp(self.post_attention_layernorm(joined))
        return output


class _LastLayerWithNormsBehind:
    """The same for a layer that norms what attention and MLP give."""

    def forward(self: Any, hidden_states: Tensor, *others: Any, **named: Any) -> Tensor:
        """[1, N, D] to [1, M, D], or to [1, N, D] without a pattern."""
        kept = _kept(named)
        if kept is None:
            whole: Tensor = super().forward(hidden_states, *others, **named)  # type: ignore[misc]
            return whole
        attended, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **named)
        given = self.post_attention_layernorm(attended.index_select(1, kept))
        joined = hidden_states.index_select(1, kept) + given
        output: Tensor = joined + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(joined)))
        return output
