"""What a recipe names is looked at before a run: what a run would refuse is refused, in one line, without torch."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from assembled import language, tower
from families import tiny_policy
from published import write_chat, write_tower
from safetensors.torch import save_file

from vergence.assembly.assemble import Choices, Parents, plan_assembly
from vergence.cli import main
from vergence.errors import InputError
from vergence.model.families.known import FAMILIES
from vergence.model.families.supported import SUPPORTED
from vergence.model.policy import load_policy
from vergence.planning.parts import check_parts
from vergence.recipe.load import load_recipe
from vergence.scoring.load import scorer_for, source_of

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small models, one of each kind that a recipe can name."""
    folder = tmp_path_factory.mktemp("models")
    tiny_policy("llava", folder)
    tiny_policy("qwen2_5_vl", folder)
    write_tower(folder / "InternViT-6B", "InternViT-6B-448px-V2_5")
    tower("clip_vision_model", folder / "clip")
    tower("dinov2", folder / "dino")
    language("qwen2", folder / "words")
    write_chat(folder / "R1V2")
    shutil.copytree(folder / "qwen2_5_vl-0", folder / "reward")
    save_file(
        {"v_head.summary.weight": torch.ones(1, 64), "v_head.summary.bias": torch.ones(1)},
        folder / "reward/value_head.safetensors",
    )
    return folder


STAGES = {
    "load": 'type = "load"\npath = "{0}"\n',
    "vision": 'type = "assemble"\nvision = "{0}"\nlanguage = "{words}"\n',
    "llava": 'type = "assemble"\nto = "llava"\nvision = "{0}"\nlanguage = "{words}"\n',
    "tiles": 'type = "assemble"\nto = "llava"\nmax_tiles = 4\nvision = "{0}"\nlanguage = "{words}"\n',
    "language": 'type = "assemble"\nto = "llava"\nvision = "{clip}"\nlanguage = "{0}"\n',
    "adapter": 'type = "assemble"\nvision = "{InternViT-6B}"\nlanguage = "{words}"\nadapter = "{0}"\n',
    "value_head": 'type = "load_reward_model"\nkind = "value_head"\nprompts = 0\npath = "{0}"\n',
    "classifier": 'type = "load_reward_model"\nkind = "classifier"\nprompts = 0\npath = "{0}"\n',
}


def recipe(folder: Path, stage: str, path: Path, models: Path) -> Path:
    data = "".join(f'{key} = "{key}.jsonl"\n' for key in ("train", "tuning", "test"))
    named = {one.name: str(one) for one in models.iterdir()}
    text = STAGES[stage].replace("{0}", str(path))
    for name, place in named.items():
        text = text.replace(f"{{{name}}}", place)
    file = folder / f"{stage}.toml"
    file.write_text(f'name = "own"\n[data]\ntype = "files"\n{data}[[stage]]\n{text}')
    return file


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        *(("load", "llava-0"), ("load", "qwen2_5_vl-0"), ("vision", "InternViT-6B"), ("vision", "dino")),
        *(("llava", "clip"), ("llava", "InternViT-6B"), ("language", "words"), ("value_head", "reward")),
    ],
)
def test_what_a_run_takes_is_taken(stage: str, name: str, models: Path, tmp_path: Path) -> None:
    file = recipe(tmp_path, stage, models / name, models)
    assert check_parts(load_recipe(str(file), ()), all_there=True) == ()
    assert main(["check", str(file)]) == 0


def test_the_families_by_name_are_the_families() -> None:
    assert {name: family.towers for name, family in FAMILIES.items()} == SUPPORTED


def rewrite(name: str, **changes: Any) -> Callable[[Path], None]:
    """Keys of a JSON file; None takes one away."""

    def edit(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        content = {key: value for key, value in (content | changes).items() if value is not None}
        (folder / name).write_text(json.dumps(content))

    return edit


def without(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names] and None


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-64])


def unchanged(folder: Path) -> None:
    pass


