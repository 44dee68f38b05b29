"""From a study to its jobs: what is equal at the beginning of several runs is one job, computed once for each seed.

Runs of one seed form a tree. Stages up to which recipes are equal are a `Job` of their own, under which the runs that
go on from there hang; a run's stages draw their random numbers by (seed, label), so it cannot tell the difference.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

from vergence.errors import RecipeError
from vergence.recipe.load import load_recipe
from vergence.recipe.schema import Recipe, plain
from vergence.recipe.sections import StageSection
from vergence.study.columns import check_stages
from vergence.study.schema import Study
from vergence.study.variants import Variant, variants_of


@dataclass(frozen=True, eq=False)
class Job:
    """One run directory to fill: a variant with a seed, or stages that several of them share."""

    key: str
    """Its directory below the study's; unique in a study."""
    recipe: Recipe
    """Complete for a variant; up to the last shared stage for a shared job."""
    variant: str | None
    """None if it is shared."""
    seed: int
    parent: "Job | None"
    """The shared job whose directory it begins as a copy of."""

    @property
    def name(self) -> str:
        """How it is called in messages."""
        return f"{self.variant or ' + '.join(self.stages)}, seed {self.seed}"

    @cached_property
    def stages(self) -> tuple[str, ...]:
        """Labels of the stages that it computes itself."""
        before = len(self.parent.recipe.stage) if self.parent else 0
        return tuple(stage.label for stage in self.recipe.stage[before:])


@dataclass(frozen=True, slots=True)
class Plan:
    """All jobs of a study, each behind the one it needs, seed by seed."""

    study: Study
    variants: tuple[Variant, ...]
    jobs: tuple[Job, ...]

    def runs(self) -> list[Job]:
        """The jobs that are variants."""
        return [job for job in self.jobs if job.variant is not None]


def make_plan(study: Study, source: str) -> Plan:
    """Resolve every variant and find what can be shared.

    Raises RecipeError for a recipe that is wrong, two variants that are the same, and columns of no stage.
    """
    variants = variants_of(study, source)
    jobs: list[Job] = []
    for seed in study.seeds:
        recipes = {one.name: _recipe(study, one, seed, source) for one in variants}
        check_stages(study, recipes.values(), source)
        _check_different(recipes, source)
        jobs += _jobs(recipes, seed)
    return Plan(study, variants, tuple(jobs))


def of_seeds(plan: Plan, seeds: Sequence[int]) -> tuple[Job, ...]:
    """The jobs of some seeds; none means all. Raises RecipeError for a seed that the study lacks."""
    for seed in seeds:
        if seed not in plan.study.seeds:
            raise RecipeError(f"--seeds {seed}: the study has the seeds {', '.join(map(str, plan.study.seeds))}")
    return tuple(job for job in plan.jobs if not seeds or job.seed in seeds)


def _recipe(study: Study, variant: Variant, seed: int, source: str) -> Recipe:
    try:
        # one thread: as many runs at a time as there are cores, and numbers that do not depend on how many those are
        return load_recipe(study.base, [*variant.overrides, f"seed={seed}", "threads=1"], variant.without)
    except RecipeError as error:
        raise RecipeError(f"{source}: variant {variant.name}: {error}") from None


def _check_different(recipes: dict[str, Recipe], source: str) -> None:
    first: dict[str, str] = {}
    for name, recipe in recipes.items():
        other = first.setdefault(_text(plain(recipe)), name)
        if other != name:
            raise RecipeError(f'{source}: variants "{other}" and "{name}" are the same recipe; remove one of them')


def _jobs(recipes: dict[str, Recipe], seed: int) -> list[Job]:
    """The jobs of one seed: the shared ones in the order of the tree, then the variants in the order of the study."""
    shared: list[Job] = []
    begun: dict[str, Job | None] = {}

    def grow(names: Sequence[str], depth: int, parent: Job | None) -> None:
        """Variants whose recipes are equal up to `depth` stages, the last `parent` included."""
        if len(names) == 1:
            begun[names[0]] = parent
            return
        common = _common([recipes[name] for name in names])
        if common > depth:
            recipe = recipes[names[0]]
            parent = _shared_job(recipe.model_copy(update={"stage": recipe.stage[:common]}), seed, parent)
            shared.append(parent)
        for group in _groups(names, lambda name: _stage_text(recipes[name], common)):
            grow(group, common, parent)

    for group in _groups(list(recipes), lambda name: _outside_stages(recipes[name])):
        grow(group, 0, None)
    runs = [Job(f"runs/{name}/seed-{seed}", recipe, name, seed, begun[name]) for name, recipe in recipes.items()]
    return [*shared, *runs]


def _shared_job(recipe: Recipe, seed: int, parent: Job | None) -> Job:
    """Its directory is named after its content, so that a study with more variants finds it again."""
    digest = hashlib.sha256(_text(plain(recipe)).encode()).hexdigest()[:12]
    return Job(f"shared/seed-{seed}/{recipe.stage[-1].label}-{digest}", recipe, None, seed, parent)


def _common(recipes: Sequence[Recipe]) -> int:
    """How many stages at the beginning are the same in all of them."""
    columns = zip(*(recipe.stage for recipe in recipes), strict=False)
    return sum(1 for _ in takewhile(lambda column: len({_text(_plain_stage(one)) for one in column}) == 1, columns))


def _groups(names: Sequence[str], key: Callable[[str], str]) -> list[list[str]]:
    """Names that have the same key, in the order of their first."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(key(name), []).append(name)
    return list(found.values())


def _stage_text(recipe: Recipe, place: int) -> str:
    return _text(_plain_stage(recipe.stage[place])) if place < len(recipe.stage) else ""


def _outside_stages(recipe: Recipe) -> str:
    return _text({key: value for key, value in plain(recipe).items() if key != "stage"})


def _plain_stage(stage: StageSection) -> dict[str, Any]:
    return dict(stage.model_dump(mode="json"))


def _text(values: Any) -> str:
    return json.dumps(values, sort_keys=True)


def default_directory(study: Study) -> Path:
    """Where a study is kept without --out."""
    return Path("runs") / study.name


def plan_lines(plan: Plan, jobs: Sequence[Job]) -> list[str]:
    """What would be run: a line for each of the jobs with the stages it computes itself."""
    shared = [job for job in jobs if job.variant is None]
    seeds = len({job.seed for job in jobs})
    lines = [f"{plan.study.name}: {len(plan.variants)} variants x {seeds} seeds, {len(shared)} shared beginnings"]
    for job in jobs:
        behind = f"  (after {job.parent.key})" if job.parent else ""
        lines.append(f"{job.key}  {', '.join(job.stages) or 'nothing of its own'}{behind}")
    return lines
