"""What the runs of a study were computed from, so that those that begin later are computed from the same."""

import json
from pathlib import Path
from typing import Any, final

from vergence.recipe.load import load_recipe
from vergence.recipe.schema import Recipe, plain
from vergence.run.digests import RECORD, Digests, FileDigest, read_digests

Named = tuple[str, str]
"""An input's key, and everything in the recipe that says what it means."""


@final
class HeldInputs:
    """The inputs of all runs of a study that have begun; their records are read once."""

    def __init__(self, study: Path) -> None:
        self._study = study
        self._seen: set[Path] = set()
        self._files: dict[Named, dict[str, FileDigest]] = {}
        self._pictures: dict[Named, dict[str, tuple[str, ...]]] = {}

    def of(self, recipe: Recipe) -> Digests:
        """Those of them that a run of this recipe has too: the same key, with the same setting."""
        self._look()
        values = plain(recipe)
        return Digests(
            {key: files for (key, meant), files in self._files.items() if meant == meaning(values, key)},
            {key: all_ for (key, meant), all_ in self._pictures.items() if meant == meaning(values, key)},
            held=True,
        )

    def _look(self) -> None:
        """Read the records of runs that have begun since the last time; the first run that has an input counts."""
        for record in sorted(self._study.glob(f"*/*/*/{RECORD}")):
            recipe = record.with_name("recipe.toml")
            digests = read_digests(record) if record not in self._seen and recipe.is_file() else None
            if digests is not None:
                self._seen.add(record)
                values = plain(load_recipe(str(recipe)))
                for key, files in digests.files.items():
                    if key != "data":  # what a built-in task wrote, for this seed
                        self._files.setdefault((key, meaning(values, key)), dict(files))
                for key, pictures in digests.pictures.items():
                    self._pictures.setdefault((key, meaning(values, key)), dict(pictures))


def meaning(values: dict[str, Any], key: str) -> str:
    """What a recipe says of an input, "data.train" or "stage.LABEL.buffer.warm", as text; "" if it has no such key.

    Data sets and pairs are read as all of `[data]` says, so that is part of it.
    """
    section, *rest = key.split(".")
    here: Any = values["data"]
    if section == "stage":
        labels = {stage.get("name") or stage["type"]: stage for stage in values["stage"]}
        here = labels.get(rest.pop(0))
    for part in rest:
        if isinstance(here, list):
            here = next((one for one in here if one["name"] == part), None)
        else:
            here = here.get(part) if isinstance(here, dict) else None
    return "" if here is None else json.dumps([values["data"], here], sort_keys=True)
