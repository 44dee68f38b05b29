"""A model directory is data: whatever code it brings is never run, and nobody is asked whether it may be."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from assembled import CPU, language
from PIL import Image
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from vergence.cli import main
from vergence.errors import ModelError
from vergence.model.policy import load_policy
from vergence.model.pretrained import (
    generation_config_from,
    low_rank_config_from,
    model_from,
    processor_from,
    read_config,
    tokenizer_from,
)

SHARED = Path(__file__).resolve().parents[4] / "shared" / "cases" / "hostile" / "remote-code"


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that hostile code would leave; whoever is asked says yes."""
    monkeypatch.setattr("builtins.input", lambda *words: "y")
    return tmp_path / "it-ran"


def hostile(folder: Path, marker: Path, **files: dict[str, Any]) -> Path:
    """A directory of JSON files by their names without ending, and code that they may name as `evil.Thing`."""
    folder.mkdir(exist_ok=True)
    base = "transformers.PreTrainedConfig"
    code = (
        f"open({str(marker)!r}, 'w').write('x')\nimport transformers\n\nclass Thing({base}):\n    model_type = 'own'\n"
    )
    (folder / "evil.py").write_text(code)
    for name, content in files.items():
        path = folder / f"{name}.json"
        known = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps(known | content))
    return folder


def auto(*names: str) -> dict[str, Any]:
    return {"auto_map": dict.fromkeys(names, "evil.Thing")}


def test_a_config_of_its_own_class_is_refused_in_one_line(tmp_path: Path, marker: Path) -> None:
    folder = hostile(tmp_path / "m", marker, config={"model_type": "own"} | auto("AutoConfig"))
    with pytest.raises(
        ModelError, match=r'"own" comes with code of its own \(auto_map\), and Vergence never runs'
    ) as it:
        read_config(folder)
    assert "\n" not in str(it.value)
    assert not marker.exists()


