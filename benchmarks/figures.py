"""Figures of lane S as pure functions: ratios, medians, contention, merging, tables. Standard library only."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

CONTENDED = 0.2
"""Cores that foreign processes may use, on average, in a pair whose wall times count."""

Result = Mapping[str, Any]
"""What one child process wrote (fields: benchmarks/configs.py)."""


def total(result: Result, name: str) -> float:
    """Sum over the timed rounds of one of their numbers.

    Example: `total({"rounds": [{"cpu": 1.0}, {"cpu": 3.0}]}, "cpu")` is 4.0.
    """
    return float(sum(one[name] for one in result["rounds"]))


def per_round(result: Result, name: str) -> float:
    """Mean over the timed rounds of one of their numbers."""
    return total(result, name) / len(result["rounds"])


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and range.

    Example: `spread([3.0, 1.0, 2.0])` is `{"median": 2.0, "min": 1.0, "max": 3.0}`.
    """
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def pair_figures(peer: Result, ours: Result) -> dict[str, Any]:
    """Ratios of one pair, peer over ours; `paid` counts the pass that keeps reference log-probs into every MPO step."""
    others = max(peer["others"], ours["others"])
    figures = {
        "wall_ratio": per_round(peer, "wall") / per_round(ours, "wall"),
        "cpu_ratio": per_round(peer, "cpu") / per_round(ours, "cpu"),
        "memory_ratio": peer["peak_bytes"] / ours["peak_bytes"],
        "others": others,
        "contended": others > CONTENDED,
    }
    if "reference_once_cpu" in ours["rounds"][0]:
        for name in ("wall", "cpu"):
            paid = per_round(ours, name) + per_round(ours, f"reference_once_{name}")
            figures[f"{name}_ratio_paid"] = per_round(peer, name) / paid
    return figures


RATIOS = ("wall_ratio", "cpu_ratio", "memory_ratio", "wall_ratio_paid", "cpu_ratio_paid")


def config_figures(pairs: Sequence[tuple[Result, Result]], stock: Sequence[Result] = ()) -> dict[str, Any]:
    """The entry of one configuration in the results file, out of its pairs (peer, ours)."""
    rows = [pair_figures(peer, ours) for peer, ours in pairs]
    figures: dict[str, Any] = {name: spread([row[name] for row in rows]) for name in RATIOS if name in rows[0]}
    figures |= {
        "pairs": rows,
        "contended_pairs": sum(row["contended"] for row in rows),
        "trusted": "cpu_ratio" if any(row["contended"] for row in rows) else "wall_ratio",
        "peer": side_figures([peer for peer, _ in pairs]),
        "vergence": side_figures([ours for _, ours in pairs]),
    }
    if stock:
        figures["stock"] = side_figures(stock)
        cpu = figures["vergence"]["cpu"]["median"]
        figures["stock_cpu_ratio"] = spread([per_round(one, "cpu") / cpu for one in stock])
    figures["raw"] = {
        "peer": [peer for peer, _ in pairs],
        "vergence": [ours for _, ours in pairs],
        "stock": list(stock),
    }
    return figures


COUNTED = ("tower_images", "tower_images_grad", "preprocessed", "decoded", "generated_tokens", "trained_tokens")


def side_figures(results: Sequence[Result]) -> dict[str, Any]:
    """One side of one configuration: seconds, bytes and counts of a round, phases and tokens per second."""
    wall = statistics.median(per_round(one, "wall") for one in results)
    figures: dict[str, Any] = {
        "wall": spread([per_round(one, "wall") for one in results]),
        "cpu": spread([per_round(one, "cpu") for one in results]),
        "peak_bytes": spread([float(one["peak_bytes"]) for one in results]),
        "others": spread([one["others"] for one in results]),
        "phases_cpu": _phases(results, "phases_cpu"),
        "phases_wall": _phases(results, "phases_wall"),
    }
    figures |= {name: statistics.median(per_round(one, name) for one in results) for name in COUNTED}
    for name in ("reference_once_wall", "reference_once_cpu"):
        if name in results[0]["rounds"][0]:
            figures[name] = spread([per_round(one, name) for one in results])
    figures["generated_tokens_per_second"] = figures["generated_tokens"] / wall
    figures["trained_tokens_per_second"] = figures["trained_tokens"] / wall
    return figures


def _phases(results: Sequence[Result], name: str) -> dict[str, float]:
    return {
        phase: statistics.median(
            sum(one[name][phase] for one in result["rounds"]) / len(result["rounds"]) for result in results
        )
        for phase in results[0]["rounds"][0][name]
    }


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The results file after a partial run: what the run did not measure stays as it was.

    Example: `merged({"configs": {"G1": 1}}, {"configs": {"G2": 2}})` is `{"configs": {"G1": 1, "G2": 2}}`.
    """
    configs = dict(old.get("configs", {})) | dict(new.get("configs", {}))
    both = dict(old) | dict(new)
    return both | {"configs": configs} if configs else both


def foreign_load(configs: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Cores that foreign processes used, over all pairs of all configurations."""
    return spread([pair["others"] for figures in configs for pair in figures["pairs"]])


def by_worst(configs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of configurations, the smallest CPU ratio first: the order of every table."""
    return sorted(configs, key=lambda name: float(configs[name]["cpu_ratio"]["median"]))


def ranged(values: Mapping[str, float], digits: int = 2) -> str:
    """A median and its range.

    Example: `ranged({"median": 2.0, "min": 1.0, "max": 3.0})` is "2.00 (1.00-3.00)".
    """
    return f"{values['median']:.{digits}f} ({values['min']:.{digits}f}-{values['max']:.{digits}f})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown with columns of equal width."""
    widths = [max(len(row[place]) for row in [head, *rows]) for place in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )
