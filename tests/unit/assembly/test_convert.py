"""Published checkpoints become ones of transformers, tensor by tensor, and compute what was published.

Expected numbers come from tests/published.py: the published computation in plain torch, on the published tensors.
"""

import itertools
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from assembled import CPU, language, put_together
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from published import IMAGE_TOKENS, Published, save_sharded, tower_states, write_chat, write_tokenizer, write_tower
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForImageTextToText, AutoTokenizer

from vergence.assembly import stored
from vergence.assembly.convert import plan_conversion, write_conversion
from vergence.assembly.stored import Held, Rows, whole
from vergence.cli import main
from vergence.data.images import reference
from vergence.errors import ModelError, ParityError
from vergence.model.policy import Policy, encode, load_policy, preprocess
from vergence.model.vision import CachedTower
from vergence.rollout.local import LocalGenerator
from vergence.types import Problem, Sampling

BIG, SMALL = "InternViT-6B-448px-V2_5", "InternViT-300M-448px-V2_5"


def converted(published: Published, out: Path, **choices: Any) -> Path:
    plan = plan_conversion(published.folder, **choices)
    out.mkdir()
    write_conversion(plan, out, 4.0, "What is there?")
    return out


@pytest.fixture(scope="module")
def r1v2(tmp_path_factory: pytest.TempPathFactory) -> tuple[Published, Policy]:
    """R1V2's layout: the 6B tower's settings, Qwen2, tiles, its tokenizer's own chat template."""
    folder = tmp_path_factory.mktemp("r1v2")
    published = write_chat(folder / "published", dtype=torch.float32)
    return published, load_policy(converted(published, folder / "converted"), CPU)


def asked(*pictures: Path, question: str = "What is there?") -> Problem:
    images = tuple(reference(path, "a test") for path in pictures)
    return Problem("one", question, images, "x", "all", frozenset(), "")


