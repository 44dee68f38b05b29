"""Every family against transformers' own model of it: image tokens, positions, features, what is trained and saved."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import DISTINCT, IMAGE_TOKEN, NAMES, image_inputs, model_inputs, picture_problems, tiny_policy
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForImageTextToText, AutoTokenizer, LlavaConfig, Trainer
from transformers.vision_utils import get_vision_window_index

from vergence.errors import DataError, ModelError
from vergence.model.batch import collate_prompts, shown
from vergence.model.families.family import Frame, Grid
from vergence.model.families.known import family_of
from vergence.model.families.qwen2_5_vl import mrope_positions, window_order
from vergence.model.forward import embed_prompts
from vergence.model.parameters import Training, role_parameters, role_table, trainable_groups
from vergence.model.plain import models_masks
from vergence.model.policy import Policy, encode, load_policy, preprocess
from vergence.model.save import save_policy
from vergence.model.vision import CachedTower
from vergence.types import ImageRef, Problem, Prompt

CPU = torch.device("cpu")
EVERY = pytest.mark.parametrize("policy", NAMES, indirect=True)
TRAINED = Training(freeze=False, learning_rate=1e-3, weight_decay=0.0)
FROZEN = Training(freeze=True, learning_rate=0.0, weight_decay=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


@pytest.fixture
def policy(request: pytest.FixtureRequest, folder: Path) -> Policy:
    return tiny_policy(request.param, folder)


@pytest.fixture(scope="module")
def problems(folder: Path) -> list[Problem]:
    return picture_problems(folder / "pictures")


def all_images(problems: list[Problem]) -> list[ImageRef]:
    return [image for problem in problems for image in problem.images]


def hf_inputs(policy: Policy, prompt: Prompt) -> dict[str, Any]:
    """What transformers' own forward pass reads."""
    return model_inputs(policy, prompt, torch.from_numpy(prompt.token_ids)[None])


# ── pictures -> tokens ───────────────────────────────────────────────────────────────────────────────────────────


@EVERY
def test_placeholders_rows_and_grids_agree_for_pictures_of_every_size(policy: Policy, problems: list[Problem]) -> None:
    for problem in problems:
        prompt = encode(policy, problem)
        placeholders = int((prompt.token_ids == policy.image_token_id).sum())
        if not problem.images:
            assert placeholders == 0
            continue
        pixels = preprocess(policy, shown(problem))
        assert sum(pixels.tokens) == placeholders
        assert len(pixels.values) == sum(pixels.rows)
        assert len(pixels.rows) == len(pixels.grids) == len(problem.images)


def test_the_grids_of_each_family(folder: Path, problems: list[Problem]) -> None:
    """Pictures of 20 x 24, 64 x 24, 24 x 64 and 17 x 33 pixels."""
    images = [all_images(problems)[place] for place in (0, 1, 2, 4)]
    assert preprocess(tiny_policy("internvl", folder), images).grids == ((1, 2, 2), (4, 2, 2), (4, 2, 2), (3, 2, 2))
    assert preprocess(tiny_policy("llava", folder), images).grids == ((1, 4, 4),) * 4
    qwen = preprocess(tiny_policy("qwen2_5_vl", folder), images)
    assert qwen.grids == ((1, 2, 3), (1, 7, 2), (1, 2, 7), (1, 2, 4))
    assert qwen.rows == tuple(4 * size for size in qwen.tokens)


def test_a_picture_of_internvl_with_a_token_count_that_is_no_square(folder: Path, problems: list[Problem]) -> None:
    policy = tiny_policy("internvl", folder)
    policy.config.image_seq_length = 3
    assert policy.family.grid(policy.config, policy.image_processor, Frame(64, 24)) == (12, 1, 1)


def test_the_class_token_of_llava_counts_where_it_is_kept(folder: Path, problems: list[Problem]) -> None:
    policy = tiny_policy("llava", folder)
    policy.config.vision_feature_select_strategy = "full"
    image = all_images(problems)[:1]
    assert preprocess(policy, image).tokens == [17]
    assert len(CachedTower(policy).embeddings(image)) == 17


@EVERY
def test_prompts_begin_with_the_begin_token_once(policy: Policy, problems: list[Problem]) -> None:
    """Whether the chat template writes it, or leaves it to a tokenizer that adds it by itself."""
    begin = policy.tokenizer.bos_token_id
    written = encode(policy, problems[0]).token_ids.tolist()
    policy.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", begin)]
    )
    assert encode(policy, problems[0]).token_ids.tolist() == written
    policy.tokenizer.chat_template = policy.tokenizer.chat_template.replace("<bos>", "")
    assert encode(policy, problems[0]).token_ids.tolist() == written
    assert written.count(begin) == 1


