"""A value head beside a vision-language model scores as trl's does: its last hidden state, at the last token of all."""

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import IMAGE_TOKEN, picture_problems, tiny_policy
from safetensors.torch import save_file
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vergence.data.images import load_image
from vergence.errors import DataError, ModelError, RecipeError
from vergence.recipe.reward_model import LoadRewardModelStage
from vergence.scoring.load import scorer_for, source_of
from vergence.scoring.plain import plain_completion, plain_prompt
from vergence.stages.reward_model.elsewhere import named_source
from vergence.types import Problem, RolloutGroup

from ..builders import problem

CPU = torch.device("cpu")
TEMPLATE = (
    "{% for message in messages %}<bos>{{ message.role }}:{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for part in message.content %}{% if part.type == 'image' %}<img><image></img>{% else %}"
    "{{ part.text }}{% endif %}{% endfor %}{% endif %}<eos> {% endfor %}"
    "{% if add_generation_prompt %}<bos>assistant:{% endif %}"
)
"""As Qwen2.5-VL's: a character stands behind the end of a turn."""
RESPONSES = ["so it is 12", "7", " because of that: 3", "12 12 12"]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen2.5-VL with a head of known numbers, in the files that Skywork publishes."""
    tmp = tmp_path_factory.mktemp("published")
    tiny_policy("qwen2_5_vl", tmp)
    folder = tmp / "qwen2_5_vl-0"
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    rng = torch.Generator().manual_seed(5)
    write_head(folder, {"weight": torch.randn(1, 64, generator=rng), "bias": torch.tensor([0.75])})
    return folder


def write_head(folder: Path, head: dict[str, torch.Tensor], prefix: str = "v_head.summary.") -> None:
    save_file({f"{prefix}{name}": one.contiguous() for name, one in head.items()}, folder / "value_head.safetensors")


@cache
def plain_model(folder: Path) -> Any:
    return Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()


def trl_score(folder: Path, asked: Problem, response: str) -> float:
    """The model card's computation with plain transformers: one conversation, the value at its last token."""
    model = plain_model(folder)
    processor = Qwen2VLImageProcessorPil.from_pretrained(folder)
    text = "<bos>user:" + "<img><image></img>" * len(asked.images)
    text += f"{asked.question}<eos> <bos>assistant:{response}<eos> "
    inputs: dict[str, Any] = {}
    if asked.images:
        inputs = dict(processor([load_image(one) for one in asked.images], return_tensors="pt"))
        for grid in inputs["image_grid_thw"]:
            text = text.replace("<image>", "@" * (int(grid.prod()) // 4), 1)
    ids = AutoTokenizer.from_pretrained(folder)(text.replace("@", "<image>"), return_tensors="pt")["input_ids"]
    kinds = {"mm_token_type_ids": (ids == IMAGE_TOKEN).int()} if asked.images else {}
    with torch.no_grad():
        hidden = model(input_ids=ids, **inputs, **kinds, output_hidden_states=True).hidden_states[-1][0, -1]
    rng = torch.Generator().manual_seed(5)
    return float(hidden @ torch.randn(1, 64, generator=rng)[0] + 0.75)


@pytest.mark.parametrize("pictures", [True, False])
def test_scores_are_trls(pictures: bool, published: Path, tmp_path: Path) -> None:
    asked = picture_problems(tmp_path)[:2] if pictures else [problem("a", question="what is 3?", images=())]
    scorer = scorer_for(published, CPU)
    groups = [RolloutGroup(plain_prompt(one), tuple(map(plain_completion, RESPONSES))) for one in asked]
    for one, found in zip(asked, scorer.scores(groups), strict=True):
        expected = [trl_score(published, one, response) for response in RESPONSES]
        assert np.ptp(expected) > 0.1
        assert found == pytest.approx(expected, abs=1e-4)


def test_a_batch_gives_the_scores_of_its_members_alone(published: Path, tmp_path: Path) -> None:
    asked = picture_problems(tmp_path)[:2]
    members = [(plain_prompt(one), plain_completion(text)) for one in asked for text in RESPONSES]
    scorer = scorer_for(published, CPU, microbatch_tokens=4096)
    together = scorer.raw(members)
    assert together == pytest.approx([scorer.raw([member])[0] for member in members], abs=1e-5)
    assert together == pytest.approx(scorer_for(published, CPU, microbatch_tokens=1).raw(members), abs=1e-5)


def test_it_is_known_by_its_file_and_the_recipe_says_its_kind(published: Path) -> None:
    assert source_of(published).kind == "value_head"
    stage = LoadRewardModelStage(type="load_reward_model", kind="value_head", path=published)
    assert named_source(stage).place == str(published)
    with pytest.raises(RecipeError, match=r'a reward model of kind "value_head"; set kind = "value_head"'):
        named_source(stage.model_copy(update={"kind": "classifier"}))


@pytest.mark.parametrize("prefix", ["summary.", "v_head.summary."])
def test_heads_are_read_under_both_names_and_out_of_both_formats(prefix: str, published: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(published, folder)
    member = (plain_prompt(problem("a", question="what?", images=())), plain_completion("7"))
    expected = scorer_for(published, CPU).raw([member])
    rng = torch.Generator().manual_seed(5)
    head = {"weight": torch.randn(1, 64, generator=rng), "bias": torch.tensor([0.75])}
    write_head(folder, head, prefix)
    assert scorer_for(folder, CPU).raw([member]) == pytest.approx(expected)
    (folder / "value_head.safetensors").unlink()
    torch.save({f"{prefix}{name}": one for name, one in head.items()}, folder / "value_head.bin")
    assert scorer_for(folder, CPU).raw([member]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"weight": torch.zeros(1, 32), "bias": torch.zeros(1)}, r"summary\.weight \(1, 32\).*expected .*\(1, 64\)"),
        (
            {"weight": torch.zeros(1, 64)},
            r"holds v_head\.summary\.weight \(1, 64\); expected .*v_head\.summary\.bias \(1,\)",
        ),
        ({"weight": torch.zeros(1, 64), "bias": torch.zeros(1), "more": torch.zeros(1)}, r"summary\.more"),
    ],
)
def test_another_head_is_refused_with_its_shapes(
    tensors: dict[str, torch.Tensor], reason: str, published: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(published, folder)
    write_head(folder, tensors)
    with pytest.raises(ModelError, match=reason):
        scorer_for(folder, CPU)
    (folder / "value_head.safetensors").write_bytes(b"half")
    with pytest.raises(ModelError, match=r"value_head\.safetensors: cannot be read"):
        scorer_for(folder, CPU)


def test_a_conversation_that_is_too_long_is_told(published: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(published, folder)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = 40
    (folder / "config.json").write_text(json.dumps(config))
    member = (plain_prompt(problem("long", question="what?", images=())), plain_completion("7 " * 30))
    with pytest.raises(DataError, match=r"problem long: question and response are \d+ tokens .* which reads 40"):
        scorer_for(folder, CPU).raw([member])
