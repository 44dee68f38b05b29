"""Everything that a study has found, as one value: the tables and results.json are two views of it."""

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vergence.run.summary import commit, versions
from vergence.study.columns import Column, columns_of
from vergence.study.directory import StudyDirectory
from vergence.study.plan import Job, Plan
from vergence.study.read import Finished, read_finished, value_of
from vergence.study.statistics import Difference, Spread, paired_difference, spread
from vergence.study.variants import Variant


@dataclass(frozen=True, slots=True, eq=False)
class VariantResult:
    """One variant over its finished seeds."""

    variant: Variant
    runs: Mapping[int, Finished]
    values: Mapping[str, Mapping[int, float]]
    """Column to seed to value; a seed without the figure is absent."""
    spreads: Mapping[str, Spread]
    """Column to mean and spread; a column without any value is absent."""
    differences: Mapping[str, Difference]
    """Column to the difference from the reference; empty for the reference, and where the study names none."""


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """One study as far as it has come."""

    plan: Plan
    columns: tuple[Column, ...]
    variants: tuple[VariantResult, ...]

    @property
    def left(self) -> int:
        """Runs that are not finished."""
        return len(self.plan.runs()) - sum(len(one.runs) for one in self.variants)


def collect(plan: Plan, directory: StudyDirectory) -> Results:
    """Read every finished run of the plan."""
    columns = columns_of(plan.study, plan.study.name)
    runs = {
        variant.name: {
            job.seed: read_finished(directory.run(job))
            for job in plan.runs()
            if job.variant == variant.name and directory.done(job)
        }
        for variant in plan.variants
    }
    return compare(plan, columns, runs)


def compare(plan: Plan, columns: tuple[Column, ...], runs: Mapping[str, Mapping[int, Finished]]) -> Results:
    """Statistics of finished runs, by variant and seed."""
    values = {
        name: {
            column.name: {seed: value for seed, run in found.items() if (value := value_of(column, run)) is not None}
            for column in columns
        }
        for name, found in runs.items()
    }
    theirs = values.get(plan.study.reference or "", {})
    found = []
    for variant in plan.variants:
        ours = values[variant.name]
        gaps = {name: paired_difference(of_seed, theirs.get(name, {})) for name, of_seed in ours.items()}
        compared = variant.name != plan.study.reference
        found.append(
            VariantResult(
                variant=variant,
                runs=runs[variant.name],
                values=ours,
                spreads={name: spread(list(of_seed.values())) for name, of_seed in ours.items() if of_seed},
                differences={name: gap for name, gap in gaps.items() if gap is not None and compared},
            )
        )
    return Results(plan, columns, tuple(found))


def as_json(results: Results, directory: StudyDirectory) -> dict[str, Any]:
    """results.json: raw values of every seed beside what was made of them."""
    plan, cpu = results.plan, directory.cpu_seconds()
    jobs = {(job.variant, job.seed): job for job in plan.runs()}

    def run_row(one: VariantResult, seed: int) -> dict[str, Any]:
        job = jobs[one.variant.name, seed]
        return {
            "values": {name: of_seed[seed] for name, of_seed in one.values.items() if seed in of_seed},
            "directory": job.key,
            "seconds": one.runs[seed].summary["seconds"],
            "cpu_seconds": cpu.get(job.key, 0.0),
            "shared_cpu_seconds": sum(cpu.get(key, 0.0) for key in ancestors(job)),
            "commit": one.runs[seed].summary["commit"],
            "versions": one.runs[seed].summary["versions"],
        }

    return {
        "study": plan.study.model_dump(mode="json", exclude_none=True),
        "left": results.left,
        "columns": [column.name for column in results.columns],
        "variants": {
            one.variant.name: {
                "overrides": list(one.variant.overrides),
                "without": list(one.variant.without),
                "runs": {str(seed): run_row(one, seed) for seed in one.runs},
                "spread": {name: asdict(found) for name, found in one.spreads.items()},
                "difference": {name: asdict(found) | {"clear": found.clear} for name, found in one.differences.items()},
            }
            for one in results.variants
        },
        "cpu_seconds": sum(cpu.values()),
        "versions": versions(),
        "commit": commit(),
        "machine": {"processor": platform.processor() or platform.machine(), "python": platform.python_version()},
    }


def ancestors(job: Job) -> list[str]:
    """Keys of the shared jobs that a run goes back to, the nearest first."""
    return [job.parent.key, *ancestors(job.parent)] if job.parent else []