def test_a_question_that_says_otherwise_than_its_pictures_is_told(folder: Path, problems: list[Problem]) -> None:
    policy = tiny_policy("internvl", folder)
    for question, images, message in (
        ("is <image> in <image>?", problems[0].images, "says 2 times where a picture stands .<image>., and it has 1"),
        ("what is <image>?", (), "says 1 times where a picture stands .<image>., and it has 0"),
    ):
        with pytest.raises(DataError, match=f"problem p0: its question {message}"):
            encode(policy, replace(problems[0], question=question, images=images))


@EVERY
def test_one_placeholder_too_many_is_told(policy: Policy, problems: list[Problem]) -> None:
    """It would take a feature of its picture, and every picture behind it would stand one token off."""
    family = policy.family
    more = policy.tokenizer.decode([policy.image_token_id])
    wrong = replace(family, placeholder=lambda *given: family.placeholder(*given) + more)
    tokens = preprocess(policy, problems[0].images).tokens[0]
    with pytest.raises(ModelError, match=f"p0: {tokens + 1} image placeholders for {tokens} image tokens of 1 picture"):
        encode(replace(policy, family=wrong), problems[0])


def test_a_tokenizer_without_a_chat_template_is_told(folder: Path, problems: list[Problem]) -> None:
    policy = tiny_policy("llava", folder)
    policy.tokenizer.chat_template = None
    with pytest.raises(ModelError, match=r"no chat template; add a chat_template\.jinja"):
        encode(policy, problems[0])


def test_a_chat_template_that_only_the_processor_has_is_found(
    folder: Path, problems: list[Problem], tmp_path: Path
) -> None:
    policy = tiny_policy("llava", folder)
    template, policy.tokenizer.chat_template = policy.tokenizer.chat_template, None
    save_policy(policy, tmp_path, example_question="what?")
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    again = load_policy(tmp_path, torch.device("cpu"))
    expected = encode(tiny_policy("llava", folder), problems[0])
    assert encode(again, problems[0]).token_ids.tolist() == expected.token_ids.tolist()


# ── positions ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["internvl", "llava", "llava_onevision"])
def test_ordinary_positions_count_the_tokens(name: str, folder: Path, problems: list[Problem]) -> None:
    for problem in problems:
        prompt = encode(tiny_policy(name, folder), problem)
        assert prompt.positions.tolist() == [list(range(len(prompt.token_ids)))]


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl"])
def test_positions_of_three_axes_equal_those_of_the_model(name: str, folder: Path, problems: list[Problem]) -> None:
    policy = tiny_policy(name, folder)
    for problem in problems:
        prompt = encode(policy, problem)
        inputs = hf_inputs(policy, prompt)
        types = (inputs["input_ids"] == IMAGE_TOKEN).int()
        expected, delta = policy.model.model.get_rope_index(
            inputs["input_ids"], mm_token_type_ids=types, image_grid_thw=inputs.get("image_grid_thw")
        )
        assert np.array_equal(prompt.positions, expected[:, 0].numpy())
        assert prompt.positions.max() + 1 == len(prompt.token_ids) + int(delta), "where completions go on"


def test_the_example_of_three_axes() -> None:
    ids = np.array([8, 9, 4, 4, 4, 4, 8])
    positions = mrope_positions(ids, 4, [(1, 2, 2)])
    assert positions.tolist() == [[0, 1, 2, 2, 2, 2, 4], [0, 1, 2, 2, 3, 3, 4], [0, 1, 2, 3, 2, 3, 4]]


def test_a_placeholder_too_many_is_told() -> None:
    with pytest.raises(ModelError, match="3 image placeholders for 2 image tokens of 1 pictures"):
        mrope_positions(np.array([4, 4, 4]), 4, [(1, 1, 2)])


@given(st.lists(st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=3))
def test_windows_are_sorted_as_the_tower_sorts_them(grids: list[Grid]) -> None:
    patches = torch.tensor([(t, 2 * h, 2 * w) for t, h, w in grids])
    expected, _ = get_vision_window_index(patches, spatial_merge_size=2, window_size=24, patch_size=4)
    assert np.array_equal(window_order(grids, 3), expected.numpy())


# ── features ─────────────────────────────────────────────────────────────────────────────────────────────────────


