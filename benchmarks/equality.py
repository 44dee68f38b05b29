"""Lane N, numeric equality: the peer and the product train on the same completions, and everything must agree.

    python -m benchmarks.equality [--families llava internvl qwen2_5_vl] [--reuse]

Runs in the product's environment and starts the peer's half as a child in its own. Prints one table, writes it into
the results file, and exits with 1 if anything differs by more than its limit. Nothing may be timed before it passes.
"""

import argparse
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.configs import LEARNING_RATE
from benchmarks.figures import merged, table
from benchmarks.models import TINY

if TYPE_CHECKING:
    import torch

    from benchmarks.our_equality import Record, Setting

LIMITS = {"logprobs": 1e-4, "gradient": 1e-5, "losses": 1e-4, "parameters": 1e-4}
"""Largest absolute difference of log-probs and losses; of gradients and parameters relative to the peer's norm."""
SGD_RATE = 1e-2


def settings_of(families: list[str]) -> "list[Setting]":
    """Every case: GRPO with mu 1 and 2, with and without KL, and with KL over dead groups; and MPO; for each family."""
    from benchmarks.our_equality import Setting

    names = [name for name, family in TINY.items() if family in families]
    grpo = [("grpo", mu, beta) for mu in (1, 2) for beta in (0.0, 0.04)]
    return [
        Setting(kind, name, mu, beta, "adamw", LEARNING_RATE, completions)
        for name in names
        for kind, mu, beta, completions in [
            *((*one, "completions.jsonl") for one in grpo),
            *(("grpo", mu, 0.04, "dead.jsonl") for mu in (1, 2)),
            ("mpo", 1, 0.1, ""),
        ]
    ]


def differences(ours: "Record", theirs: "Record") -> dict[str, float]:
    """How far the two halves are apart, one number for each quantity; prompts that differ are an infinite distance."""
    same = ours.prompt_ids == theirs.prompt_ids and ours.logprobs.keys() >= theirs.logprobs.keys()
    if not same or len(ours.losses) != len(theirs.losses):
        return dict.fromkeys([*LIMITS, "advantages", "moved"], math.inf)
    advantages = [
        abs(left - right)
        for rows in zip(ours.advantages, theirs.advantages, strict=True)
        for left, right in zip(*rows, strict=True)
    ]
    return {
        "logprobs": max(float((ours.logprobs[key] - value).abs().max()) for key, value in theirs.logprobs.items()),
        "gradient": relative(ours.gradient, theirs.gradient),
        "losses": max(abs(left - right) for left, right in zip(ours.losses, theirs.losses, strict=True)),
        "parameters": relative(ours.parameters, theirs.parameters),
        "advantages": max(advantages, default=0.0),
    }


def relative(ours: "Mapping[str, torch.Tensor]", theirs: "Mapping[str, torch.Tensor]") -> float:
    """Norm of the difference over the peer's norm, all tensors together; a tensor that one side lacks is zero there.

    Example: {"a": [3, 4]} against {"a": [3, 4.5]} gives 0.5 / 5.41 = 0.092.
    """
    apart = 0.0
    for name in ours.keys() | theirs.keys():
        left, right = ours.get(name), theirs.get(name)
        if left is None or right is None:
            one = left if right is None else right
            assert one is not None
            apart += float(one.double().square().sum())
        else:
            apart += float((left.double() - right.double()).square().sum())
    return math.sqrt(apart / sum(float(value.double().square().sum()) for value in theirs.values()))


def failed(found: Mapping[str, float]) -> list[str]:
    """The quantities that are beyond their limits; what is not a number is."""
    return [name for name, limit in LIMITS.items() if not found[name] <= limit]


def run_case(setting: "Setting", peer: Path, models: Path, folder: Path, *, reuse: bool) -> dict[str, Any]:
    """Both halves of one case; the row of the results."""
    from benchmarks.our_equality import our_record, peer_record

    dead = "-dead" * (setting.completions == "dead.jsonl")
    out = folder / f"{setting.name}-{setting.kind}-mu{setting.mu}-beta{setting.beta}-{setting.optimizer}{dead}"
    if not (reuse and (out / "result.json").exists()):
        run_peer(setting, peer, models, out)
    ours, theirs = our_record(setting, models), peer_record(out)
    found = differences(ours, theirs)
    start = _initial(setting, models)
    moved = {name: value - start[name] for name, value in theirs.parameters.items()}
    ours_moved = {name: value - start[name] for name, value in ours.parameters.items()}
    missed = failed(found)
    return {
        **asdict(setting),
        "steps": len(theirs.losses),
        **found,
        "moved": relative(ours_moved, moved),
        "failed": missed,
        "passed": not missed,
    }


