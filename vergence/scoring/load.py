"""From a name to a scorer: the one place that knows every kind of reward model."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch

from vergence.data.decoding import DECODING
from vergence.errors import ModelError
from vergence.model.batch import MICROBATCH_TOKENS
from vergence.model.policy import DtypeName
from vergence.model.pretrained import read_config
from vergence.model.reward_head import RAW, Calibration, load_reward_model
from vergence.model.vision import DEFAULT_LIMITS, FeatureLimits
from vergence.scoring.child import DEFAULT_DEADLINES, ChildScorer, Deadlines
from vergence.scoring.classifier import eyes_of, load_classifier
from vergence.scoring.client import DEFAULT_PATIENCE, HttpScorer, Patience
from vergence.scoring.memory import Forgetful, ScoreFile, ScoreMemory, Scores
from vergence.scoring.scorer import PreferenceScorer, RawScorer
from vergence.scoring.value_head import FILES, has_value_head, load_value_head

Kind = Literal["vergence", "classifier", "value_head", "http"]
SOURCE = "source.json"
"""In a directory that stands for a reward model which is somewhere else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a reward model is, and how its scores are calibrated."""

    kind: Kind
    place: str
    """A directory, or a server's address."""
    calibration: Calibration = RAW
    model: str = ""
    """The name under which a server knows it; "" is the first that it lists."""
    patience: Patience = DEFAULT_PATIENCE

    def save(self, directory: Path) -> None:
        """Write `source.json`."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / SOURCE).write_text(json.dumps(asdict(self), indent=2) + "\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """Which scores are kept from one call to the next."""

    remembered: int = 0
    """How many, in memory; 0 is none."""
    disk: Path | None = None
    """A file of scores that outlives the process, in place of the memory."""


KEEP_NOTHING = Keeping()
"""Each call by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Computing:
    """How a local reward model is run. Has to travel to another process, so it holds plain values."""

    device: str
    threads: int
    limits: FeatureLimits
    microbatch_tokens: int
    dtype: DtypeName = "auto"
    """What a reward model of ours computes in."""


def scorer_for(
    directory: Path,
    device: torch.device,
    *,
    limits: FeatureLimits = DEFAULT_LIMITS,
    microbatch_tokens: int = MICROBATCH_TOKENS,
    dtype: DtypeName = "auto",
    keeping: Keeping = KEEP_NOTHING,
    place: Literal["here", "child"] = "here",
    deadlines: Deadlines = DEFAULT_DEADLINES,
) -> PreferenceScorer:
    """The scorer of a directory: a reward model of ours, a value head, a sequence classifier, or a `source.json`.

    Raises ModelError if it holds none of them.
    """
    computing = Computing(
        device=str(device),
        threads=torch.get_num_threads(),
        limits=limits,
        microbatch_tokens=microbatch_tokens,
        dtype=dtype,
    )
    return scorer_from(source_of(directory), computing, keeping=keeping, place=place, deadlines=deadlines)


def scorer_from(
    source: Source,
    computing: Computing,
    *,
    keeping: Keeping,
    place: Literal["here", "child"],
    deadlines: Deadlines,
) -> PreferenceScorer:
    """The scorer of a source. What is behind HTTP runs elsewhere already, so `place` does not matter to it."""
    if source.kind == "http":
        client = HttpScorer(source.place, model=source.model, patience=source.patience)
        memory = _memory(keeping, lambda: client.fingerprint)
        return PreferenceScorer(client, source.calibration, memory)
    memory = _memory(keeping, lambda: fingerprint(Path(source.place)))
    notes: tuple[str, ...] = ()
    if place == "child":
        if source.kind == "classifier":
            notes = eyes_of(Path(source.place))[1]
        child = ChildScorer(LocalModel(source.kind, source.place, computing), deadlines)
        return PreferenceScorer(child, source.calibration, memory, notes, child.close)
    model, notes = local_model(source.kind, Path(source.place), computing)
    return PreferenceScorer(model, source.calibration, memory, notes)


def named(spec: str) -> Source:
    """What a command line names: a server's address, or a directory. Raises ModelError if that is no reward model."""
    if spec.startswith(("http://", "https://")):
        return Source(kind="http", place=spec)
    return source_of(Path(spec))


def source_of(directory: Path) -> Source:
    """What a directory holds. Raises ModelError if that is no reward model."""
    if (directory / SOURCE).is_file():
        return read_source(directory / SOURCE)
    for folder in (directory, directory / "reward_model"):
        if (folder / "reward.json").is_file():
            return Source(kind="vergence", place=str(folder), calibration=own_calibration(folder))
    if not directory.is_dir():
        raise ModelError(f"{directory}: no such directory; expected a reward model")
    if has_value_head(directory):
        return Source(kind="value_head", place=str(directory))
    architectures = getattr(read_config(directory), "architectures", None) or ()
    if any(name.endswith("ForSequenceClassification") for name in architectures):
        return Source(kind="classifier", place=str(directory))
    raise ModelError(
        f"{directory}: no reward model; expected reward.json (one made by Vergence), {FILES[0]} (a value head), or a "
        f"sequence classifier, found {', '.join(architectures) or 'a config without a class'}"
    )


def read_source(path: Path) -> Source:
    """The inverse of `Source.save`. Raises ModelError if the file is no such thing."""
    try:
        raw = json.loads(path.read_text())
        return Source(
            **raw | {"calibration": Calibration(**raw["calibration"]), "patience": Patience(**raw["patience"])}
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); run the stage that made it again") from None


def own_calibration(directory: Path) -> Calibration:
    """The calibration that a reward model of ours was saved with."""
    try:
        return Calibration(**json.loads((directory / "reward.json").read_text())["calibration"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{directory / 'reward.json'}: cannot be read ({error})") from None


@dataclass(frozen=True, slots=True)
class LocalModel:
    """How a child makes its reward model."""

    kind: Kind
    place: str
    computing: Computing

    def __call__(self) -> RawScorer:
        """In the child, with as many threads as the parent."""
        torch.set_num_threads(self.computing.threads)
        return local_model(self.kind, Path(self.place), self.computing)[0]


def local_model(kind: Kind, directory: Path, computing: Computing) -> tuple[RawScorer, tuple[str, ...]]:
    """A reward model in this process, and what is to be said about it."""
    device = torch.device(computing.device)
    if kind == "classifier":
        return load_classifier(directory, device, microbatch_tokens=computing.microbatch_tokens)
    load = load_value_head if kind == "value_head" else load_reward_model
    model: RawScorer = load(
        directory,
        device,
        limits=computing.limits,
        microbatch_tokens=computing.microbatch_tokens,
        dtype=computing.dtype,
    )
    return model, ()


def fingerprint(directory: Path) -> str:
    """A digest of every file that a reward model's scores depend on, and of how pictures are decoded."""
    digest = hashlib.sha256(f"decoding {DECODING}".encode())
    for path in sorted(directory.iterdir()):
        if path.suffix in (".safetensors", ".bin", ".json", ".jinja", ".model", ".txt"):
            digest.update(path.name.encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _memory(keeping: Keeping, fingerprint: Callable[[], str]) -> Scores:
    if keeping.disk is not None:
        return ScoreFile(keeping.disk, fingerprint())
    return ScoreMemory(keeping.remembered) if keeping.remembered else Forgetful()
