"""What a finished run leaves behind, and what can be done with it."""

import json
import random
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from flow.conftest import overrides, rows, vergence

STAGES = ["parents", "assemble", "align", "reward_model", "mpo", "grpo", "evaluate"]
FIGURES = {
    "greedy_accuracy",
    "sampled_accuracy",
    "format_rate",
    "hallucination_rate",
    "effective_ratio_first",
    "effective_ratio_last",
    "seconds",
    "split",
}


@pytest.fixture(scope="module")
def summary(small_run) -> dict:
    return json.loads((small_run / "summary.json").read_text())


def test_a_run_directory_holds_what_it_should(small_run):
    names = {path.name for path in small_run.iterdir()} - {".lock"}
    assert names == {
        "recipe.toml",
        "metrics.jsonl",
        "summary.json",
        "digests.json",
        "report.html",
        "rollouts",
        "alarms",
        "checkpoints",
        "final",
        "data",
    }
    assert tomllib.loads((small_run / "recipe.toml").read_text())["data"]["test"] == 240


def test_summary_has_every_stage_with_every_figure(summary):
    assert list(summary["stages"]) == STAGES
    assert all(set(row) == FIGURES for row in summary["stages"].values())
    assert summary["seed"] == 0
    assert summary["complete"] is True
    assert {"vergence", "torch", "transformers"} <= set(summary["versions"])
    for stage in ("assemble", "align", "mpo", "grpo", "evaluate"):
        assert summary["stages"][stage]["split"] == "test"
        assert 0 <= summary["stages"][stage]["sampled_accuracy"] <= 1
    assert summary["stages"]["parents"]["greedy_accuracy"] is None
    assert summary["stages"]["grpo"]["effective_ratio_first"] > 0


def test_the_recipe_learns(summary):
    """Alignment must have taught the adapter to read, and reinforcement must have raised the sampled accuracy."""
    figures = summary["stages"]
    assert figures["assemble"]["greedy_accuracy"] < 0.25
    assert figures["align"]["greedy_accuracy"] > figures["assemble"]["greedy_accuracy"] + 0.1
    assert figures["grpo"]["sampled_accuracy"] > figures["align"]["sampled_accuracy"] + 0.1


def test_every_step_is_one_line_with_stage_step_and_time(small_run):
    lines = rows(small_run / "metrics.jsonl")
    by_stage: dict[str, list[int]] = {}
    for line in lines:
        assert list(line)[:3] == ["stage", "step", "wall_seconds"]
        by_stage.setdefault(line["stage"], []).append(line["step"])
    assert all(steps == list(range(len(steps))) for steps in by_stage.values())
    assert len(by_stage["grpo"]) == 12
    last = next(line for line in reversed(lines) if line["stage"] == "grpo")
    wanted = {
        "effective/fresh",
        "effective/batch",
        "buffer/replay_share",
        "buffer/age_mean",
        "loss/ratio_mean",
        "hallucination/response_rate",
        "tuning/blank_accuracy",
        "reward/preference",
    }
    assert wanted <= set(last)
    assert any("perception/kl" in line for line in lines if line["stage"] == "mpo")


def test_rollouts_name_pictures_rewards_advantages_and_origin(small_run):
    groups = rows(small_run / "rollouts" / "grpo.jsonl")
    fresh = [group for group in groups if "effective" in group]
    assert all(Path(image["path"]).is_file() for group in groups for image in group["images"])
    for group in fresh:
        advantages = [one["advantage"] for one in group["completions"]]
        if group["effective"]:
            assert abs(sum(advantages)) < 1e-6
        else:
            assert set(advantages) == {0.0}
        assert all({"accuracy", "format", "preference"} == set(one["components"]) for one in group["completions"])
    assert any(group.get("origin") == "replay" and group["age"] >= 1 for group in groups)


def test_shuffling_the_pictures_against_the_questions_destroys_the_accuracy(small_run, tmp_path):
    """The model answers from the picture, not from habit: the right pictures matter."""
    problems = rows(small_run / "data" / "test.jsonl")
    pictures = [problem["images"] for problem in problems]
    random.Random(0).shuffle(pictures)
    for name, images in (("true", [problem["images"] for problem in problems]), ("shuffled", pictures)):
        lines = [
            json.dumps(problem | {"images": [str(small_run / "data" / image[0])]}) + "\n"
            for problem, image in zip(problems, images, strict=True)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
        vergence("eval", small_run / "final", "--data", tmp_path / f"{name}.jsonl", "--out", tmp_path / f"{name}.out")
    accuracy = {
        name: sum(row["correct"] for row in rows(tmp_path / f"{name}.out")) / len(problems)
        for name in ("true", "shuffled")
    }
    assert accuracy["true"] > 0.4
    assert accuracy["shuffled"] < accuracy["true"] / 2


PLAIN = """
import json, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "vergence":
            raise ImportError("vergence is blocked here")

sys.meta_path.insert(0, Blocked())
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

folder, problems = sys.argv[1], [json.loads(line) for line in open(sys.argv[2])][:100]
model, tokenizer = AutoModelForImageTextToText.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
processor = AutoImageProcessor.from_pretrained(folder)
root = sys.argv[2].rsplit("/", 1)[0]
pictures = [Image.open(f"{root}/{problem['images'][0]}").convert("RGB") for problem in problems]
pixels = processor(pictures, return_tensors="pt")["pixel_values"]
texts = []
for problem in problems:
    message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": problem["question"]}]}
    text = tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
    texts.append(text.replace("<IMG_CONTEXT>", "<img>" + "<IMG_CONTEXT>" * 4 + "</img>"))
inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
answers = model.generate(**inputs, pixel_values=pixels, max_new_tokens=64, do_sample=False)
print(json.dumps(tokenizer.batch_decode(answers[:, inputs["input_ids"].shape[1]:], skip_special_tokens=True)))
"""


def test_plain_transformers_gives_the_same_greedy_answers_on_100_scenes(small_run, tmp_path):
    data = small_run / "data" / "test.jsonl"
    vergence("eval", small_run / "final", "--data", data, "--out", tmp_path / "ours.jsonl")
    ours = [row["response"] for row in rows(tmp_path / "ours.jsonl")][:100]
    (tmp_path / "plain.py").write_text(PLAIN)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "plain.py"), str(small_run / "final"), str(data)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ours


