"""`vergence data overlap`."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from vergence.commands.data import CLEAN, REPORT, STORE_BYTES, Reading, check_folder, source_for
from vergence.commands.quiet import quieten_libraries
from vergence.commands.sampling import watched
from vergence.console import Terminal
from vergence.data.layouts.known import LAYOUTS
from vergence.data.lint.clean import clean_lines
from vergence.data.overlap.pictures import BITS, NEAR
from vergence.data.overlap.scan import LEFT_OUT, MEANING, Benchmarks, Kind, Match, overlaps
from vergence.data.source import Source
from vergence.data.store import ImageStore
from vergence.errors import DataError, RunError
from vergence.report.data_overlap import Scanned, overlap_page
from vergence.run.checkpoint import whole_folder

MATCHES = "overlaps.jsonl"
LISTED = 6
"""Matches that are printed."""
LONGEST = 100
"""Characters of a question that are printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapWish:
    """What the command is told."""

    reading: Reading
    against: tuple[str, ...]
    """Paths, each with LAYOUT= before it where it is not of our own layout."""
    words: int
    """Words of a run."""
    distance: int | None
    """Bits by which pictures may differ; None is the measured limit."""
    out: Path | None
    strict: bool
    quiet: bool


def data_overlap_command(wish: OverlapWish) -> None:
    """Scan, write clean set, matches and report, print what was found.

    Raises DataError if a set cannot be opened, DirectoryError if the folder is in use for something else, and RunError
    where `strict` and a problem is in both.
    """
    quieten_libraries()
    file = wish.reading.file
    out = (wish.out or Path(f"{file.stem or file.name}-overlap")).absolute()
    check_folder(out, MATCHES)
    source = source_for(wish.reading, None)
    near = NEAR if wish.distance is None else wish.distance
    if near > BITS:
        raise DataError(f"--distance {near}: pictures have {BITS} bits")
    size = len(source.rows())
    benchmarks = Benchmarks([named_source(one) for one in wish.against], words=wish.words, near=near)
    with whole_folder(out) as folder:
        store = ImageStore(folder / "images", limit_bytes=STORE_BYTES)
        with watched("overlap", size, 0, quiet=wish.quiet) as progress:
            matches = list(overlaps(source, benchmarks, lambda done, of: progress.step(done, of, {})))
        left_out = frozenset(one.index for one in matches if one.kind in LEFT_OUT)
        lost: list[int] = []
        with (folder / CLEAN).open("w", encoding="utf-8") as lines:
            lines.writelines(clean_lines(source, left_out, folder, store.keep, lambda index, _: lost.append(index)))
        with (folder / MATCHES).open("w", encoding="utf-8", errors="backslashreplace") as lines:
            lines.writelines(json.dumps(one.row(), ensure_ascii=False) + "\n" for one in matches)
        scanned = Scanned(str(file), wish.against, size, len(benchmarks), benchmarks.unread, matches)
        (folder / REPORT).write_text(overlap_page(scanned), encoding="ascii")
    if not wish.quiet:
        print_matches(Terminal(), scanned, out, lost=len(lost))
    if wish.strict and left_out:
        raise RunError(f"{file}: {len(left_out)} of {size} rows are in the benchmarks; see {out / REPORT}")


def named_source(named: str) -> Source:
    """A benchmark: LAYOUT=PATH, or a path alone for our own layout."""
    layout, equals, path = named.partition("=")
    if equals and layout in LAYOUTS:
        return Source(Path(path), LAYOUTS[layout])
    return Source(Path(named))


def print_matches(console: Console, scanned: Scanned, out: Path, *, lost: int) -> None:
    """What was found, counted and in examples, and where it is written; `lost` rows cannot be read."""
    counts = Counter(one.kind for one in scanned.matches)
    left = sum(counts[kind] for kind in LEFT_OUT) + lost
    console.print(f"{scanned.rows:,} rows against {scanned.problems:,} problems", highlight=False)
    if scanned.unread:
        console.print(f"{scanned.unread:,} pictures of benchmarks cannot be read: compared by text alone")
    if lost:
        console.print(f"{lost:,} rows cannot be read and are left out: vergence data check names them", highlight=False)
    if counts:
        table = Table(box=None, pad_edge=False, show_header=True, header_style="bold")
        table.add_column("alike")
        table.add_column("rows", justify="right")
        table.add_column("what it means")
        for kind in Kind:
            if counts[kind]:
                table.add_row(str(kind), f"{counts[kind]:,}", MEANING[kind] + ("" if kind in LEFT_OUT else " (kept)"))
        console.print(table, highlight=False)
    for one in scanned.matches[:LISTED]:
        for text in _lines(one):
            console.print(text, highlight=False, markup=False, soft_wrap=True)
    for name, path in (("clean set", CLEAN), ("overlaps", MATCHES), ("report", REPORT)):
        rest = f" ({scanned.rows - left:,} rows, {left:,} left out)" if path == CLEAN else ""
        console.print(f"{name + ':':<10} {out / path}{rest}", highlight=False, soft_wrap=True)


def _lines(match: Match) -> tuple[str, str]:
    distance = "" if match.distance is None else f", {match.distance} bits"
    head = f"{match.train.where}: {match.kind} ({100 * match.share:.0f} %{distance}): {_short(match.train.question)}"
    return head, f"    {match.bench.where}: {_short(match.bench.question)}"


def _short(question: str) -> str:
    line = " ".join(question.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."
