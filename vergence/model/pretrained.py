"""What transformers and peft read out of a model directory: every `from_pretrained` and `from_config` is called here.

Every call says `trust_remote_code=False`: a directory's own Python is never run, and nobody is asked at the terminal
whether it may be. It says `local_files_only=True` as well, so a directory that is missing is not looked up on a hub.
`tests/unit/test_house.py` finds a call that is made elsewhere.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from vergence.errors import ModelError
from vergence.model.config_file import check_transformers_layout, own_code_refused, raw_config, read_json

_LOCAL = {"trust_remote_code": False, "local_files_only": True}

T = TypeVar("T")


def read_config(directory: Path) -> Any:
    """The config of a model directory. Raises ModelError if it is none that transformers reads by itself."""
    from transformers import AutoConfig

    raw = raw_config(directory)
    check_transformers_layout(directory, raw)
    try:
        return _without_code(directory, str(raw["model_type"]), lambda: AutoConfig.from_pretrained(directory, **_LOCAL))
    except ModelError:
        raise
    except Exception as error:  # whatever transformers makes of a file from elsewhere
        raise ModelError(f"{directory}: config.json cannot be read ({reason_of(error)})") from error


def model_from(loader: Any, directory: Path, **keywords: Any) -> Any:
    """`loader.from_pretrained`, of weights alone: a pickle that holds anything else is refused by torch."""
    kind = str(raw_config(directory)["model_type"])
    load = loader.from_pretrained
    return _without_code(directory, kind, lambda: load(directory, weights_only=True, **_LOCAL, **keywords))


def model_built(loader: Any, config: Any) -> Any:
    """`loader.from_config`: a model of that config with fresh numbers."""
    return loader.from_config(config, trust_remote_code=False)


def tokenizer_from(directory: Path, **changes: Any) -> Any:
    """The tokenizer of a directory."""
    from transformers import AutoTokenizer

    load = AutoTokenizer.from_pretrained
    return _without_code(directory, "the tokenizer", lambda: load(directory, **_LOCAL, **changes))


def fast_tokenizer_from(directory: Path, **changes: Any) -> Any:
    """What `tokenizer.json` holds, whatever class the directory names."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(directory, local_files_only=True, **changes)


def processor_from(directory: Path) -> Any:
    """The processor of a directory, of texts and pictures together."""
    from transformers import AutoProcessor

    return _without_code(directory, "the processor", lambda: AutoProcessor.from_pretrained(directory, **_LOCAL))


def image_processor_from(kind: Any, directory: str) -> Any:
    """An image processor by its class."""
    return kind.from_pretrained(directory, local_files_only=True)


def generation_config_from(directory: Path) -> Any:
    """What `generation_config.json` says."""
    from transformers import GenerationConfig

    return GenerationConfig.from_pretrained(directory, local_files_only=True)


def low_rank_config_from(kind: Any, directory: Path) -> Any:
    """What `adapter_config.json` says, as peft's class `kind`.

    Raises ModelError where the file is missing, or where it names a module that peft would import.
    """
    path = directory / "adapter_config.json"
    if not path.is_file():  # peft would look on a hub
        raise ModelError(f"{directory}: no adapter_config.json; expected low-rank updates as peft writes them")
    if read_json(path).get("megatron_config"):
        raise ModelError(f"{path}: megatron_config has peft import a module that the file names; remove the key")
    return kind.from_pretrained(str(directory))


def packaged_model_from(loader: Any, folder: Path, **keywords: Any) -> Any:
    """A GGUF file beside no config.json: `loader.from_pretrained`, for a model or a tokenizer."""
    return loader.from_pretrained(folder, **_LOCAL, **keywords)


def reason_of(error: BaseException) -> str:
    """An error of a library in one short line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _without_code(directory: Path, what: str, load: Callable[[], T]) -> T:
    try:
        return load()
    except ValueError as error:
        if "trust_remote_code" in str(error):  # what transformers says where only a directory's own code could read it
            raise own_code_refused(directory, what) from error
        raise