@pytest.mark.parametrize("command", ["chat", "eval", "assemble", "reward-model"])
def test_no_command_asks_or_runs_it(
    command: str, tmp_path: Path, marker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = hostile(tmp_path / "m", marker, config={"model_type": "own"} | auto("AutoConfig"))
    Image.new("RGB", (8, 8)).save(tmp_path / "p.png")
    row = {"id": "a", "question": "q", "images": [], "answer": "1"}
    (tmp_path / "d.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "pairs.jsonl").write_text(json.dumps(row | {"chosen": "1", "rejected": "2"}) + "\n")
    arguments = {
        "chat": ["chat", folder, "--image", tmp_path / "p.png", "q"],
        "eval": ["eval", folder, "--data", tmp_path / "d.jsonl"],
        "assemble": ["assemble", "--vision", folder, "--language", folder, "--out", tmp_path / "out"],
        "reward-model": ["reward-model", "measure", folder, "--pairs", tmp_path / "pairs.jsonl"],
    }[command]
    assert main([str(one) for one in arguments]) == 2
    assert "comes with code of its own" in capsys.readouterr().err
    assert not marker.exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/cases")
def test_the_shared_case_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda *words: "y")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rel").mkdir()
    with pytest.raises(ModelError, match="comes with code of its own"):
        load_policy(SHARED, CPU)
    assert list((tmp_path / "rel").iterdir()) == []


READERS: dict[str, tuple[str, dict[str, Any], Callable[[Path], Any]]] = {
    "tokenizer": ("tokenizer_config", {"tokenizer_class": "Own"} | auto("AutoTokenizer"), tokenizer_from),
    "old form": ("tokenizer_config", {"tokenizer_class": "Own", "auto_map": ["evil.Thing", None]}, tokenizer_from),
    "processor": ("processor_config", {"processor_class": "Own"} | auto("AutoProcessor"), processor_from),
    "pictures": ("preprocessor_config", {"image_processor_type": "Own"} | auto("AutoImageProcessor"), processor_from),
}


@pytest.mark.parametrize("what", READERS)
def test_code_for_anything_but_the_config_is_not_run_either(what: str, tmp_path: Path, marker: Path) -> None:
    name, content, read = READERS[what]
    folder = hostile(language("qwen2", tmp_path / "m"), marker, **{name: content})
    # transformers' own class where it has one for this model, and a refusal where it has none; never the file
    try:
        found = read(folder)
    except (ModelError, OSError, ValueError, ImportError) as error:
        found = error
    assert type(found).__module__.split(".")[0] in ("transformers", "vergence", "builtins")
    assert "trust_remote_code" not in str(found)
    assert not marker.exists()


@pytest.mark.parametrize("loader", [AutoModelForCausalLM, AutoModelForSequenceClassification])
def test_a_known_model_that_names_code_is_loaded_by_transformers_own_class(
    loader: Any, tmp_path: Path, marker: Path
) -> None:
    folder = language("qwen2", tmp_path / "m")
    hostile(folder, marker, config=auto("AutoConfig", "AutoModelForCausalLM", "AutoModelForSequenceClassification"))
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text((folder / "evil.py").read_text())
    found = model_from(loader, folder, dtype=torch.float32)
    assert type(found).__module__.startswith("transformers.models.qwen2.")
    assert read_config(folder).model_type == "qwen2"
    assert not marker.exists()


def test_weights_that_are_a_program_are_refused(tmp_path: Path, marker: Path) -> None:
    class Program:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, (f"touch {marker}",)

    folder = language("qwen2", tmp_path / "m")
    (folder / "model.safetensors").unlink()
    torch.save({"model.norm.weight": Program()}, folder / "pytorch_model.bin")
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        model_from(AutoModelForCausalLM, folder)
    assert not marker.exists()


@pytest.mark.parametrize("place", [("attn_implementation",), ("text_config", "_attn_implementation")])
def test_a_kernel_of_a_repository_is_refused_by_its_key(place: tuple[str, ...], tmp_path: Path) -> None:
    content: Any = "somebody/kernel"
    for key in reversed(place):
        content = {key: content}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llava"} | content))
    with pytest.raises(ModelError, match=rf'{".".join(place)} = "somebody/kernel" names code of a repository'):
        read_config(tmp_path)


def test_a_module_that_low_rank_updates_name_is_not_imported(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    said = {"peft_type": "LORA", "r": 1, "megatron_config": {"a": 1}, "megatron_core": "evil"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(said))
    with pytest.raises(ModelError, match="megatron_config has peft import a module that the file names"):
        low_rank_config_from(peft.LoraConfig, tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps(said | {"megatron_config": None}))
    assert low_rank_config_from(peft.LoraConfig, tmp_path).r == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "cannot be read"),
        ("[1]", "no JSON object"),
        ("{}", "names no model_type"),
        ("[" * 99_999, "cannot be read"),
    ],
)
def test_what_is_no_config_is_told_in_one_line(content: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelError, match=reason):
        read_config(tmp_path)


def test_values_of_the_wrong_type_are_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen2", "hidden_size": "wide"}')
    with pytest.raises(ModelError, match=r"config\.json cannot be read \(.*hidden_size") as found:
        read_config(tmp_path)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(("kind", "command"), [("internvl_chat", "convert"), ("skywork_chat", "convert")])
def test_the_layout_of_the_authors_names_the_command_that_turns_it(kind: str, command: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind} | auto("AutoConfig")))
    with pytest.raises(ModelError, match=rf"run vergence {command} {tmp_path} --out {tmp_path}-hf, and name"):
        read_config(tmp_path)


def test_a_directory_that_is_not_there_is_not_looked_up_on_a_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("socket.socket.connect", lambda *names: pytest.fail("a connection was tried"))
    for read in (tokenizer_from, generation_config_from, read_config):
        with pytest.raises((OSError, ModelError, ValueError)):
            read(Path("somebody/model"))