def _initial(setting: "Setting", models: Path) -> "dict[str, torch.Tensor]":
    from benchmarks.ours_rounds import CPU
    from vergence.model.policy import load_policy

    return {name: value.detach() for name, value in load_policy(models / setting.name, CPU).model.named_parameters()}


def run_peer(setting: "Setting", peer: Path, models: Path, out: Path) -> None:
    """The peer's half, in its own environment."""
    shutil.rmtree(out, ignore_errors=True)
    vision = [] if setting.name == "tiny-llava" else ["--vision", str(peer.parent / f"{peer.name}-vision")]
    command = [str(peer / "bin/python"), "-m", "benchmarks.peer_equality", setting.kind, "--models", str(models)]
    command += ["--name", setting.name, "--mu", str(setting.mu), "--beta", str(setting.beta), *vision]
    command += ["--completions", setting.completions] if setting.completions else []
    command += ["--optimizer", setting.optimizer, "--learning-rate", str(setting.learning_rate), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"TQDM_DISABLE": "1"})
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-3000:]}")


def with_fallback(setting: "Setting", peer: Path, models: Path, folder: Path, *, reuse: bool) -> list[dict[str, Any]]:
    """The case, and once more with SGD if its parameters alone are apart.

    AdamW gives full steps to weights whose gradient is only rounding noise, so its parameters may differ where nothing
    is wrong; SGD does not. The row that counts is then SGD's, and both are shown.
    """
    row = run_case(setting, peer, models, folder, reuse=reuse)
    if row["failed"] != ["parameters"]:
        return [row]
    plain = replace(setting, optimizer="sgd", learning_rate=SGD_RATE)
    again = run_case(plain, peer, models, folder, reuse=reuse)
    return [row | {"superseded": again["passed"]}, again]


def equality_table(rows: list[dict[str, Any]]) -> str:
    """Markdown: one line a case."""
    head = ["model", "loss", "groups", "mu", "beta", "optimizer", "steps", *LIMITS, "of the movement", "result"]
    lines = [
        [
            row["name"].removeprefix("tiny-"),
            row["kind"].upper(),
            {"dead.jsonl": "some dead", "": "-"}.get(row.get("completions", ""), "live"),
            str(row["mu"]) if row["kind"] == "grpo" else "-",
            f"{row['beta']:g}",
            row["optimizer"],
            str(row["steps"]),
            *(f"{row[name]:.1e}" for name in LIMITS),
            f"{row['moved']:.1e}",
            verdict(row),
        ]
        for row in rows
    ]
    return table(head, lines)


def verdict(row: Mapping[str, Any]) -> str:
    """PASS, FAIL with the quantities, or that SGD decides."""
    if row["passed"]:
        return "PASS"
    return "see SGD" if row.get("superseded") else f"FAIL: {', '.join(row['failed'])}"


def counts(row: Mapping[str, Any]) -> bool:
    """Whether the case is proved, by itself or by its SGD run."""
    return bool(row["passed"] or row.get("superseded"))


def with_cases(old: Mapping[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The results of lane N with these cases anew; other models keep theirs."""
    again = {row["name"] for row in rows}
    cases = [row for row in old.get("equality", {}).get("cases", []) if row["name"] not in again] + rows
    return {"limits": LIMITS, "passed": all(map(counts, cases)), "cases": cases}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", choices=TINY.values(), default=list(TINY.values()))
    parser.add_argument("--models", type=Path, default=Path(".bench/models"))
    parser.add_argument("--peer", type=Path, default=Path(".bench/peer"), help="the peer's environment")
    parser.add_argument("--folder", type=Path, default=Path(".bench/out/equality"), help="for the peer's files")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/results/speed.md"))
    parser.add_argument("--reuse", action="store_true", help="take the peer's files that are there already")
    arguments = parser.parse_args()
    models, folder = arguments.models.resolve(), arguments.folder.resolve()
    rows: list[dict[str, Any]] = []
    for setting in settings_of(arguments.families):
        about = f"{setting.name} {setting.kind} mu={setting.mu} beta={setting.beta} {setting.completions}"
        print(about, file=sys.stderr, flush=True)
        rows += with_fallback(setting, arguments.peer, models, folder, reuse=arguments.reuse)
    print(equality_table(rows))
    from benchmarks.page import publish

    publish(arguments.results, arguments.page, lambda old: merged(old, {"equality": with_cases(old, rows)}))
    passed = all(counts(row) for row in rows)
    raise SystemExit(0 if passed else 1)


if __name__ == "__main__":
    main()