def one_shard_less(folder: Path) -> None:
    next(folder.glob("model-00002-*")).unlink()


def own(kind: str) -> Callable[[Path], None]:
    return rewrite("config.json", model_type=kind, auto_map={"AutoConfig": "evil.Thing"})


QUANTISED = rewrite("config.json", quantization_config={"quant_method": "awq", "bits": 4})
REFUSED: dict[str, tuple[str, str, Callable[[Path], None], str]] = {
    "no supported family": ("load", "words", unchanged, r'model type "qwen2" is not supported; supported are gemma3'),
    "a layout to be converted": ("load", "R1V2", unchanged, r"run vergence convert \S+ --out \S+-hf, and name"),
    "a tower to begin with": ("load", "InternViT-6B", unchanged, r"is a vision tower in the layout of its authors"),
    "a tower of no family": (
        *("load", "llava-0"),
        rewrite("config.json", vision_config={"model_type": "vit"}),
        r'with a vision tower of type "vit" is not supported',
    ),
    "code of its own": ("load", "llava-0", own("mine"), r"is not supported|comes with code of its own"),
    "a tower's own code": ("vision", "InternViT-6B", own("mine"), r"comes with code of its own"),
    "a language model's own code": ("language", "words", own("mine"), r"comes with code of its own"),
    "no weights": ("load", "llava-0", without("model.safetensors"), r"holds no weights; expected one of"),
    "a file that was cut": ("load", "llava-0", cut, r"ends before its last tensor does|incomplete|not fully covered"),
    "a missing shard": ("vision", "InternViT-6B", one_shard_less, r"model-00002-of-00003\.safetensors: is missing"),
    "no tokenizer": ("load", "llava-0", without("tokenizer.json"), r"no tokenizer \(none of tokenizer\.json"),
    "no template": ("load", "llava-0", without("chat_template.jinja"), r"no chat template; add a chat_template\.jinja"),
    "no image processor": ("load", "llava-0", without("preprocessor_config.json"), r"no preprocessor_config\.json"),
    "no config": ("load", "llava-0", without("config.json"), r"no config\.json; expected a Hugging Face model"),
    "quantised": ("language", "words", QUANTISED, r"weights are quantised"),
    "a tower in the wrong class": ("vision", "clip", unchanged, r'tower of type "clip_vision_model" does not compute'),
    "no tower": ("llava", "words", unchanged, r'"qwen2" is not a vision tower that can be assembled'),
    "tiles of a LLaVA": ("tiles", "clip", unchanged, r"4 tiles: only a model of the InternVL class"),
    "a part of a model to be converted": ("vision", "R1V2", unchanged, r"run vergence convert"),
    "an encoder": (
        *("language", "words"),
        rewrite("config.json", is_encoder_decoder=True, model_type="t5"),
        r"encoder with a decoder",
    ),
    "no tokenizer for words": (
        "language",
        "words",
        without("tokenizer.json", "tokenizer_config.json"),
        r"no tokenizer",
    ),
    "an adapter of another class": ("adapter", "llava-0", unchanged, r'has no adapter of a model of type "internvl"'),
    "another kind of reward model": (
        "classifier",
        "reward",
        unchanged,
        r'of kind "value_head"; set kind = "value_head"',
    ),
    "no reward model": (
        "value_head",
        "llava-0",
        unchanged,
        r"no reward model; expected reward\.json .* found LlavaFor",
    ),
    "a reward model without template": (
        *("value_head", "reward"),
        without("chat_template.jinja"),
        r"no chat template",
    ),
}
LATER = {"no template", "a reward model without template", "tiles of a LLaVA", "quantised"}
"""What a run used to find when it first needed it, or finds under another name."""


