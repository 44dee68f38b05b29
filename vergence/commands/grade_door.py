"""The arguments of `vergence grade`; nothing here needs torch."""

import argparse
from pathlib import Path


def add_grade(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`vergence grade`."""
    summary = "grade predictions: JSON lines with prediction, answer and type get verdict, extracted and reason"
    sub = commands.add_parser("grade", help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    sub.set_defaults(command=_grade)
    sub.add_argument("file", type=Path, metavar="FILE", help="JSON lines (docs/graders.md)")
    sub.add_argument("--out", type=Path, metavar="FILE", help="write the graded lines there (default: print them)")
    sub.add_argument(
        "--check",
        action="store_true",
        help="compare verdicts with the labels in the file; exit code 1 where they disagree",
    )
    sub.add_argument("--workers", type=_workers, default=0, metavar="N", help="processes (default: one for each core)")
    sub.add_argument(
        "--deadline",
        type=_seconds,
        default=5.0,
        metavar="SECONDS",
        help="processor time for one mathematical answer (default: 5)",
    )


def _grade(options: argparse.Namespace) -> None:
    from vergence.commands.grade import grade_command

    grade_command(options.file, options.out, check=options.check, workers=options.workers, cpu_seconds=options.deadline)


def _workers(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, found {value}")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.01 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"must be between 0.01 and 3600, found {value:g}")
    return value
