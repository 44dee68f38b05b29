"""A language model from a package: converted once, in the cache, and referred to by every run."""

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from vergence.recipe.load import load_recipe
from vergence.run.directory import opened
from vergence.run.progress import Progress, Verbosity
from vergence.run.stage_run import StageRun
from vergence.stages import parents
from vergence.stages.context import Context, DataFiles
from vergence.types import Grade, Grader, Verdict


class Nobody(Grader):
    """Grades nothing."""

    def grade(self, responses):
        return [Grade(Verdict.FAILED, None, "nobody is asked") for _ in responses]


@pytest.fixture
def conversions(monkeypatch, tmp_path: Path) -> list[Path]:
    """The folders into which a model was converted; the conversion itself is replaced by a marker."""
    done: list[Path] = []

    def convert(model, file, target):
        done.append(target.parent)
        (target / "config.json").write_text("{}")

    monkeypatch.setattr(parents, "find_packaged", lambda model: tmp_path / "model.gguf")
    monkeypatch.setattr(parents, "convert_packaged", convert)
    monkeypatch.setenv("VERGENCE_CACHE", str(tmp_path / "cache"))
    return done


def parents_of(folder: Path, *keys: str) -> Path:
    """The language model that a run's stage `parents` gives."""
    small = ("vision_steps=1", "vision_scenes=8", "vision_batch=2", *keys)
    recipe = load_recipe("smol", [f"stage.parents.{key}" for key in small])
    progress = Progress(Console(file=io.StringIO()), Verbosity.QUIET)
    with opened(folder, recipe) as directory:
        context = Context(recipe, directory, DataFiles(*[folder] * 4), torch.device("cpu"), progress, Nobody())
        run = StageRun(folder, "parents", seed=0, checkpoint_every=100, progress=progress)
        outcome = parents.run_parents(recipe.stage[0], run, context, {})
        assert (directory.model_path(outcome.models["vision"]) / "config.json").is_file()
        assert not (directory.stage_folder("parents") / "steps" / "language").exists(), "no language model is trained"
        return directory.model_path(outcome.models["language"])


def test_two_runs_share_one_conversion(conversions, tmp_path):
    first, second = parents_of(tmp_path / "a"), parents_of(tmp_path / "b")
    assert first == second
    assert first.is_relative_to(tmp_path / "cache")
    assert (first / "config.json").is_file()
    assert len(conversions) == 1


def test_without_the_cache_the_run_holds_its_own(conversions, tmp_path):
    assert parents_of(tmp_path / "a", "cache=false") == tmp_path / "a" / "checkpoints" / "parents" / "language"
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_costs_time_and_nothing_else(conversions, tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert parents_of(tmp_path / "a").is_relative_to(tmp_path / "a")


@pytest.mark.parametrize("kind", ["parents", "packaged"])
def test_what_was_damaged_in_the_cache_is_made_anew(conversions, tmp_path, kind):
    """Two runs of one seed have the same parents, whatever has become of the cache between them."""
    parents_of(tmp_path / "a")
    (damaged,) = (tmp_path / "cache" / kind).rglob("*model.safetensors" if kind == "parents" else "config.json")
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    parents_of(tmp_path / "b")
    assert damaged.read_bytes() == whole
    weights = Path("checkpoints") / "parents" / "vision" / "model.safetensors"
    assert (tmp_path / "a" / weights).read_bytes() == (tmp_path / "b" / weights).read_bytes()
    assert len(conversions) == (2 if kind == "packaged" else 1)
