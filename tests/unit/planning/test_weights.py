"""Bytes of weights as a plan counts them, against those of real tensors."""

from pathlib import Path

import pytest
import torch
from families import DISTINCT, tiny_policy

from vergence.model.bfloat16 import hold_in_bfloat16
from vergence.model.lora import LowRank, attach, products_of
from vergence.model.parameters import trained_parameters
from vergence.model.policy import Policy
from vergence.model.quantized import quantize
from vergence.model.weights_copy import WeightsCopy
from vergence.planning.shape import config_of, shape_of
from vergence.planning.weights import held_weights
from vergence.recipe.sections import LoraSection, Roles, Trained
from vergence.stages.parts import training

UPDATED = Roles(language=Trained(lora=LoraSection(rank=3, alpha=6.0)))


def stored(policy: Policy) -> int:
    """Bytes, with the scales of what is in 4 bits."""
    scales = [getattr(one, "quant_state", None) for one in policy.model.parameters()]
    return sum(one.nbytes for one in policy.model.parameters()) + sum(
        one.absmax.nbytes for one in scales if one is not None
    )


@pytest.mark.parametrize("family", DISTINCT)
def test_in_bfloat16_they_are_those_of_the_tensors(family: str, tmp_path: Path) -> None:
    policy = tiny_policy(family, tmp_path)
    roles = Roles(language=Trained(freeze=True, learning_rate=0.0))
    trained = trained_parameters(policy, training(roles))
    held = held_weights(shape_of("tiny", config_of(tmp_path / f"{family}-0")), roles, "bfloat16")
    full = stored(policy)
    hold_in_bfloat16(policy, [name for found in trained.values() for name in found])
    assert stored(policy) == held.bytes < 0.8 * full
    assert 0 == held.cast


@pytest.mark.parametrize("dora", [False, True])
def test_low_rank_updates_are_what_is_trained_and_what_a_reference_holds(dora: bool, tmp_path: Path) -> None:
    policy = tiny_policy("llava", tmp_path)
    lora = LoraSection(rank=3, alpha=6.0, dora=dora, targets=("q_proj", "down_proj"))
    roles = Roles(language=Trained(lora=lora))
    held = held_weights(shape_of("tiny", config_of(tmp_path / "llava-0")), roles, "full")
    attach(policy, {"language": LowRank(rank=3, alpha=6.0, dora=dora, targets=lora.targets)}, seed=0)
    assert WeightsCopy.of_trained(policy, training(roles)).num_parameters == held.trained
    assert stored(policy) == held.bytes


def test_products_in_4_bits_take_their_bytes_and_scales(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="4-bit weights need bitsandbytes")
    policy = tiny_policy("llava", tmp_path)
    held = held_weights(shape_of("tiny", config_of(tmp_path / "llava-0")), UPDATED, "4bit")
    quantize(policy, [*products_of(policy, "vision"), *products_of(policy, "language")])
    attach(policy, {"language": LowRank(rank=3, alpha=6.0, dora=False)}, seed=0)
    assert stored(policy) == held.bytes


def test_casts_are_of_products_and_head_in_float32(tmp_path: Path) -> None:
    policy = tiny_policy("llava", tmp_path)
    shape = shape_of("tiny", config_of(tmp_path / "llava-0"))
    language = policy.family.language(policy.model)
    products = sum(one.weight.numel() for one in language.modules() if isinstance(one, torch.nn.Linear))
    expected = products + policy.model.get_output_embeddings().weight.numel()
    assert expected == held_weights(shape, Roles(), "full").cast
    updates = held_weights(shape, UPDATED, "full").cast - expected
    assert updates == held_weights(shape, UPDATED, "bfloat16").cast > 0
