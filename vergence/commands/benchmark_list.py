"""`vergence eval --list`: which benchmarks there are, and where their files must lie."""

from rich.table import Table

from vergence.console import Terminal
from vergence.evaluation.benchmarks.benchmark import Benchmark, Style
from vergence.evaluation.benchmarks.known import BENCHMARKS, benchmark_named
from vergence.evaluation.benchmarks.protocol import PROTOCOLS


def print_benchmarks(name: str) -> None:
    """All of them in a table, or everything about one. Raises DataError for a name that is none."""
    console = Terminal()
    if name:
        console.print("\n".join(_about(benchmark_named(name))), highlight=False, markup=False, soft_wrap=True)
        return
    console.print(_table(), highlight=False)
    console.print(
        "\nvergence eval --list NAME tells the splits, the files and the terms of one.\n"
        + "\n".join(f"--protocol {one.name}: {one.about}" for one in PROTOCOLS.values()),
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _table() -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("benchmark", "split", "items", "official", "licence"):
        table.add_column(column, justify="right" if column == "items" else "left", no_wrap=True)
    for one in BENCHMARKS.values():
        size = one.splits[one.default_split].size
        official = one.official.headline if one.official else "-"
        table.add_row(one.name, one.default_split, f"{size:,}", official, one.licence)
    return table


def _about(one: Benchmark) -> list[str]:
    templates = dict.fromkeys(one.templates[style].label for style in Style)
    lines = [
        f"{one.title} ({one.name}), version {one.version}",
        one.citation,
        f"licence      {one.licence}",
        f"templates    {', '.join(templates)}",
        f"scores       ours (docs/graders.md){f'; official: {one.official.name}' if one.official else ''}",
        f"hub          {one.hub or 'not put there by its authors'}",
        "",
        "splits",
    ]
    lines += [
        f"  {name:<24}{split.size:>7,}{'  (default)' if name == one.default_split else ''}"
        for name, split in one.splits.items()
    ]
    return [*lines, "", "the folder of --data", *(f"  {line}" for line in one.layout.splitlines())]
