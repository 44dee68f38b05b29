"""`vergence pool`: how often a model solves each problem, and the problems that are worth training on."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from vergence.advantage.judging import judge
from vergence.advantage.scaling import group_normalised
from vergence.commands.sampling import Answering, Asking, answering, watched
from vergence.console import Terminal
from vergence.data.problems import read_rows
from vergence.data.raw_images import bare_path, is_path, pictures_in
from vergence.errors import RunError
from vergence.files import check_output, seen_from, write_whole, write_whole_bytes
from vergence.model.policy import encode
from vergence.pool.rates import Band, PoolSummary, pool_rows, solve_rates, summarise
from vergence.pool.rows import restored_group, scored_row
from vergence.pool.samples import sample_all, sample_file
from vergence.pool.warm import warm_bytes
from vergence.reward.hybrid import RULES, weighted
from vergence.types import JudgedGroup, Problem


def pool_command(asking: Asking, *, band: Band, buffer: Path | None) -> None:
    """Sample, write the kept problems with their solve rates, and the warm buffer if asked to; print the histogram."""
    if buffer is not None:
        check_output(buffer)
    with answering(asking, graded=True) as model:
        make_pool(model, band=band, buffer=buffer)


def make_pool(model: Answering, *, band: Band, buffer: Path | None) -> None:
    """The same, by a model that is ready. Raises RunError if no problem is kept."""
    asking = model.asking

    def sample(problems: Sequence[Problem]) -> list[dict[str, Any]]:
        return [scored_row(scored) for scored in model.rules(model.groups(problems))]

    total = len(model.problems)
    with sample_file(asking.out, model.head("pool samples", {}), total) as file:
        with watched("pool", total, file.done, quiet=asking.quiet) as progress:
            sample_all(file, model.problems, sample, lambda done, of: progress.step(done, of, {}))
        rates = solve_rates(file.rows())
        summary = summarise(rates, asking.samples, band)
        if not asking.quiet:
            Terminal().print(summary_table(summary, band), highlight=False)
        if not summary.kept:
            raise RunError(
                f"{asking.data}: no problem has a solve rate in {band.low:g}:{band.high:g}, so there would be no pool; "
                "widen --keep (what was sampled is kept), or use easier or harder problems"
            )
        if buffer is not None:
            kept = [band.holds(one.rate) for one in rates]
            head = {"model": model.fingerprint, "temperature": asking.temperature}
            write_whole_bytes(buffer, warm_bytes(list(_judged(model, file.rows(), kept)), head))
        rows = pool_rows(list(_moved(asking)), rates, band)
        write_whole(asking.out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def summary_table(summary: PoolSummary, band: Band) -> Table:
    """The histogram of solve rates, and what was kept."""
    table = Table(box=None, pad_edge=False, show_header=True, header_style="bold")
    table.add_column("solve rate", justify="right")
    table.add_column("problems", justify="right")
    table.add_column("")
    most = max(count for _, count in summary.histogram)
    for rate, count in summary.histogram:
        bar = "█" * round(40 * count / most) if most else ""
        table.add_row(f"{rate:.3f}", str(count), f"{bar}{'' if band.holds(rate) else ' -'}")
    table.add_section()
    table.add_row("kept", str(summary.kept), f"of {summary.problems}, solve rate {band.low:g} to {band.high:g}")
    table.add_row("all right", str(summary.all_right), "")
    table.add_row("all wrong", str(summary.all_wrong), "")
    if summary.failed:
        table.add_row("not judged", str(summary.ungraded), f"and {summary.failed} responses in all, left out")
    table.add_row("mean", f"{summary.mean:.3f}", "")
    return table


def _judged(model: Answering, rows: Iterator[Mapping[str, Any]], kept: Sequence[bool]) -> Iterator[JudgedGroup]:
    for problem, row, keep in zip(model.problems, rows, kept, strict=True):
        if keep:
            yield from judge([weighted(RULES, restored_group(row, encode(model.policy, problem)))], group_normalised)


def _moved(asking: Asking) -> Iterator[dict[str, Any]]:
    """The rows of the data file, with relative picture paths as they are seen from the pool file."""
    there = asking.data.resolve().parent
    for row in read_rows(asking.data):
        images = [
            seen_from(asking.out, str(there / bare_path(image)))
            if is_path(image) and not os.path.isabs(bare_path(image))
            else image
            for image in pictures_in(row.get("images"))
        ]
        yield row | {"images": images}
