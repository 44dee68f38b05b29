"""Operations against those that torch counts while it runs a model, bytes against those of real tensors."""

from pathlib import Path

import numpy as np
import pytest
import torch
from families import picture_problems, tiny_policy
from torch.utils.flop_counter import FlopCounterMode

from vergence.model.policy import Policy, encode, preprocess
from vergence.planning.lengths import data_lengths
from vergence.planning.memory import Formats, activation_bytes, cache_bytes, step_memory
from vergence.planning.plan import fitting, plan_stages, step_seconds
from vergence.planning.rates import Rates, measured, preset
from vergence.planning.shape import ModelShape, config_of, shape_of
from vergence.planning.weights import held_weights
from vergence.planning.work import (
    Batch,
    Lengths,
    completion_operations,
    prompt_operations,
    step_work,
    tower_operations,
)
from vergence.recipe.load import load_recipe
from vergence.recipe.sections import Roles, Trained

COUNTED = ("internvl", "llava", "qwen2_5_vl")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plans")


def tiny(folder: Path, family: str) -> tuple[Policy, ModelShape]:
    policy = tiny_policy(family, folder)
    return policy, shape_of(family, config_of(folder / f"{family}-0"))


@pytest.mark.parametrize("family", COUNTED)
def test_a_prompts_operations_are_those_that_torch_counts(family: str, folder: Path) -> None:
    """Torch counts whole squares of attention, half of which a causal mask leaves out; so it is counted both ways."""
    policy, shape = tiny(folder, family)
    language, length = policy.family.language(policy.model), 40
    language.config._attn_implementation = "eager"
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        language(inputs_embeds=torch.zeros(1, length, shape.decoder.width), use_cache=False)
    square = 4 * shape.decoder.layers * shape.decoder.query_width * length * (length - 1) / 2
    assert prompt_operations(shape.decoder, length) + square == pytest.approx(counter.get_total_flops(), rel=0.02)


@pytest.mark.parametrize("family", COUNTED)
def test_a_pictures_operations_are_those_that_torch_counts(family: str, folder: Path) -> None:
    policy, shape = tiny(folder, family)
    tower = getattr(policy.model.model, "visual", None) or policy.model.model.vision_tower
    tower.config._attn_implementation = "eager"
    problem = picture_problems(folder / "pictures", 3)[1]
    pixels = preprocess(policy, problem.images)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        policy.family.tower(policy.model, pixels)
    patches = sum(pixels.tokens) * shape.tower.fold
    merger = 2 * shape.adapter_products * sum(pixels.tokens) if family == "qwen2_5_vl" else 0  # it runs with the tower
    planned = tower_operations(shape.tower, patches) + merger
    assert planned == pytest.approx(counter.get_total_flops(), rel=0.06)


def test_a_completion_costs_what_its_tokens_cost_one_by_one(folder: Path) -> None:
    """Token t attends to the prompt and to t tokens of its own."""
    _, shape = tiny(folder, "llava")
    decoder = shape.decoder
    by_hand = sum(
        2 * decoder.products
        + 2 * decoder.width * decoder.vocabulary
        + 4 * decoder.layers * decoder.query_width * (30 + step)
        for step in range(1, 9)
    )
    assert completion_operations(decoder, 30, 8) == pytest.approx(by_hand)


def test_a_prompt_is_computed_once_whatever_the_number_of_completions(folder: Path) -> None:
    _, shape = tiny(folder, "llava")
    lengths = Lengths(text_tokens=20, pictures=1, patches=16, response_tokens=10)
    few, many = (step_work(shape, lengths, Batch(prompts=4, completions=count)) for count in (2, 8))
    assert few.prefill == many.prefill
    assert few.vision == many.vision
    assert many.decode == 4 * few.decode
    assert (many.prompt_tokens, many.completion_tokens) == (4 * 36, 4 * 8 * 10)


def test_what_is_frozen_costs_less(folder: Path) -> None:
    _, shape = tiny(folder, "llava")
    lengths = Lengths(text_tokens=20, pictures=1, patches=16, response_tokens=10)

    def update(**changes: bool) -> float:
        return step_work(shape, lengths, Batch(prompts=4, completions=4, **changes)).update

    assert update() == pytest.approx(3 / 2 * update(trains_language=False))
    assert update(checkpointing=True) == pytest.approx(4 / 3 * update())
    assert update(trains_language=False, trains_adapter=False) == pytest.approx(update() / 3)


