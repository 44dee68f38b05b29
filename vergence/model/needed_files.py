"""Which files a model directory must hold, found without torch or transformers and without reading weights."""

import json
from pathlib import Path

from vergence.errors import ModelError
from vergence.model.config_file import read_json

SINGLE_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
INDEXED_WEIGHTS = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
"""One of them holds a tokenizer's vocabulary."""


def weight_files(directory: Path) -> list[Path]:
    """Of a checkpoint. Raises ModelError if it has none."""
    for name in SINGLE_WEIGHTS:
        if (directory / name).is_file():
            return [directory / name]
    for name in INDEXED_WEIGHTS:
        if (directory / name).is_file():
            named = read_json(directory / name).get("weight_map")
            if not isinstance(named, dict) or not all(isinstance(file, str) for file in named.values()):
                raise ModelError(f"{directory / name}: has no weight_map; copy or download it again")
            return [directory / file for file in dict.fromkeys(named.values())]
    raise ModelError(
        f"{directory}: holds no weights; expected one of {', '.join((*SINGLE_WEIGHTS, *INDEXED_WEIGHTS))} beside "
        "config.json"
    )


def check_weights(directory: Path) -> None:
    """Every weight file is there and as long as its header says. Raises ModelError."""
    for path in weight_files(directory):
        if not path.is_file():
            raise ModelError(f"{path}: is missing, and the checkpoint's index names it; copy or download it again")
        if path.suffix == ".safetensors":
            check_whole(path)


def check_whole(path: Path) -> None:
    """A safetensors file ends where its header says that the last tensor does. Raises ModelError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise ModelError(f"{path}: is no safetensors file, or a part of one; copy or download it again")
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
            whole = 8 + length + max(ends, default=0) <= size
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
            raise ModelError(f"{path}: its header cannot be read ({error}); copy or download it again") from error
    if not whole:
        raise ModelError(f"{path}: ends before its last tensor does; copy or download it again")


def check_tokenizer(directory: Path) -> None:
    """Raises ModelError if there is no tokenizer."""
    if not any((directory / name).is_file() for name in TOKENIZERS):
        raise ModelError(f"{directory}: no tokenizer (none of {', '.join(TOKENIZERS)}); copy its files there")


def check_chat_template(directory: Path) -> None:
    """Raises ModelError if neither tokenizer nor processor has a chat template."""
    if (directory / "chat_template.jinja").is_file():
        return
    files = [directory / name for name in ("tokenizer_config.json", "chat_template.json", "processor_config.json")]
    if not any(path.is_file() and read_json(path).get("chat_template") for path in files):
        raise ModelError(f"{directory}: no chat template; add a chat_template.jinja to the directory")


def check_image_processor(directory: Path) -> None:
    """Raises ModelError if nothing says how pictures are preprocessed."""
    processor = directory / "processor_config.json"
    if not (directory / "preprocessor_config.json").is_file() and not (
        processor.is_file() and read_json(processor).get("image_processor")
    ):
        raise ModelError(
            f"{directory}: no preprocessor_config.json, which says how its pictures are read; copy it there"
        )


def base_of(path: Path) -> Path:
    """The checkpoint that low-rank updates belong to; any other directory is its own. Raises ModelError."""
    if not (path / "adapter_config.json").is_file():
        return path
    if not (path / "adapter_model.safetensors").is_file():
        raise ModelError(f"{path}: has an adapter_config.json and no adapter_model.safetensors; copy it there")
    check_whole(path / "adapter_model.safetensors")
    base = Path(str(read_json(path / "adapter_config.json").get("base_model_name_or_path")))
    if not (base / "config.json").is_file():
        raise ModelError(
            f"{path}: holds low-rank updates of {base}, where no checkpoint is; correct base_model_name_or_path in its "
            "adapter_config.json"
        )
    return base