def run_refuses(stage: str, folder: Path, models: Path) -> None:
    """What the stage itself does with it, without the look beforehand."""
    match stage:
        case "load":
            load_policy(folder, CPU)
        case "vision" | "llava" | "tiles":
            choices = Choices(
                model_type="internvl" if stage == "vision" else "llava", max_tiles=4 if stage == "tiles" else 1
            )
            plan_assembly(Parents(folder, models / "words"), choices)
        case "language":
            plan_assembly(Parents(models / "clip", folder), Choices(model_type="llava"))
        case "adapter":
            plan_assembly(Parents(models / "InternViT-6B", models / "words", folder), Choices())
        case _:
            scorer_for(folder, CPU)


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_run_would_refuse_is_refused_by_check_and_run_alike(
    what: str, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage, name, edit, reason = REFUSED[what]
    folder = tmp_path / "copy"
    shutil.copytree(models / name, folder)
    edit(folder)
    file = recipe(tmp_path, stage, folder, models)
    with pytest.raises(InputError, match=reason) as found:
        check_parts(load_recipe(str(file), ()), all_there=False)
    assert "\n" not in str(found.value)
    for command in (["check", file], ["plan", file, "--hardware", "h100"], ["run", file, "--out", tmp_path / "out"]):
        assert main([str(word) for word in command]) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err == f"vergence: {found.value}\n"
    assert not (tmp_path / "out").exists()
    if what not in LATER and what != "another kind of reward model":
        with pytest.raises(Exception, match=r"\S"):
            run_refuses(stage, folder, models)


def test_what_is_not_there_is_named_by_check_and_refused_by_a_run(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = recipe(tmp_path, "load", tmp_path / "nowhere", models)
    assert main(["check", str(file)]) == 0
    assert f"not there yet, and not looked at: {tmp_path / 'nowhere'}" in capsys.readouterr().out
    assert main(["run", str(file), "--out", str(tmp_path / "out")]) == 2
    assert "nowhere: no config.json; expected a Hugging Face model directory" in capsys.readouterr().err


def test_low_rank_updates_are_looked_at_with_the_model_they_belong_to(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "updates"
    folder.mkdir()
    save_file({"x": torch.ones(1)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(models / "llava-0")}))
    file = recipe(tmp_path, "load", folder, models)
    assert check_parts(load_recipe(str(file), ()), all_there=True) == ()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "somebody/model"}))
    assert main(["check", str(file)]) == 2
    assert "holds low-rank updates of somebody/model, where no checkpoint is" in capsys.readouterr().err


def test_a_reward_model_that_is_named_by_a_file_is_followed(models: Path, tmp_path: Path) -> None:
    source_of(models / "reward").save(tmp_path / "named")
    file = recipe(tmp_path, "value_head", tmp_path / "named", models)
    assert check_parts(load_recipe(str(file), ()), all_there=True) == ()


def test_looking_needs_neither_torch_nor_transformers(models: Path, tmp_path: Path) -> None:
    files = [
        str(recipe(tmp_path, stage, models / name, models)) for stage, name in (("load", "llava-0"), ("vision", "dino"))
    ]
    code = (
        "import sys; from vergence.cli import main\n"
        f"codes = [main(['check', file]) for file in {files!r}]\n"
        "print(codes, [name for name in ('torch', 'transformers', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[0, 0] []"


def test_a_plan_reads_a_tower_as_it_is_published(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = recipe(tmp_path, "vision", models / "InternViT-6B", models)
    file.write_text(file.read_text() + '[[stage]]\ntype = "grpo"\nreward = { preset = "rules" }\n')
    assert main(["plan", str(file), "--hardware", "h100", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    raw = json.loads((models / "InternViT-6B" / "config.json").read_text())
    width, inner, patches = raw["hidden_size"], raw["intermediate_size"], (raw["image_size"] // raw["patch_size"]) ** 2
    layer = 4 * width * width + width + 2 * width * inner + inner + width + 2 * width + 2 * width + 2 * width
    fixed = width + (patches + 1) * width + 3 * 14 * 14 * width + width
    assert told["model"]["parameters"]["vision"] == raw["num_hidden_layers"] * layer + fixed