def test_bytes_of_weights_gradients_and_moments_are_those_of_real_tensors(folder: Path) -> None:
    policy, shape = tiny(folder, "llava")
    lengths = Lengths(text_tokens=20, pictures=1, patches=16, response_tokens=10)
    memory = step_memory(
        shape,
        lengths,
        Batch(prompts=4, completions=4, reference=True, trains_vision=True),
        Formats(compute=4),
        held=held_weights(shape, Roles(vision=Trained()), "full"),
        holds_reference=True,
        microbatch_tokens=1000,
        feature_bytes=0.0,
        rows_at_a_time=100,
        devices=1,
    )
    parameters = list(policy.model.parameters())
    for one in parameters:
        one.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameters)
    for one in parameters:
        one.grad = torch.zeros_like(one)
    optimizer.step()
    state = sum(value.numel() * 4 for one in optimizer.state.values() for name, value in one.items() if name != "step")
    assert memory.weights == memory.reference == memory.gradients == sum(one.numel() * 4 for one in parameters)
    assert memory.optimizer == state


def test_bytes_of_the_cache_are_those_of_keys_and_values(folder: Path) -> None:
    policy, shape = tiny(folder, "llava")
    language = policy.family.language(policy.model)
    language.config._attn_implementation = "eager"
    cache = language(inputs_embeds=torch.zeros(1, 12, shape.decoder.width), use_cache=True).past_key_values
    real = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert cache_bytes(shape.decoder, Formats(compute=4), 12) == real


def test_activations_are_of_the_size_that_autograd_keeps(folder: Path) -> None:
    """What is saved for the backward pass, counted by hooks; an estimate, so within a factor of 1.6."""
    policy, shape = tiny(folder, "llava")
    language, length = policy.family.language(policy.model), 64
    language.config._attn_implementation = "sdpa"
    weights = {one.data_ptr() for one in language.parameters()}
    for one in language.parameters():
        one.requires_grad_(True)
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if tensor.data_ptr() not in weights and storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = language(inputs_embeds=torch.zeros(1, length, shape.decoder.width), use_cache=False)
    assert output.last_hidden_state.requires_grad
    planned = length * activation_bytes(shape.decoder, Formats(compute=4), checkpointing=False)
    assert 1 / 1.6 < planned / sum(kept.values()) < 1.6


def test_devices_share_weights_and_rows(folder: Path) -> None:
    _, shape = tiny(folder, "llava")
    lengths = Lengths(text_tokens=20, pictures=1, patches=16, response_tokens=10)
    batch = Batch(prompts=8, completions=4)

    def memory(devices: int) -> object:
        return step_memory(
            shape,
            lengths,
            batch,
            Formats(),
            held=held_weights(shape, Roles(), "full"),
            holds_reference=False,
            microbatch_tokens=100,
            feature_bytes=0.0,
            rows_at_a_time=1024,
            devices=devices,
        )

    one, four = memory(1), memory(4)
    assert one.weights == 4 * four.weights  # type: ignore[attr-defined]
    assert one.cache == 4 * four.cache  # type: ignore[attr-defined]
    rates = Rates("a machine", 1e12, 1e11, 0.0, 0.5)
    work = step_work(shape, lengths, batch)
    slow, fast = (step_seconds(shape, lengths, batch, work, rates, Formats(), devices=count) for count in (1, 4))
    assert slow.update == pytest.approx(4 * fast.update)
    assert slow.update == pytest.approx(work.update / 0.5e12)


def test_lengths_are_measured_on_data_without_weights(folder: Path) -> None:
    policy, shape = tiny(folder, "qwen2_5_vl")
    problems = picture_problems(folder / "data", 3)
    lengths = data_lengths(shape, folder / "qwen2_5_vl-0", problems, 7)
    prompts = [encode(policy, problem) for problem in problems]
    image = [int((one.token_ids == policy.image_token_id).sum()) for one in prompts]
    assert lengths.text_tokens == round(float(np.mean([len(one.token_ids) for one in prompts]) - np.mean(image)))
    assert lengths.image_tokens(shape.tower) == pytest.approx(float(np.mean(image)), abs=1)
    assert lengths.response_tokens == 7


def test_rates_are_given_or_measured() -> None:
    assert preset("h100").memory == 80e9
    found = measured(torch.device("cpu"), torch.float32, side=128, seconds=0.02)
    assert 1e8 < found.operations < 1e15
    assert 1e8 < found.bytes < 1e13


def test_the_built_in_plans_fit_where_their_files_say() -> None:
    for name, devices in (("qwen2_5-vl-3b", 1), ("qwen2_5-vl-7b", 8), ("r1v2-38b", 64)):
        from vergence.planning.lengths import told_lengths
        from vergence.planning.shape import recipe_config

        recipe = load_recipe(name)
        label, config = recipe_config(recipe)
        shape = shape_of(label, config)
        lengths = told_lengths(shape, config, text_tokens=256, pictures=1, size=(768, 1024), response_tokens=6000)
        for plan in plan_stages(recipe, shape, lengths, preset("h100"), Formats(), devices=devices):
            assert fitting(plan.memory, 80e9) in ("fits", "tight"), (name, plan.label)