WHOLE_PROCESSOR = """
import json, sys
try:
    import torchvision
except Exception:
    sys.exit(77)
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

folder, problems = sys.argv[1], [json.loads(line) for line in open(sys.argv[2])][:100]
model, processor = AutoModelForImageTextToText.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
root = sys.argv[2].rsplit("/", 1)[0]
pictures = [Image.open(f"{root}/{problem['images'][0]}").convert("RGB") for problem in problems]
contents = [[{"type": "image"}, {"type": "text", "text": problem["question"]}] for problem in problems]
texts = [
    processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    for content in contents
]
inputs = processor(images=pictures, text=texts, return_tensors="pt", padding=True, add_special_tokens=False)
answers = model.generate(**inputs, max_new_tokens=64, do_sample=False)
print(json.dumps(processor.batch_decode(answers[:, inputs["input_ids"].shape[1]:], skip_special_tokens=True)))
"""


def test_where_torchvision_works_the_automatic_processor_gives_the_same_answers_too(small_run, tmp_path):
    data = small_run / "data" / "test.jsonl"
    (tmp_path / "whole.py").write_text(WHOLE_PROCESSOR)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "whole.py"), str(small_run / "final"), str(data)],
        capture_output=True,
        text=True,
    )
    if done.returncode == 77:
        pytest.skip("torchvision is not there, or does not fit this torch")
    assert done.returncode == 0, done.stderr
    vergence("eval", small_run / "final", "--data", data, "--out", tmp_path / "ours.jsonl")
    ours = [row["response"] for row in rows(tmp_path / "ours.jsonl")][:100]
    assert json.loads(done.stdout.splitlines()[-1]) == ours


def test_the_example_in_the_models_readme_runs_as_it_stands(small_run, tmp_path):
    folder = tmp_path / "final"
    shutil.copytree(small_run / "final", folder)
    problem = rows(small_run / "data" / "test.jsonl")[0]
    shutil.copy(small_run / "data" / problem["images"][0], folder / "picture.png")
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL).group(1)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "<answer>" in done.stdout


def test_final_holds_no_path_of_this_machine(small_run):
    for path in (small_run / "final").iterdir():
        if path.suffix in {".json", ".md", ".jinja"}:
            assert str(small_run) not in path.read_text(), path.name


def test_eval_prints_interval_pass_at_k_and_categories(small_run):
    out = vergence("eval", small_run / "final", "--data", small_run / "data" / "tuning.jsonl", "--samples", "2").stdout
    for words in ("avg@2", "95 % interval", "pass@2", "format rate", "hallucinating responses", "range"):
        assert words in out


def test_chat_shows_the_thought_apart_from_the_answer(small_run):
    problem = rows(small_run / "data" / "test.jsonl")[0]
    picture = small_run / "data" / problem["images"][0]
    out = vergence("chat", small_run / "final", "--image", picture, problem["question"]).stdout
    assert "<think>" not in out
    assert "answer: " in out


def test_report_can_be_rebuilt(small_run):
    before = (small_run / "report.html").read_text()
    (small_run / "report.html").unlink()
    vergence("report", small_run)
    assert (small_run / "report.html").read_text() == before


def test_assembling_a_runs_parents_by_hand_gives_a_checkpoint_that_evaluates(small_run, tmp_path):
    parents = small_run / "checkpoints" / "parents"
    out = vergence(
        "assemble",
        "--vision",
        parents / "vision",
        "--language",
        parents / "language",
        "--out",
        tmp_path / "assembled",
    ).stdout
    assert "parity" in out
    vergence("eval", tmp_path / "assembled", "--data", small_run / "data" / "tuning.jsonl")


def test_ones_own_data_and_model_go_through_the_same_loops(small_run, tmp_path):
    """A recipe that knows nothing of digits: it loads a checkpoint and reads JSON lines."""
    data = small_run / "data"
    (tmp_path / "own.toml").write_text(
        f"""
name = "own"
[data]
type = "files"
train = "{data / "train.jsonl"}"
captions = "{data / "captions.jsonl"}"
tuning = "{data / "tuning.jsonl"}"
test = "{data / "tuning.jsonl"}"
[[stage]]
type = "load"
path = "{small_run / "checkpoints" / "align" / "policy"}"
[[stage]]
type = "grpo"
steps = 2
prompts_per_step = 8
kl_weight = 0.01
reward.preset = "rules"
train.vision.freeze = false
train.vision.learning_rate = 1e-5
evaluation.problems = 16
evaluation.blank_problems = 0
"""
    )
    vergence("run", tmp_path / "own.toml", "--out", tmp_path / "run", "--quiet")
    assert (tmp_path / "run" / "final" / "model.safetensors").is_file()
    assert not (tmp_path / "run" / "data").exists()


def test_quiet_prints_nothing(small_run, tmp_path):
    from flow.conftest import SMALL

    done = vergence("demo", "--out", small_run, "--quiet", *overrides(*SMALL))
    assert done.stdout == ""
    assert done.stderr == ""