def picture(path: Path, height: int, width: int) -> Path:
    Image.fromarray(np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    return path


# ── the numbers ──────────────────────────────────────────────────────────────────────────────────────────────────

WHOLE: dict[str, dict[str, Any]] = {
    "R1V2": {},
    "in bfloat16": {"dtype": torch.bfloat16},
    "InternVL3-8B": {"tower": SMALL, "template": "internvl2_5", "model_type": "internvl_chat"},
    "InternVL3_5-38B": {"language": "Qwen3ForCausalLM", "model_type": "internvl_chat"},
    "a Llama": {"language": "LlamaForCausalLM"},
    "InternVL2_5-26B": {"language": "InternLM2ForCausalLM", "model_type": "internvl_chat"},
    "packed, with biases": {"tower": SMALL, "language": "InternLM2ForCausalLM", "words": {"bias": True}},
    "an inner layer": {"select_layer": -2},
    "fourfold": {"downsample_ratio": 0.25},
    "not folded": {"downsample_ratio": 1.0},
    "tied": {"words": {"tie_word_embeddings": True}},
}


@pytest.mark.parametrize("name", WHOLE)
def test_logits_are_the_published_ones(name: str, tmp_path: Path) -> None:
    published = write_chat(tmp_path / "published", **{"dtype": torch.float32} | WHOLE[name])
    out = converted(published, tmp_path / "converted")
    model, info = AutoModelForImageTextToText.from_pretrained(out, dtype=torch.float32, output_loading_info=True)
    assert {kind: names for kind, names in info.items() if names} == {}
    rng = torch.Generator().manual_seed(3)
    tokens = model.config.image_seq_length
    assert tokens == round((4 * published.raw["downsample_ratio"]) ** 2), "56 / 14 patches along a side"
    ids = torch.randint(0, 250, (12 + 2 * tokens,), generator=rng)
    ids[2 : 2 + tokens] = ids[5 + tokens : 5 + 2 * tokens] = model.config.image_token_id
    pixels = torch.randn(2, 3, 56, 56, generator=rng)
    with torch.no_grad():
        ours = model(input_ids=ids[None], pixel_values=pixels).logits[0]
        blind = model(input_ids=ids[None, -5:]).logits[0]
    theirs = published.logits(ids, pixels, model.config.image_token_id)
    assert theirs.abs().max() > 1
    assert torch.allclose(ours, theirs, atol=2e-4)
    assert torch.allclose(blind, published.logits(ids[-5:], None, -1), atol=2e-4)
    assert not torch.allclose(ours[-5:], blind, atol=0.05), "the pictures matter"


@pytest.mark.parametrize("name", [BIG, SMALL])
def test_a_tower_alone_gives_the_published_features(name: str, tmp_path: Path) -> None:
    published = write_tower(tmp_path / name, name, dtype=torch.float32)
    model = AutoModel.from_pretrained(converted(published, tmp_path / "converted"), dtype=torch.float32)
    assert (model.config.model_type, type(model).__name__) == ("internvl_vision", "InternVLVisionModel")
    pixels = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        ours = model(pixel_values=pixels).last_hidden_state
    theirs = torch.stack([tower_states(published.tensors, published.raw, one)[-1] for one in pixels])
    assert torch.allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize(("name", "check_gb"), [(BIG, 8.0), (SMALL, 0.0)])
def test_assembly_takes_a_tower_as_it_is_published(name: str, check_gb: float, tmp_path: Path) -> None:
    """The 38B recipe's `vision = "models/InternViT-6B-448px-V2_5"`."""
    published = write_tower(tmp_path / name, name, dtype=torch.float32)
    lm = language("qwen2", tmp_path / "lm")
    assembled = put_together(tmp_path / name, lm, tmp_path / "out", max_tiles=4, check_gb=check_gb)
    assert assembled.parity.tower_features == 0.0
    policy = load_policy(tmp_path / "out", CPU)
    image = picture(tmp_path / "p.png", 60, 100)
    pixels = preprocess(policy, asked(image).images)
    theirs = torch.stack([tower_states(published.tensors, published.raw, one)[-1] for one in pixels.values])
    with torch.no_grad():
        ours = policy.model.model.vision_tower(pixel_values=pixels.values).last_hidden_state
    assert torch.allclose(ours, theirs, atol=1e-4)


@given(
    blocks=st.integers(1, 5), first=st.integers(0, 3), length=st.integers(1, 4), gap=st.integers(0, 3), data=st.data()
)
def test_rows_of_a_packed_tensor_are_those_of_a_view(
    blocks: int, first: int, length: int, gap: int, data: st.DataObject
) -> None:
    stride = first + length + gap
    packed = torch.arange(blocks * stride * 2).view(blocks * stride, 2)
    rows = Rows(Held(packed), first, length, stride, blocks)
    expected = packed.view(blocks, stride, 2)[:, first : first + length].reshape(-1, 2)
    assert rows.shape == tuple(expected.shape)
    assert torch.equal(whole(rows), expected)
    start = data.draw(st.integers(0, len(expected)))
    stop = data.draw(st.integers(start, len(expected)))
    assert torch.equal(rows.rows(start, stop), expected[start:stop])


@pytest.mark.parametrize("name", ["R1V2", "packed, with biases"])
def test_every_number_in_the_files_is_a_published_one_in_its_format(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pieces of odd size: all numbers together, sorted."""
    monkeypatch.setattr(stored, "PIECE", 777)
    published = write_chat(tmp_path / "published", **WHOLE[name])
    plan = plan_conversion(published.folder)
    (tmp_path / "out").mkdir()
    files = write_conversion(plan, tmp_path / "out", 0.0005, "?")
    assert len(files) > 1
    found = [one for file in files for one in load_file(tmp_path / "out" / file).values()]
    assert {one.dtype for one in found} == {torch.bfloat16}
    ours = torch.cat([one.flatten() for one in found]).sort().values
    assert torch.equal(ours, torch.cat([one.flatten() for one in published.tensors.values()]).sort().values)


def test_another_number_format_is_asked_for(tmp_path: Path) -> None:
    published = write_chat(tmp_path / "published")
    out = converted(published, tmp_path / "out", number_format="float32")
    assert {one.dtype for one in load_file(out / "model.safetensors").values()} == {torch.float32}
    assert json.loads((out / "config.json").read_text())["dtype"] == "float32"


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────────


def published_grid(width: int, height: int, fewest: int, most: int, side: int) -> tuple[int, int]:
    """Columns and rows of the nearest ratio; of equally near ones a larger, for a picture of over half its pixels."""
    grids = [(i, j) for i, j in itertools.product(range(1, most + 1), repeat=2) if fewest <= i * j <= most]
    best, nearest = (1, 1), math.inf
    for grid in sorted(grids, key=lambda one: one[0] * one[1]):
        distance = abs(width / height - grid[0] / grid[1])
        if distance < nearest or (distance == nearest and width * height > 0.5 * side * side * grid[0] * grid[1]):
            best, nearest = grid, distance
    return best


def published_tiles(image: Image.Image, fewest: int, most: int, side: int) -> np.ndarray:
    """[K, 3, side, side]: the picture scaled to whole tiles, cut, with a thumbnail behind several."""
    columns, rows = published_grid(*image.size, fewest, most, side)
    scaled = image.resize((columns * side, rows * side), Image.Resampling.BICUBIC)
    tiles = [
        scaled.crop((x * side, y * side, (x + 1) * side, (y + 1) * side)) for y in range(rows) for x in range(columns)
    ]
    tiles += [image.resize((side, side), Image.Resampling.BICUBIC)] if len(tiles) > 1 else []
    numbers = np.stack([np.asarray(tile, dtype=np.float64) for tile in tiles]).transpose(0, 3, 1, 2) / 255
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return (numbers - mean[:, None, None]) / std[:, None, None]


@pytest.mark.parametrize("size", [(56, 56), (40, 200), (200, 40), (170, 111), (30, 30), (300, 224), (64, 512)])
def test_pictures_are_cut_and_scaled_as_published(
    size: tuple[int, int], r1v2: tuple[Published, Policy], tmp_path: Path
) -> None:
    path = picture(tmp_path / "p.png", *size)
    pixels = preprocess(r1v2[1], asked(path).images)
    theirs = published_tiles(Image.open(path), 1, 12, 56)
    assert tuple(pixels.values.shape) == theirs.shape
    assert np.abs(pixels.values.numpy() - theirs).max() < 0.5 / 255, "less than a step of the smallest kind"


@given(width=st.integers(1, 2000), height=st.integers(1, 2000), limits=st.tuples(st.integers(1, 4), st.integers(1, 12)))
def test_the_number_of_tiles_is_the_published_one(width: int, height: int, limits: tuple[int, int]) -> None:
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    fewest, most = min(limits), max(limits)
    square = {"height": 448, "width": 448}
    processor = GotOcr2ImageProcessorPil(size=square, crop_to_patches=True, min_patches=fewest, max_patches=most)
    columns, rows = published_grid(width, height, fewest, most, 448)
    tiles = columns * rows + (columns * rows > 1)
    assert processor.get_number_of_image_patches(height, width) == tiles


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (True, 1, 12)),
        ({"min_dynamic_patch": 2, "max_dynamic_patch": 6}, (True, 2, 6)),
        ({"dynamic_image_size": False, "use_thumbnail": False}, (False, 1, 1)),
        ({"max_dynamic_patch": 1, "use_thumbnail": False}, (False, 1, 1)),
    ],
)
def test_tiles_of_the_config_are_those_of_the_image_processor(
    changes: dict[str, Any], expected: tuple[bool, int, int], tmp_path: Path
) -> None:
    out = converted(write_chat(tmp_path / "published", **changes), tmp_path / "out")
    said = json.loads((out / "preprocessor_config.json").read_text())
    assert (said["crop_to_patches"], said["min_patches"], said["max_patches"]) == expected


def test_a_forced_size_of_pictures_is_kept_and_positions_are_fitted_to_it(tmp_path: Path) -> None:
    published = write_chat(tmp_path / "published", force_image_size=84)
    policy = load_policy(converted(published, tmp_path / "out"), CPU)
    assert policy.config.image_seq_length == 9
    path = picture(tmp_path / "p.png", 84, 84)
    assert preprocess(policy, asked(path).images).values.shape == (1, 3, 84, 84)
    assert len(CachedTower(policy).embeddings(asked(path).images)) == 9


# ── words ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_vergence_answers_as_the_published_model_does(r1v2: tuple[Published, Policy], tmp_path: Path) -> None:
    """From the file of a picture to tokens: prompt, tiles, embeddings, greedy decoding."""
    published, policy = r1v2
    path = picture(tmp_path / "p.png", 60, 130)
    prompt = encode(policy, asked(path))
    tiles = torch.from_numpy(published_tiles(Image.open(path), 1, 12, 56)).float()
    context = "<IMG_CONTEXT>" * 4 * len(tiles)
    told = (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        f"<|im_start|>user\n<img>{context}</img>\nWhat is there?<|im_end|>\n<|im_start|>assistant\n<think>\n"
    )
    ids = AutoTokenizer.from_pretrained(published.folder)(told)["input_ids"]
    assert prompt.token_ids.tolist() == ids
    sampling = Sampling(num_completions=1, max_new_tokens=5, temperature=0.0)
    [group] = LocalGenerator(policy, CachedTower(policy)).generate([asked(path)], sampling, seed=0, version=0)
    sequence = torch.tensor(ids)
    for token in group.completions[0].token_ids.tolist():
        logits = published.logits(sequence, tiles, policy.image_token_id)[-1]
        logits[policy.image_token_id] = -math.inf  # never sampled
        first, second = logits.topk(2).values.tolist()
        assert first - second > 1e-2, "no choice hangs on rounding"
        assert token == int(logits.argmax())
        sequence = torch.cat([sequence, torch.tensor([token])])


SYSTEM = "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"  # noqa: RUF001


def rendered(folder: Path, messages: list[dict[str, Any]]) -> str:
    text: str = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
    return text


def test_the_conversation_that_the_config_names_is_the_chat_template(tmp_path: Path) -> None:
    out = converted(
        write_chat(tmp_path / "published", template="internvl2_5", model_type="internvl_chat"), tmp_path / "out"
    )
    parts = [{"type": "image"}, {"type": "text", "text": "What?"}]
    assert rendered(out, [{"role": "user", "content": parts}]) == (
        f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n<IMG_CONTEXT>\nWhat?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    turns = [
        {"role": "system", "content": "Be\nbrief."},
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "and 2 + 2?"},
    ]
    assert rendered(out, turns) == (
        "<|im_start|>system\nBe\nbrief.<|im_end|>\n<|im_start|>user\n1 + 1?<|im_end|>\n"
        "<|im_start|>assistant\n2<|im_end|>\n<|im_start|>user\nand 2 + 2?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_an_earlier_conversation_has_no_line_breaks_between_turns(tmp_path: Path) -> None:
    published = write_chat(
        tmp_path / "published",
        template="internlm2-chat",
        model_type="internvl_chat",
        system_message="It's {{ me }}\\n.",
    )
    out = converted(published, tmp_path / "out")
    assert rendered(out, [{"role": "user", "content": "Hi"}]) == (
        "<|im_start|>system\nIt's {{ me }}\\n.<|im_end|><|im_start|>user\nHi<|im_end|><|im_start|>assistant\n"
    )


@pytest.mark.parametrize("name", ["skywork-r1v2-chat", None, "internvl2_5"])
def test_skywork_models_and_unknown_conversations_take_the_tokenizers_template_and_say_so(
    name: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published = write_chat(tmp_path / "published", template=name)
    assert main(["convert", str(published.folder), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    reason = "as its authors' example asks it" if name == "internvl2_5" else "which is not known"
    assert "chat template: the tokenizer's own" in told
    assert reason in told
    written = rendered(
        tmp_path / "out", [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]
    )
    assert written.endswith("<|im_start|>user\n<IMG_CONTEXT>\n?<|im_end|>\n<|im_start|>assistant\n<think>\n")


def test_tokens_keep_their_ids_and_the_tokenizer_needs_no_other_file(
    r1v2: tuple[Published, Policy], tmp_path: Path
) -> None:
    published, policy = r1v2
    old = AutoTokenizer.from_pretrained(published.folder)
    assert policy.tokenizer.get_vocab() == old.get_vocab()
    texts = [
        "What is there?",
        "<|im_start|>x<|im_end|>",
        " two  spaces\n\ttabs",
        "日本語 ☺ naïve",
        "<img><IMG_CONTEXT></img>",
    ]
    assert [policy.tokenizer(text)["input_ids"] for text in texts] == [old(text)["input_ids"] for text in texts]
    assert policy.tokenizer.decode(old("<img>a</img>")["input_ids"], skip_special_tokens=True) == "a"
    ids = json.loads((published.folder / "added_tokens.json").read_text())
    assert policy.image_token_id == ids["<IMG_CONTEXT>"]
    assert policy.end_token_ids == (ids["<|endoftext|>"], ids["<|im_end|>"]), "the config's, and the tokenizer's"


def test_a_vocabulary_without_spare_rows_and_video_token_gets_a_row_that_is_never_sampled(tmp_path: Path) -> None:
    """As InternLM2's: 92,553 tokens in as many rows."""
    published = write_chat(tmp_path / "published", spare=0)
    added = json.loads((published.folder / "added_tokens.json").read_text())
    names = {"<|video_pad|>": "<|other|>"}
    for name in ("added_tokens.json", "tokenizer_config.json"):
        path = published.folder / name
        path.write_text(path.read_text().replace(*next(iter(names.items()))))
    policy = load_policy(converted(published, tmp_path / "out"), CPU)
    rows = max(added.values()) + 1
    assert policy.tokenizer.convert_tokens_to_ids("<video>") == rows
    assert policy.config.text_config.vocab_size == rows + 1
    assert rows in policy.banned_token_ids
    stored_rows = published.tensors["language_model.model.embed_tokens.weight"]
    table = load_file(tmp_path / "out" / "model.safetensors")["language_model.model.embed_tokens.weight"]
    assert torch.equal(table[:rows], stored_rows)


def test_a_head_that_is_stored_though_it_is_the_embedding_must_be_equal(tmp_path: Path) -> None:
    published = write_chat(tmp_path / "published", words={"tie_word_embeddings": True})
    table = published.tensors["language_model.model.embed_tokens.weight"]
    save_sharded(published.folder, published.tensors | {"language_model.lm_head.weight": table.clone()})
    out = converted(published, tmp_path / "out")
    assert "lm_head.weight" not in load_file(out / "model.safetensors")
    save_sharded(published.folder, published.tensors | {"language_model.lm_head.weight": table + 1})
    with pytest.raises(ModelError, match=r"language_model\.lm_head\.weight is another matrix"):
        plan_conversion(published.folder)


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────


def edited(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Published], None]:
    def edit(published: Published) -> None:
        tensors = dict(published.tensors)
        change(tensors)
        save_sharded(published.folder, tensors)

    return edit


def config(**changes: Any) -> Callable[[Published], None]:
    def edit(published: Published) -> None:
        raw = json.loads(json.dumps(published.raw))
        for key, value in changes.items():
            section = raw
            *above, last = key.split("__")
            for name in above:
                section = section[name]
            section[last] = value
        (published.folder / "config.json").write_text(json.dumps(raw))

    return edit


def other_code(published: Published) -> None:
    path = published.folder / "tokenizer_config.json"
    said = json.loads(path.read_text()) | {"tokenizer_class": "InternLM2Tokenizer"}
    path.write_text(
        json.dumps(said | {"auto_map": {"AutoTokenizer": ["tokenization_internlm2.InternLM2Tokenizer", None]}})
    )


def without_picture_tokens(published: Published) -> None:
    write_tokenizer(published.folder, tokens=("<img>",))


QKV = "vision_model.encoder.layers.1.attn.qkv.weight"
REFUSED: dict[str, tuple[Callable[[Published], None], str]] = {
    "a missing tensor": (
        edited(lambda t: t.pop(QKV)),
        rf"its files lack 1 tensors that the config asks for, {QKV}; copy",
    ),
    "missing layers": (
        config(vision_config__num_hidden_layers=5),
        r"its files lack \d+ tensors that the config asks for, vision_model\.encoder\.layers\.3\.",
    ),
    "a tensor too many": (
        edited(lambda t: t.update({"action_embed.weight": torch.ones(2)})),
        r"1 tensors that the config does not account for, action_embed\.weight",
    ),
    "another shape": (
        edited(lambda t: t.update({"mlp1.3.bias": torch.ones(2)})),
        r"tensor mlp1\.3\.bias has the shape \(2,\) in the files, and the config makes it \(160,\)",
    ),
    "a packed tensor of another height": (
        edited(lambda t: t.update({QKV: torch.ones(301, 100)})),
        r"attn\.qkv\.weight has the shape \(301, 100\) in the files, and the config makes it \(300, 100\)",
    ),
    "the old shuffle": (config(ps_version="v1"), r"ps_version = 'v1'.*expected \"v2\""),
    "padded pictures": (config(pad2square=True), r"pad2square = True: its pictures are padded"),
    "low-rank updates": (config(use_llm_lora=16), r"use_llm_lora = 16: .*merge them first"),
    "tiles without a thumbnail": (config(use_thumbnail=False), r"use_thumbnail = false with up to 12 tiles"),
    "an odd size": (config(force_image_size=70), r"pictures of 70 pixels are no whole number of 2 x 2 patches of 14"),
    "an odd ratio": (config(downsample_ratio=0.3), r"downsample_ratio = 0\.3; expected one divided by"),
    "no such layer": (config(select_layer=-9), r"select_layer = -9; the tower has hidden states -4 to 3"),
    "experts": (config(llm_config__architectures=["Qwen3MoeForCausalLM"]), r"class Qwen3MoeForCausalLM, which cannot"),
    "positions of its own": (config(llm_config__rope_pos_id_version="v2pe"), r"rope_pos_id_version = 'v2pe'"),
    "another epsilon": (config(vision_config__layer_norm_eps=1e-5), r"normalises queries and keys with .* = 1e-05"),
    "another norm": (config(vision_config__norm_type="none"), r'norm_type "none"; expected one of rms_norm'),
    "a tower of experts": (config(vision_config__use_moe=True), r"mixture of experts"),
    "quantised weights": (config(llm_config__quantization_config={"quant_method": "awq"}), r"weights are quantised"),
    "a section too few": (config(llm_config=None), r"no section llm_config"),
    "a width of words": (config(llm_config__hidden_size="wide"), r"its llm_config cannot be used \(.*hidden_size"),
    "heads that do not divide": (
        config(vision_config__num_attention_heads=7),
        r"its tower is 100 wide and has 7 heads",
    ),
    "a tokenizer with code": (other_code, r"read by code of its own, which is never run; put a tokenizer\.json beside"),
    "no tokens of pictures": (
        without_picture_tokens,
        r"has no token </img>, <IMG_CONTEXT>, which its model was trained",
    ),
    "another model's tokenizer": (config(llm_config__vocab_size=100), r"config makes it \(100, 160\)"),
    "no known conversation": (
        lambda published: (
            config(template="mine")(published),
            write_tokenizer(published.folder, None),
        )[0],
        r'names the conversation "mine", which is not known \(known are internvl2_5',
    ),
    "no layout at all": (config(model_type="qwen2"), r'"qwen2" is no layout that is converted.*needs no conversion'),
    "no files": (lambda published: shutil.rmtree(published.folder), r"no config\.json"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_converted_is_refused_in_one_line_and_nothing_is_written(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit, reason = REFUSED[what]
    published = write_chat(tmp_path / "published")
    edit(published)
    assert main(["convert", str(published.folder), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert re.search(reason, told.err), told.err
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_of_more_tokens_than_rows_is_refused(tmp_path: Path) -> None:
    published = write_chat(tmp_path / "published", spare=-3)
    with pytest.raises(ModelError, match=r"gives '</box>' the id 314 and the language model has 312 rows"):
        plan_conversion(published.folder)


def test_tables_that_follow_from_the_config_may_be_stored(tmp_path: Path) -> None:
    published = write_chat(tmp_path / "published")
    name = "language_model.model.layers.0.self_attn.rotary_emb.inv_freq"
    save_sharded(published.folder, published.tensors | {name: torch.ones(2)})
    converted(published, tmp_path / "out")


def test_a_tokenizer_of_other_code_is_read_from_its_whole_file(tmp_path: Path) -> None:
    published = write_chat(tmp_path / "published")
    AutoTokenizer.from_pretrained(published.folder).backend_tokenizer.save(str(published.folder / "tokenizer.json"))
    expected = AutoTokenizer.from_pretrained(published.folder).get_vocab()
    other_code(published)
    policy = load_policy(converted(published, tmp_path / "out"), CPU)
    assert policy.tokenizer.get_vocab() == expected
    assert policy.tokenizer("<img>x y</img>")["input_ids"][0] == expected["<img>"]
    assert set(IMAGE_TOKENS[:3]) <= set(policy.tokenizer.get_vocab())


@pytest.mark.parametrize("swapped", [("layernorm_before", "layernorm_after"), ("q_proj", "k_proj")])
def test_a_class_that_computes_something_else_is_found_before_anything_is_written(
    swapped: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two tensors of the same shape change places in the map of names, as another version of transformers might do."""
    import vergence.assembly.internvl_chat as module

    real = module.Chat.origin

    def wrong(chat: Any, name: str, config: Any) -> Any:
        one, other = swapped
        return real(chat, name.replace(one, "@").replace(other, one).replace("@", other), config)

    published = write_chat(tmp_path / "published")
    monkeypatch.setattr(module.Chat, "origin", wrong)
    with pytest.raises(ParityError, match=r"does not compute what the authors' code does"):
        plan_conversion(published.folder)


def test_an_interrupted_conversion_leaves_nothing_and_a_killed_ones_rest_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    published, out = write_chat(tmp_path / "published"), tmp_path / "there" / "out"
    rest = tmp_path / "there" / ".tmp-out-abc"
    rest.mkdir(parents=True)
    (rest / "model.safetensors").write_bytes(b"half of it")
    real, count = stored.InFile.rows, itertools.count()

    def interrupted(source: Any, start: int, stop: int) -> torch.Tensor:
        if next(count) == 40:
            raise KeyboardInterrupt
        return real(source, start, stop)

    monkeypatch.setattr(stored.InFile, "rows", interrupted)
    command = ["convert", str(published.folder), "--out", str(out)]
    assert main(command) == 1
    assert list(out.parent.iterdir()) == []
    assert main(command) == 0
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    capsys.readouterr()
    assert main(command) == 2
    assert "exists and is not empty" in capsys.readouterr().err
