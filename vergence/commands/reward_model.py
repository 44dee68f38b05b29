"""`vergence reward-model train | measure | score | average | serve`."""

import json
import math
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch
from rich.table import Table

from vergence.commands.quiet import quieten_libraries
from vergence.console import Terminal
from vergence.data.preferences import read_preferences, read_responses
from vergence.errors import DirectoryError
from vergence.evaluation.statistics import Interval
from vergence.files import check_output, write_whole
from vergence.model.batch import MICROBATCH_TOKENS
from vergence.model.device import choose_device
from vergence.model.reward_head import save_reward_model
from vergence.model.vision import DEFAULT_LIMITS
from vergence.run.checkpoint import whole_folder
from vergence.run.progress import Progress, Verbosity
from vergence.scoring.average import average
from vergence.scoring.child import Deadlines
from vergence.scoring.held_out import HeldOutReport, as_details
from vergence.scoring.load import Computing, Keeping, fingerprint, named, scorer_from
from vergence.scoring.measure import calibration_on_file, measured_on_file
from vergence.scoring.scorer import PreferenceScorer
from vergence.scoring.server import ScoreServer, Service
from vergence.scoring.wording import scorer_wording
from vergence.stages.reward_model.alone import Wish, train_alone
from vergence.terminal import say

REMEMBERED = 65_536
"""Scores that a command or a server keeps in memory."""


def train_command(wish: Wish, out: Path, *, device: str, quiet: bool) -> None:
    """Train from a file of pairs and print the held-out report."""
    quieten_libraries()
    progress = Progress(Terminal(), Verbosity.QUIET if quiet else Verbosity.NORMAL)
    try:
        report = train_alone(wish, out, choose_device(device), progress)
    finally:
        progress.end()
    if not quiet:
        Terminal().print(report_table(report), highlight=False)
        say(out / "reward_model")


def measure_command(spec: str, pairs: Path, *, out: Path | None, device: str) -> None:
    """Measure any reward model on a file of pairs."""
    quieten_libraries()
    if out is not None:
        check_output(out)
    rows = read_preferences(pairs)
    with closing(opened_scorer(spec, device)) as scorer:
        report = measured_on_file(scorer, rows)
    if out is not None:
        write_whole(out, json.dumps(as_details(report), indent=2) + "\n")
    Terminal().print(report_table(report), highlight=False)


def score_command(spec: str, data: Path, *, out: Path | None, device: str) -> None:
    """Score the responses of a file, one JSON object a response."""
    quieten_libraries()
    if out is not None:
        check_output(out)
    rows = read_responses(data)
    with closing(opened_scorer(spec, device)) as scorer:
        wording = scorer_wording(scorer.model)
        members = [(wording.prompt(row.problem), wording.completion(text)) for row in rows for text in row.texts]
        scores = scorer.raw(members)
        calibrated = scorer.calibration.apply(scores)
    lines = []
    places = ((row, index) for row in rows for index in range(len(row.texts)))
    for (row, index), score, unit in zip(places, scores.tolist(), calibrated.tolist(), strict=True):
        found = {"id": row.problem.id, "response": index, "score": score, "calibrated": unit}
        lines.append(json.dumps(found | {"text": row.texts[index]}) + "\n")
    if out is not None:
        write_whole(out, "".join(lines))
    else:
        say("".join(lines), end="")


def average_command(members: list[Path], out: Path, *, pairs: Path | None, device: str) -> None:
    """Average the weights of several reward models, and measure the calibration again where pairs are given."""
    quieten_libraries()
    if out.exists():
        raise DirectoryError(f"{out}: is there already; choose another --out")
    folders = [Path(named(str(member)).place) for member in members]
    rows = read_preferences(pairs) if pairs is not None else []
    model = average(folders, choose_device(device))
    if rows:
        model = replace(model, calibration=calibration_on_file(model, rows))
    with whole_folder(out) as target:
        save_reward_model(model, target, example_question=rows[0].problem.question if rows else "what is this?")
    how = "measured on the pairs" if rows else "the mean of its members'; --pairs FILE measures it again"
    say(f"{out}: the mean of {len(members)} reward models; calibration: {how}")


def serve_command(spec: str, *, host: str, port: int, name: str, wait: float, device: str) -> None:
    """Serve a reward model over HTTP until the process is told to end."""
    quieten_libraries()
    with closing(opened_scorer(spec, device)) as scorer:
        source = named(spec)
        service = Service(
            name=name or Path(source.place).name,
            fingerprint=fingerprint(Path(source.place)),
            scorer=scorer.uncalibrated(),
            wording=scorer_wording(scorer.model),
        )
        with ScoreServer(service, host=host, port=port, wait=wait) as server:
            say(f"serving {service.name} at {server.url}/v1/score")
            server.serve_forever()


def opened_scorer(spec: str, device: str) -> PreferenceScorer:
    """A scorer in this process, with a memory; what is to be said about it goes to standard error."""
    computing = Computing(
        device=str(choose_device(device)),
        threads=torch.get_num_threads(),
        limits=DEFAULT_LIMITS,
        microbatch_tokens=MICROBATCH_TOKENS,
    )
    scorer = scorer_from(
        named(spec), computing, keeping=Keeping(remembered=REMEMBERED), place="here", deadlines=Deadlines()
    )
    for note in scorer.notes:
        say(f"note: {note}", error=True)
    return scorer


def report_table(report: HeldOutReport) -> Table:
    """The held-out report for the terminal."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(justify="right")
    table.add_row("pairs in the right order", *_percent(report.accuracy))
    for source, interval in report.by_source.items():
        table.add_row(f"  {source} ({report.counts[source]})", *_percent(interval))
    table.add_row("if the longer one wins", *_percent(report.longer_wins))
    table.add_row("margin over the longer one", *_percent(report.margin_over_longer))
    table.add_row("margin over chance", *_percent(report.margin_over_chance))
    table.add_row("calibration error", f"{100 * report.calibration_error:.1f}", "")
    table.add_row("temperature that fits best", f"{report.temperature:.2f}", "")
    if report.image_swap is not None:
        table.add_row("wrong picture: score falls in", *_percent(report.image_swap.lowered))
        drop = report.image_swap.drop
        between = f"[{drop.low:.2f}, {drop.high:.2f}]" if math.isfinite(drop.low) else "all alike"
        table.add_row("wrong picture: mean fall", f"{drop.mean:.2f}", between)
    ends = report.score_quantiles
    table.add_row("raw scores", f"{ends['50']:.2f}", f"{ends['0']:.2f} to {ends['100']:.2f}")
    return table


def _percent(interval: Interval) -> tuple[str, str]:
    return f"{100 * interval.mean:.1f}", f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
