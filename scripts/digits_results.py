"""Turns finished runs of the digits recipe into docs/results/digits.md.

    python scripts/digits_results.py runs/digits-seed0 runs/digits-seed1 runs/digits-seed2 > docs/results/digits.md
    python scripts/digits_results.py --table runs/digits-seed0        (the table in README.md)

Every number of that page comes from the runs' own summary.json and metrics.jsonl.
"""

import json
import sys
from pathlib import Path
from statistics import mean
from typing import Any

STAGES = ("assemble", "align", "mpo", "grpo")
FIGURES = (
    ("greedy_accuracy", "greedy"),
    ("sampled_accuracy", "sampled"),
    ("format_rate", "form"),
    ("hallucination_rate", "hallucinating responses"),
)


def percent(value: float | None) -> str:
    """One decimal, or a dash where there is no figure."""
    return "-" if value is None else f"{100 * value:.1f}"


def row(*cells: str) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def stage_table(summary: dict[str, Any]) -> list[str]:
    """Every stage of one run."""
    tested = summary["details"]["evaluate"]["test"]
    lines = [
        row("stage", *(title for _, title in FIGURES), "hallucinated mentions", "grey picture", "seconds"),
        row("---", *["---:"] * 7),
    ]
    for stage, figures in summary["stages"].items():
        test = tested.get(stage)
        mentions = test["sampled"]["hallucinated_mention_rate"] if test else None
        grey = test["grey_picture"]["accuracy"] if test else None
        shown = [percent(figures[key] if stage != "evaluate" else None) for key, _ in FIGURES]
        lines.append(row(stage, *shown, percent(mentions), percent(grey), f"{figures['seconds']:.1f}"))
    return lines


def short_table(summary: dict[str, Any]) -> str:
    """The stages that give a policy, as README.md shows them."""
    lines = [row("stage", "greedy", "sampled", "well-formed", "hallucinating", "effective", "seconds")]
    lines.append(row("---", *["---:"] * 6))
    for stage, figures in summary["stages"].items():
        shown = [percent(figures[key] if stage != "evaluate" else None) for key, _ in FIGURES]
        first, last = figures["effective_ratio_first"], figures["effective_ratio_last"]
        decay = "-" if stage == "evaluate" or first is None else f"{percent(first)} to {percent(last)}"
        lines.append(row(stage, *shown, decay, f"{figures['seconds']:.0f}"))
    return "\n".join(lines) + "\n"


def parents(summary: dict[str, Any]) -> str:
    """Whether the time of a run has the training of its parents in it."""
    return "parents trained" if summary["stages"]["parents"]["seconds"] > 1 else "parents from the cache"


def effective_table(runs: list[Path]) -> list[str]:
    """The share of effective groups among the fresh ones, and of the updated batch that is filled, in fifths."""
    lines = [row("seed", "batch", *(f"fifth {n}" for n in range(1, 6))), row("---", "---", *["---:"] * 5)]
    for run in runs:
        seed = json.loads((run / "summary.json").read_text())["seed"]
        metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        steps = [line for line in metrics if line["stage"] == "grpo"]
        size = len(steps) // 5
        for key, name in (("effective/fresh", "fresh groups"), ("effective/batch", "updated batch")):
            fifths = [mean(line[key] for line in steps[n * size : (n + 1) * size]) for n in range(5)]
            lines.append(row(str(seed), name, *map(percent, fifths)))
    return lines


def page(runs: list[Path]) -> str:
    """The whole page."""
    summaries = [json.loads((run / "summary.json").read_text()) for run in runs]
    first = summaries[0]
    aligned = [one["stages"]["align"]["sampled_accuracy"] for one in summaries]
    final = [one["stages"]["grpo"]["sampled_accuracy"] for one in summaries]
    lines = [
        "# The digits recipe: results on the test split",
        "",
        "960 scenes of pictured digits that no stage has seen. Accuracies are per cent: greedy, and at temperature 1",
        f"with {first['details']['evaluate']['test']['grpo']['sampled']['samples']} samples a scene. *Form*, "
        "*hallucinating responses* (naming a digit that is not in the picture) and",
        "*hallucinated mentions* (of all digits named) are those of the sampled answers. *Grey picture* is the greedy",
        "accuracy when the picture is replaced by a uniform grey one.",
        "",
        "| | |",
        "| --- | --- |",
        row("command", "`vergence demo --set seed=SEED` for seeds " + ", ".join(str(one["seed"]) for one in summaries)),
        row("commit", f"`{first['commit']}`"),
        row("versions", ", ".join(f"{name} {number}" for name, number in first["versions"].items())),
        row("machine", f"{first['machine']['processor']}, Python {first['machine']['python']}, one thread"),
        row(
            "time of the stages, per seed",
            ", ".join(f"{one['seconds']:.0f} s ({parents(one)})" for one in summaries),
        ),
        "",
        "A seed decides everything: the parents, the training scenes, the adapter and every sample. The test scenes",
        "are the same for all. Settings were chosen on the tuning split.",
        "",
        "## In short",
        "",
        row("seed", "aligned, sampled", "final, sampled", "gain"),
        row("---", "---:", "---:", "---:"),
    ]
    lines += [
        row(str(one["seed"]), percent(before), percent(after), f"+{100 * (after - before):.1f}")
        for one, before, after in zip(summaries, aligned, final, strict=True)
    ]
    lines.append(
        row("mean", percent(mean(aligned)), percent(mean(final)), f"+{100 * (mean(final) - mean(aligned)):.1f}")
    )
    lines += ["", "## Effective groups", "", *effective_table(runs)]
    lines += [
        "",
        "The fresh ratio decays as the policy improves. The buffer fills the batch that is updated; it does not, and",
        "cannot, change the fresh ratio. Whether it also pays: [method.md](method.md).",
        "",
        "## Hallucination",
        "",
        row("seed", "measure", "align", "mpo", "grpo"),
        row("---", "---", "---:", "---:", "---:"),
    ]
    for one in summaries:
        tested = one["details"]["evaluate"]["test"]
        for key, name in (
            ("hallucination_rate", "responses"),
            ("hallucinated_mention_rate", "mentions"),
        ):
            rates = [percent(tested[stage]["sampled"][key]) for stage in ("align", "mpo", "grpo")]
            lines.append(row(str(one["seed"]), name, *rates))
    lines += [
        "",
        "A response without a thought names nothing and so hallucinates nothing. Many samples of the aligned model are",
        "of that kind (see *form* below), which flatters its rate per response; the rate per mention is fairer.",
        "",
        "## Reward model",
        "",
        row("seed", "held-out pairs in the right order", "by source", "if the longer response won"),
        row("---", "---:", "---", "---:"),
    ]
    for one in summaries:
        details = one["details"]["reward_model"]
        sources = ", ".join(f"{name} {percent(v)}" for name, v in details["held_out_pair_accuracy_by_source"].items())
        lines.append(
            row(
                str(one["seed"]),
                percent(details["held_out_pair_accuracy"]),
                sources,
                percent(details["longer_is_better_accuracy"]),
            )
        )
    for one in summaries:
        lines += ["", f"## Every stage, seed {one['seed']}", "", *stage_table(one)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["--table"]:
        sys.stdout.write(short_table(json.loads((Path(arguments[1]) / "summary.json").read_text())))
    else:
        sys.stdout.write(page([Path(argument) for argument in arguments]))