@EVERY
def test_tower_and_adapter_give_the_models_own_image_features(policy: Policy, problems: list[Problem]) -> None:
    """Of pictures alone in their prompts, and of pictures among others."""
    for problem in problems:
        if not problem.images:
            continue
        with torch.no_grad():
            ours = CachedTower(policy).embeddings(shown(problem))
            output = policy.model.model.get_image_features(**image_inputs(policy, [problem.images]))
        width = policy.model.get_input_embeddings().weight.shape[1]
        depths = [output.pooler_output, *getattr(output, "deepstack_features", ())]
        theirs = torch.cat([torch.cat([one.reshape(-1, width) for one in depth]) for depth in depths], dim=1)
        assert torch.allclose(ours, theirs, atol=1e-6)
        assert float(theirs.std()) > 0.05, "not a comparison of zeros"


@EVERY
def test_decoder_on_our_embeddings_and_positions_gives_the_models_own_logits(
    policy: Policy, problems: list[Problem]
) -> None:
    tower = CachedTower(policy)
    for problem in problems:
        prompt = encode(policy, problem)
        positions = torch.from_numpy(prompt.positions)
        with torch.no_grad():
            asked = embed_prompts(policy, collate_prompts([prompt], CPU), tower)
            hidden = policy.family.language(policy.model)(
                inputs_embeds=asked.tokens[None],
                position_ids=positions if len(positions) == 1 else positions[:, None],
                **models_masks(policy, torch.from_numpy(prompt.token_ids), asked.tokens),
                **asked.beside,
            ).last_hidden_state
            ours = policy.model.get_output_embeddings()(hidden)
            theirs = policy.model(**hf_inputs(policy, prompt)).logits
        assert torch.allclose(ours, theirs, atol=1e-4)


# ── what is trained ──────────────────────────────────────────────────────────────────────────────────────────────


@EVERY
def test_every_trained_parameter_gets_a_gradient_and_no_other_has_one_to_get(
    policy: Policy, problems: list[Problem]
) -> None:
    groups = trainable_groups(policy, {"vision": TRAINED, "adapter": TRAINED, "language": TRAINED})
    for problem in problems[:2]:
        policy.model(**hf_inputs(policy, encode(policy, problem))).logits.square().mean().backward()
    trained = {name for group in groups for name in group.parameters}
    moved = {
        name
        for name, parameter in policy.model.named_parameters()
        if parameter.grad is not None and bool(parameter.grad.any())
    }
    assert moved == trained
    for group in groups:
        for parameter in group.parameters.values():
            parameter.requires_grad_(True)
    assert {name for name, parameter in policy.model.named_parameters() if parameter.requires_grad} == trained


@pytest.mark.parametrize("name", DISTINCT)
def test_weight_decay_spares_what_transformers_spares_and_what_else_is_one_dimensional(name: str, folder: Path) -> None:
    """Its own list goes by names, and misses norms that are called otherwise (Qwen2.5-VL's ln_q) and layer scales."""
    policy = tiny_policy(name, folder)
    decayed = Training(freeze=False, learning_rate=1.0, weight_decay=0.1)
    groups = trainable_groups(policy, {"vision": decayed, "adapter": decayed, "language": decayed})
    parameters = {name: one for group in groups for name, one in group.parameters.items()}
    ours = {name for group in groups for name in group.parameters if group.decay_of(name) == 0.1}
    theirs = set(Trainer.get_decay_parameter_names(None, policy.model)) & parameters.keys()
    assert ours <= theirs
    assert {parameters[name].ndim for name in theirs - ours} <= {1}
    assert any("embed_tokens" in name for name in ours)
    table = role_table(policy, {"vision": decayed, "adapter": decayed, "language": FROZEN})
    expected = {group.name: sum(parameters[one].numel() for one in group.parameters if one in ours) for group in groups}
    assert expected | {"language": 0} == {row.role: row.decayed for row in table}


@pytest.mark.parametrize(("layer", "unused"), [(-2, 18), (-1, 2), (1, 34), ([-3, -2], 18)])
def test_llavas_layers_behind_the_one_that_is_read_are_never_trained(
    layer: int | list[int], unused: int, folder: Path
) -> None:
    policy = tiny_policy("llava", folder)
    policy.config.vision_feature_layer = layer
    groups = trainable_groups(policy, {"vision": TRAINED, "adapter": FROZEN, "language": FROZEN})
    everything = role_parameters(policy)["vision"]
    assert [group.name for group in groups] == ["vision"]
    assert len(everything) - len(groups[0].parameters) == unused
    row = role_table(policy, {"vision": TRAINED, "adapter": FROZEN, "language": FROZEN})[0]
    assert row.trainable == sum(parameter.numel() for parameter in groups[0].parameters.values()) < row.total


