"""The beginning of a run directory: nothing but its recipe, or a copy of the stages that it shares with others.

Files below `checkpoints/` and `data/` are only ever replaced by new ones, never written into, so copies are hard links
and cost no space. Journals grow and are cut in place, so they are copied.
"""

import json
import os
import shutil
from pathlib import Path

from vergence.files import write_whole
from vergence.recipe.load import to_toml
from vergence.recipe.schema import Recipe
from vergence.run.digests import NOTHING, RECORD, Digests, read_digests, write_digests

LINKED = ("checkpoints", "data")
OF_ITS_OWN = (".lock", "recipe.toml", "summary.json", "report.html", "final")
"""What a run writes when it begins and when it ends; it tells of that run alone."""


def begin_run(target: Path, recipe: Recipe, parent: Path | None, held: Digests = NOTHING) -> None:
    """Make the run directory `target`, whole or not at all, with the finished stages of `parent`.

    `held` are the inputs that other runs were computed from, and that this one must find unchanged.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    building = target.with_name(f".tmp-{target.name}")
    if building.exists():
        shutil.rmtree(building)
    building.mkdir()
    if parent is not None:
        for entry in sorted(parent.iterdir()):
            if entry.name in OF_ITS_OWN:
                continue
            copy = building / entry.name
            if entry.name in LINKED:
                shutil.copytree(entry, copy, copy_function=_link)
            elif entry.is_dir():
                shutil.copytree(entry, copy)
            else:
                shutil.copy2(entry, copy)
        _move_pictures(building / "rollouts", parent, target)
    if held.files:
        before = read_digests(building / RECORD) or NOTHING
        files, pictures = {**before.files, **held.files}, {**before.pictures, **held.pictures}
        write_digests(building / RECORD, Digests(files, pictures, held=True))
    write_whole(building / "recipe.toml", to_toml(recipe))
    building.rename(target)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links, or with too many of them
        shutil.copy2(source, target)


def _move_pictures(rollouts: Path, parent: Path, target: Path) -> None:
    """Logged groups name their pictures by absolute path; in the copy they name the copy's."""
    there, here = (f'"path": {json.dumps(str(path / "data"))[:-1]}/' for path in (parent, target))
    for journal in sorted(rollouts.rglob("*.jsonl")):
        journal.write_text(journal.read_text().replace(there, here))
