"""Lane S, speed: the peer and the product in turn, in child processes of their own; results and their page.

    python -m benchmarks.compare [--configs G1 M1] [--pairs 3] [--rounds 2] [--warmup 1] [--stock]

A pair is one child of TRL+ and, right after it, one of vergence. Ratios are taken pair by pair. What foreign processes
used meanwhile is measured, and a pair with more than 0.2 cores of it is marked as contended: then CPU seconds count
and wall times do not. Each configuration is written to the results file when its pairs are done; configurations that
were not asked for keep what the file says of them.
"""

import argparse
import datetime
import sys
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.configs import CONFIGS, ROUNDS_OF_DATA, Config
from benchmarks.figures import config_figures, foreign_load
from benchmarks.page import publish, ratio_table
from benchmarks.processes import commit, machine, run_measured


def peer_child(config: Config, arguments: Any, flavour: str, number: int) -> dict[str, Any]:
    """One measured run of the peer."""
    python, out = arguments.peer / "bin/python", arguments.folder / f"{config.name}-{flavour}-{number}.json"
    command = [str(python), "-m", "benchmarks.peer", "--flavour", flavour, *_common(config, arguments, out)]
    return run_measured(command, out)


def our_child(config: Config, arguments: Any, number: int) -> dict[str, Any]:
    """One measured run of ours."""
    out = arguments.folder / f"{config.name}-vergence-{number}.json"
    return run_measured([sys.executable, "-m", "benchmarks.ours", *_common(config, arguments, out)], out)


def _common(config: Config, arguments: Any, out: Path) -> list[str]:
    words = ["--config", config.name, "--models", str(arguments.models), "--out", str(out)]
    return [*words, "--warmup", str(arguments.warmup), "--rounds", str(arguments.rounds)]


def measure(config: Config, arguments: Any) -> dict[str, Any]:
    """All pairs of one configuration, in turn; its entry in the results file."""
    pairs, stock = [], []
    for number in range(arguments.pairs):
        peer = peer_child(config, arguments, "plus", number)
        ours = our_child(config, arguments, number)
        pairs.append((peer, ours))
        if arguments.stock:
            stock.append(peer_child(config, arguments, "stock", number))
        ratio = sum(one["cpu"] for one in peer["rounds"]) / sum(one["cpu"] for one in ours["rounds"])
        load = max(peer["others"], ours["others"])
        print(f"{config.name} pair {number + 1}: CPU ratio {ratio:.2f}, others {load:.2f}", file=sys.stderr, flush=True)
    about = {
        "config": pairs[0][0]["config"],
        "versions": {"peer": pairs[0][0]["versions"], "vergence": pairs[0][1]["versions"]},
        "date": today(),
        "commit": commit(),
        "warmup": arguments.warmup,
        "rounds": arguments.rounds,
    }
    return about | config_figures(pairs, stock)


def today() -> str:
    """The date, UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def with_config(old: dict[str, Any], name: str, figures: dict[str, Any]) -> dict[str, Any]:
    """The results file with one configuration measured anew, and what belongs to all of them."""
    here = machine()
    before = {"machine": old.get("machine", here)}  # of those that do not say
    kept = {other: before | one for other, one in old.get("configs", {}).items()}
    new = old | {"configs": kept | {name: figures | {"machine": here}}}
    about = {"versions": figures["versions"], "machine": here, "date": today(), "commit": commit()}
    return new | about | {"foreign_load": foreign_load(new["configs"].values())}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--stock", action="store_true", help="measure unpatched TRL beside it")
    parser.add_argument("--models", type=Path, default=Path(".bench/models"))
    parser.add_argument("--peer", type=Path, default=Path(".bench/peer"), help="the peer's environment")
    parser.add_argument("--folder", type=Path, default=Path(".bench/out/speed"), help="for the children's files")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/results/speed.md"))
    arguments = parser.parse_args()
    if min(arguments.pairs, arguments.rounds, arguments.warmup) < 1:
        parser.error("--pairs, --rounds and --warmup must be at least 1")
    if arguments.warmup + arguments.rounds > ROUNDS_OF_DATA:
        parser.error(f"the data last {ROUNDS_OF_DATA} rounds; pictures that come again would favour whoever kept them")
    measured = {}
    for name in arguments.configs:
        figures = measure(CONFIGS[name], arguments)
        measured[name] = figures
        publish(arguments.results, arguments.page, partial(with_config, name=name, figures=figures))
    print(ratio_table(measured))


if __name__ == "__main__":
    main()
