"""Stage parents: the task's own vision tower and a language model, trained from nothing, or taken from elsewhere."""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from vergence.assembly.packaged import SMOLLM2, convert_packaged, find_packaged
from vergence.digits.language import LanguageSettings, train_language
from vergence.digits.tokens import build_tokenizer
from vergence.digits.tower import TowerSettings, tower_image_processor, train_tower
from vergence.recipe.stages import ParentsStage
from vergence.run.checkpoint import whole_folder
from vergence.run.digests import is_sealed, seal
from vergence.run.directory import Outcome, StageRow
from vergence.run.stage_run import StageRun
from vergence.stages.context import Context, Models
from vergence.stages.saving import stage_lines

PARENTS_FOLDER = "parents"
PACKAGED_FOLDER = "packaged"


def run_parents(section: ParentsStage, run: StageRun, context: Context, models: Models) -> Outcome:
    """Train what is trained, or copy it from the cache; saved as ordinary Hugging Face checkpoints."""
    names = _trained(section)
    folder = context.directory.stage_folder(section.label)
    cached = _cache_folder() / PARENTS_FOLDER / _key(section, context)
    found = section.cache and is_sealed(cached)
    if section.cache and cached.is_dir() and not found:
        context.progress.say(f"parents        the cache is damaged ({cached}): trained anew")
    seconds = run.seconds()
    if found:
        for name in names:
            with whole_folder(folder / name) as target:
                shutil.copytree(cached / name, target, dirs_exist_ok=True)
                if name == "vision":
                    tower_image_processor().save_pretrained(target)  # an older entry lacks it
        context.progress.say(f"parents        taken from the cache ({cached})")
    else:
        _train(section, run, context, folder)
        seconds = sum(stage_lines(context, f"{section.label}/{name}")[-1]["wall_seconds"] for name in names)
        if section.cache:
            _remember(folder, names, cached)
    relative = folder.relative_to(context.directory.path)
    outcome_models = {name: str(relative / name) for name in names}
    if section.language_model == "smollm2":
        outcome_models["language"] = str(_packaged(section, context, folder))
    return Outcome(outcome_models, StageRow(seconds=seconds), {"from_cache": found})


def _trained(section: ParentsStage) -> tuple[str, ...]:
    """The parents that this stage trains."""
    return ("vision", "language") if section.language_model == "own" else ("vision",)


def _packaged(section: ParentsStage, context: Context, folder: Path) -> Path:
    """The packaged language model as a checkpoint: in the cache, where every run finds it; else in the run directory.

    Large, and the same for every run: it is not copied.
    """
    identity = f"{SMOLLM2.sha256[:12]}-transformers-{version('transformers')}"
    places = [_cache_folder() / PACKAGED_FOLDER / identity] if section.cache else []
    places.append(folder / "language")
    found = next((place for place in places if is_sealed(place)), None) or _converted(places)
    context.progress.say(f"{section.label:<14} {SMOLLM2.name} of the package {SMOLLM2.package} ({found})")
    return found.resolve()


def _converted(places: Sequence[Path]) -> Path:
    """The model converted into the first of these folders that can be written."""
    file = find_packaged(SMOLLM2)
    for place in places[:-1]:
        try:
            with whole_folder(place) as target:
                convert_packaged(SMOLLM2, file, target)
                seal(target)
        except OSError:
            continue
        return place
    with whole_folder(places[-1]) as target:
        convert_packaged(SMOLLM2, file, target)
        seal(target)
    return places[-1]


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
            tower_image_processor().save_pretrained(target)
    if "language" in _trained(section) and not (folder / "language").is_dir():
        language = train_language(run.part("language"), language_settings, tokenizer, context.device)
        with whole_folder(folder / "language") as target:
            language.save_pretrained(target)
            tokenizer.save_pretrained(target)


def _key(section: ParentsStage, context: Context) -> str:
    """A cache entry serves only runs that would have trained bit-equal parents."""
    unread = {"name", "checkpoint_every", "cache", "language_model"}
    if "language" not in _trained(section):
        unread |= {"language_steps", "language_batch", "language_texts"}
    identity = {
        "training": 2,  # counts up where the training itself has changed; 2: norms and biases are not decayed
        "settings": section.model_dump(mode="json", exclude=unread),
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
        return Path(base)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vergence"


def _remember(folder: Path, names: Sequence[str], cached: Path) -> None:
    """Best effort: a cache that cannot be written costs the next run its time, and this one nothing."""
    try:
        with whole_folder(cached) as target:
            for name in names:
                shutil.copytree(folder / name, target / name)
            seal(target)
    except OSError:
        return
