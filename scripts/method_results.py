"""Puts the tables and figures of finished studies into docs/results/method.md.

    python scripts/method_results.py RUNS docs/results/method.md

RUNS holds one directory a study, named after it, as `vergence study` left it. In the page, what stands between a mark
and `<!-- end -->` is replaced, and words are left alone:

    <!-- study NAME -->          the study's tables
    <!-- reward-model NAME -->   what the reward models of its seeds reach on held-out pairs
    <!-- alarms NAME VARIANT --> the step of each signal's first alarm in that variant, seed by seed
    <!-- seconds NAME SECONDS -->  sampled accuracy on the tuning split after so many CPU seconds, read from the curves

Every figure that the page shows from `method/NAME--FIGURE.svg` is copied from the study's `figures/FIGURE.svg`.
"""

import json
import re
import shutil
import sys
import tomllib
from pathlib import Path

import numpy as np

from vergence.study.statistics import interval_half_width

BLOCK = re.compile(
    r"(<!-- (study|reward-model|alarms|seconds) ([a-z0-9-]+) ?([a-z0-9.-]*) -->\n).*?(<!-- end -->)", re.DOTALL
)
FIGURE = re.compile(r"\]\(method/([a-z0-9-]+?)--([\w-]+)\.svg\)")


def tables(study: Path) -> str:
    """A study's table.md, its headings lowered so that they fit below the page's own."""
    title, _, rest = (study / "table.md").read_text().partition("\n")
    assert title.startswith("# "), f"{study / 'table.md'}: expected a title, found {title!r}"
    return re.sub(r"^## (.*)$", r"**\1**", rest, flags=re.MULTILINE).strip()


def reward_models(study: Path) -> str:
    """A row for each reward model that the study trained in a beginning its variants share."""
    rows = []
    for path in sorted(study.glob("shared/seed-*/*/checkpoints/reward_model/done.json")):
        details = json.loads(path.read_text())["details"]
        low, high = details["intervals"]["margin_over_longer"]
        swap = details["image_swap"]
        least, most = swap["drop_interval"]
        sources = details["held_out_pair_accuracy_by_source"]
        row = [
            path.parents[3].name.removeprefix("seed-"),
            str(details["held_out_pairs"]),
            percent(details["held_out_pair_accuracy"]),
            ", ".join(f"{name} {percent(value)}" for name, value in sources.items()),
            percent(details["longer_is_better_accuracy"]),
            f"+{percent(details['margin_over_longer'])} [{percent(low)}, {percent(high)}]",
            f"{swap['drop']:.2f} [{least:.2f}, {most:.2f}]",
            percent(swap["lowered"]),
            percent(details["calibration_error"]),
        ]
        if row not in rows:  # branches of a study may hold copies of one beginning
            rows.append(row)
    head = "seed | pairs | in the right order | by source | if the longer won | margin over that | fall of the score"
    return markdown([*head.split(" | "), "responses that fall", "calibration error"], rows)


def first_alarms(study: Path, variant: str) -> str:
    """Signals down, seeds across."""
    seeds = sorted((study / "runs" / variant).glob("seed-*"))
    first: dict[str, dict[str, int]] = {}
    for seed in seeds:
        for line in (seed / "alarms" / "grpo.jsonl").read_text().splitlines():
            row = json.loads(line)
            if row["kind"] == "alarm":
                first.setdefault(row["signal"], {}).setdefault(seed.name, row["step"])
    ordered = sorted(first, key=lambda signal: sum(first[signal].values()) / len(first[signal]))
    rows = [[f"`{signal}`", *(str(first[signal].get(seed.name, "-")) for seed in seeds)] for signal in ordered]
    return markdown(["first alarm at step", *(seed.name.replace("-", " ") for seed in seeds)], rows)


def at_equal_seconds(study: Path, seconds: float) -> str:
    """Every variant after so many CPU seconds, less the study's reference, seed by seed; "-" if it was not measured up
    to there in every seed."""
    reference = tomllib.loads((study / "study.toml").read_text())["reference"]
    curves = {name: [curve(seed) for seed in sorted((study / "runs" / name).iterdir())] for name in variants(study)}
    base = [read_at(points, seconds) for points in curves[reference]]
    rows = []
    for name, of_seeds in curves.items():
        if min(points[-1][0] for points in of_seeds) < seconds:
            rows.append([f"`{name}`", "-", "-"])
            continue
        values = [read_at(points, seconds) for points in of_seeds]
        gains = [value - other for value, other in zip(values, base, strict=True)]
        mean, half = sum(gains) / len(gains), interval_half_width(gains)
        shown = f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}] {sum(gain > 0 for gain in gains)}/{len(gains)}"
        spread = f"{np.mean(values):.3f} \u00b1 {np.std(values, ddof=1):.3f}"
        rows.append([f"`{name}`", spread, "" if name == reference else shown])
    return markdown([f"after {seconds:g} CPU seconds", "sampled accuracy, tuning split", f"minus `{reference}`"], rows)


def read_at(points: list[tuple[float, float]], seconds: float) -> float:
    """A curve at a place, by straight lines."""
    return float(np.interp(seconds, [x for x, _ in points], [y for _, y in points]))


def curve(run: Path) -> list[tuple[float, float]]:
    """(CPU seconds, sampled accuracy on the tuning split) of a run's grpo stage, in order, from its own beginning."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    name = "tuning/sampled_accuracy"
    found = [(row["spent/cpu_seconds"], row[name]) for row in lines if row["stage"] == "grpo" and name in row]
    start = [row[name] for row in lines if row["stage"] != "grpo" and name in row][-1]
    return [(0.0, start), *found]


def variants(study: Path) -> list[str]:
    """In the order of the study file."""
    return [one["name"] for one in tomllib.loads((study / "study.toml").read_text())["variant"]]


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def percent(share: float) -> str:
    """0.8389 -> 83.9."""
    return f"{100 * share:.1f}"


def fill(text: str, runs: Path) -> str:
    """The page with the tables of now."""

    def filled(found: re.Match[str]) -> str:
        begin, kind, study, variant, end = found.groups()
        match kind:
            case "study":
                inside = tables(runs / study)
            case "reward-model":
                inside = reward_models(runs / study)
            case "seconds":
                inside = at_equal_seconds(runs / study, float(variant))
            case _:
                inside = first_alarms(runs / study, variant)
        return f"{begin}\n{inside}\n\n{end}"

    return BLOCK.sub(filled, text)


def copy_figures(text: str, runs: Path, folder: Path) -> None:
    """Every figure that the page shows."""
    folder.mkdir(parents=True, exist_ok=True)
    for study, figure in FIGURE.findall(text):
        shutil.copyfile(runs / study / "figures" / f"{figure}.svg", folder / f"{study}--{figure}.svg")


def main() -> None:
    """The command."""
    runs, page = Path(sys.argv[1]), Path(sys.argv[2])
    text = fill(page.read_text(), runs)
    copy_figures(text, runs, page.parent / "method")
    page.write_text(text)


if __name__ == "__main__":
    main()
