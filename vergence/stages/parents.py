"""Stage parents: the task's own vision tower and language model, trained from nothing, or taken from the cache."""

import hashlib
import json
import os
import shutil
from importlib.metadata import version
from pathlib import Path

import torch

from vergence.digits.language import LanguageSettings, train_language
from vergence.digits.tokens import build_tokenizer
from vergence.digits.tower import TowerSettings, train_tower
from vergence.recipe.stages import ParentsStage
from vergence.run.checkpoint import whole_folder
from vergence.run.directory import Outcome, StageRow
from vergence.run.stage_run import StageRun
from vergence.stages.context import Context, Models
from vergence.stages.saving import stage_lines

NAMES = ("vision", "language")


def run_parents(section: ParentsStage, run: StageRun, context: Context, models: Models) -> Outcome:
    """Train both parents, or copy them from the cache; saved as ordinary Hugging Face checkpoints."""
    folder = context.directory.stage_folder(section.label)
    cached = _cache_folder() / _key(section, context)
    found = section.cache and cached.is_dir()
    seconds = run.seconds()
    if found:
        for name in NAMES:
            with whole_folder(folder / name) as target:
                shutil.copytree(cached / name, target, dirs_exist_ok=True)
        context.progress.say(f"parents        taken from the cache ({cached})")
    else:
        _train(section, run, context, folder)
        seconds = sum(stage_lines(context, f"{section.label}/{name}")[-1]["wall_seconds"] for name in NAMES)
        if section.cache:
            _remember(folder, cached)
    relative = folder.relative_to(context.directory.path)
    outcome_models = {name: str(relative / name) for name in NAMES}
    return Outcome(outcome_models, StageRow(seconds=seconds), {"from_cache": found})


def _train(section: ParentsStage, run: StageRun, context: Context, folder: Path) -> None:
    tower_settings = TowerSettings(
        scenes=section.vision_scenes, steps=section.vision_steps, batch_size=section.vision_batch
    )
    language_settings = LanguageSettings(
        texts=section.language_texts, steps=section.language_steps, batch_size=section.language_batch
    )
    tokenizer = build_tokenizer()
    if not (folder / "vision").is_dir():
        tower = train_tower(run.part("vision"), tower_settings, context.device)
        with whole_folder(folder / "vision") as target:
            tower.save_pretrained(target)
    if not (folder / "language").is_dir():
        language = train_language(run.part("language"), language_settings, tokenizer, context.device)
        with whole_folder(folder / "language") as target:
            language.save_pretrained(target)
            tokenizer.save_pretrained(target)


def _key(section: ParentsStage, context: Context) -> str:
    """A cache entry serves only runs that would have trained bit-equal parents."""
    identity = {
        "settings": section.model_dump(mode="json", exclude={"name", "checkpoint_every", "cache"}),
        "label": section.label,  # it keys the random draws
        "seed": context.recipe.seed,
        "device": str(context.device),
        "threads": torch.get_num_threads(),
        "versions": [version(name) for name in ("vergence", "torch", "transformers", "numpy", "scikit-learn")],
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]


def _cache_folder() -> Path:
    base = os.environ.get("VERGENCE_CACHE")
    if base:
        return Path(base) / "parents"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vergence" / "parents"


def _remember(folder: Path, cached: Path) -> None:
    """Best effort: a cache that cannot be written costs the next run its time, and this one nothing."""
    try:
        with whole_folder(cached) as target:
            for name in NAMES:
                shutil.copytree(folder / name, target / name)
    except OSError:
        return