@pytest.mark.parametrize(("layer", "unused"), [(-1, 0), (-2, 1)])
def test_internvls_layers_behind_an_inner_one_are_never_trained(layer: int, unused: int, folder: Path) -> None:
    policy = tiny_policy("internvl", folder)
    policy.config.vision_feature_layer = layer
    groups = trainable_groups(policy, {"vision": TRAINED, "adapter": FROZEN, "language": FROZEN})
    left_out = role_parameters(policy)["vision"].keys() - groups[0].parameters.keys()
    assert {name.split("layer.")[1][0] for name in left_out if "encoder" in name} == {"1"} if unused else not left_out


def test_an_adapter_inside_the_tower_is_the_adapter(folder: Path) -> None:
    roles = role_parameters(tiny_policy("qwen2_5_vl", folder))
    assert all(name.startswith("model.visual.merger.") for name in roles["adapter"])
    assert not any("merger" in name for name in roles["vision"])
    assert len(roles["adapter"]) == 5


# ── saved and loaded ─────────────────────────────────────────────────────────────────────────────────────────────


@EVERY
def test_a_saved_policy_is_one_that_transformers_reads(policy: Policy, problems: list[Problem], tmp_path: Path) -> None:
    save_policy(policy, tmp_path, example_question="what?")
    theirs = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    prompt = encode(policy, problems[3])
    assert tokenizer.decode(prompt.token_ids) == policy.tokenizer.decode(prompt.token_ids)
    inputs = hf_inputs(policy, prompt)
    with torch.no_grad():
        assert torch.equal(theirs(**inputs).logits, policy.model(**inputs).logits)
    assert "what?" in (tmp_path / "README.md").read_text()


def test_the_processor_of_a_saved_llava_writes_the_same_prompt(folder: Path, problems: list[Problem]) -> None:
    from PIL import Image
    from transformers import AutoProcessor

    policy = tiny_policy("llava", folder)
    processor = AutoProcessor.from_pretrained(policy.model.name_or_path)
    assert type(processor).__name__ == "LlavaProcessor"
    for problem in (problems[0], problems[3]):
        content = [*({"type": "image"} for _ in problem.images), {"type": "text", "text": problem.question}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
        pictures = [Image.open(image.path) for image in problem.images]
        inputs = processor(images=pictures, text=text, return_tensors="pt", add_special_tokens=False)
        assert inputs["input_ids"][0].tolist() == encode(policy, problem).token_ids.tolist()
        assert torch.equal(inputs["pixel_values"], preprocess(policy, problem.images).values)


def test_the_example_in_the_readme_of_a_saved_llava_runs(
    folder: Path, problems: list[Problem], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tiny_policy("llava", folder)
    directory = Path(policy.model.name_or_path)
    shutil.copy(problems[0].images[0].path, directory / "picture.png")
    monkeypatch.chdir(directory)
    names: dict[str, Any] = {}
    exec((directory / "README.md").read_text().split("```python\n")[1].split("```")[0], names)
    ours = encode(policy, replace(problems[0], question="what?"))
    assert names["inputs"]["input_ids"][0].tolist() == ours.token_ids.tolist()
    assert capsys.readouterr().out.strip()


def test_suppressed_tokens_of_the_generation_config_are_never_sampled(folder: Path) -> None:
    policy = tiny_policy("llava", folder)
    assert policy.banned_token_ids == (IMAGE_TOKEN,)
    policy.model.generation_config.suppress_tokens = [9, IMAGE_TOKEN, 7]
    assert policy.banned_token_ids == (IMAGE_TOKEN, 7, 9)


def test_a_tower_that_a_family_does_not_know_is_refused() -> None:
    config = LlavaConfig(vision_config={"model_type": "pixtral"})
    with pytest.raises(ModelError, match='vision tower of type "pixtral" is not supported'):
        family_of(config)


def test_llava_layers_that_nobody_reads_do_not_run_and_are_whole_afterwards(
    folder: Path, problems: list[Problem]
) -> None:
    """The tower is read before its last layer; transformers' own forward pass runs that layer as before."""
    policy = tiny_policy("llava", folder)
    layers = policy.model.model.vision_tower.encoder.layers
    ran = []
    handles = [layer.mlp.register_forward_hook(partial(_note, ran, index)) for index, layer in enumerate(layers)]
    prompt = encode(policy, problems[0])
    with torch.no_grad():
        CachedTower(policy).embeddings(problems[0].images)
        assert ran == list(range(len(layers) - 1))
        ran.clear()
        policy.model(**hf_inputs(policy, prompt))
    assert ran == list(range(len(layers)))
    for handle in handles:
        handle.remove()


def _note(ran: list[int], index: int, *ignored: object) -> None:
    ran.append(index)
