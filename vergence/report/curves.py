"""Which curves a stage has: a list of charts, of which those are drawn whose metrics the stage logged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vergence.report.markup import Html, join, section, tag
from vergence.report.read import Row, points
from vergence.report.svg import SMOOTHED_FROM, Chart, Series, draw


@dataclass(frozen=True, slots=True)
class Curves:
    """A chart before it has any data."""

    title: str
    lines: Mapping[str, str]
    """Metric to its label in the legend."""
    share: bool = False
    low: float | None = None
    high: float | None = None


CURVES = (
    Curves("loss", {"loss": "loss"}),
    Curves("accuracy on training batches", {"accuracy": "batch", "held_out/pair_accuracy": "held out"}, True, 0.0, 1.0),
    Curves(
        "loss by term",
        {
            "mpo/preference_loss": "preference",
            "mpo/quality_loss": "quality",
            "mpo/generation_loss": "generation",
        },
        low=0.0,
    ),
    Curves(
        "implicit reward",
        {"mpo/chosen_reward": "chosen", "mpo/rejected_reward": "rejected", "mpo/shift": "shift"},
    ),
    Curves("pairs in the right order", {"mpo/pair_accuracy": "pairs"}, True, 0.0, 1.0),
    Curves(
        "accuracy, tuning split",
        {
            "tuning/greedy_accuracy": "greedy",
            "tuning/sampled_accuracy": "sampled",
            "tuning/blank_accuracy": "grey picture",
        },
        True,
        0.0,
        1.0,
    ),
    Curves(
        "reward by component",
        {
            "reward/total": "total",
            "reward/accuracy": "accuracy",
            "reward/format": "format",
            "reward/preference": "preference",
        },
        low=0.0,
    ),
    Curves(
        "effective groups, and the batch after the buffer",
        {
            "effective/fresh": "fresh",
            "effective/batch": "updated batch",
            "effective/all_right": "all right",
            "effective/all_wrong": "all wrong",
        },
        True,
        0.0,
        1.0,
    ),
    Curves("buffer: replayed share of the batch", {"buffer/replay_share": "replayed"}, True, 0.0, 1.0),
    Curves("buffer: age of replayed samples", {"buffer/age_mean": "mean", "buffer/age_max": "oldest"}, low=0.0),
    Curves("buffer: samples kept", {"buffer/size": "size"}, low=0.0),
    Curves(
        "buffer: distance from the policy",
        {
            "buffer/weight_mean": "mean weight",
            "buffer/effective_sample_size": "effective sample size",
            "loss/ratio_mean_replay": "ratio of replayed",
        },
    ),
    Curves(
        "hallucination",
        {
            "hallucination/response_rate": "responses",
            "hallucination/mention_rate": "mentions",
            "tuning/hallucination_rate": "responses, tuning split",
        },
        True,
        0.0,
    ),
    Curves("perception: KL to masked pictures", {"perception/kl": "KL, nats"}, low=0.0),
    Curves("perception: dependence on the picture", {"perception/dependent_share": "dependent tokens"}, True, 0.0),
    Curves("perception: blank gap", {"perception/blank_gap": "gap to a grey picture"}, True, 0.0, 1.0),
    Curves("entropy", {"loss/entropy": "nats a token", "loss/critical_entropy": "at critical tokens"}, low=0.0),
    Curves("clip fraction", {"loss/clip_fraction": "tokens"}, True, 0.0),
    Curves("completion length", {"rollout/length_mean": "mean tokens"}),
)


def curves_section(metrics: Mapping[str, Sequence[Row]]) -> Html:
    """All charts, stage by stage."""
    stages: dict[str, dict[str, Sequence[Row]]] = {}
    for label, rows in metrics.items():
        stage, _, part = label.partition("/")
        stages.setdefault(stage, {})[part] = rows
    blocks = [
        join([tag("h3", stage), tag("div", join(drawn), class_="charts")])
        for stage, parts in stages.items()
        if (drawn := charts(parts, CURVES))
    ]
    note = tag(
        "p",
        f"Thin: each step. Thick: the running mean, where a series has {SMOOTHED_FROM} points or more. "
        "Beside each label: the value at which its line ends.",
        class_="note",
    )
    return section("curves", "Curves", note, join(blocks)) if blocks else Html()


def charts(parts: Mapping[str, Sequence[Row]], wanted: Sequence[Curves]) -> list[Html]:
    """Those of the wanted charts that have data; the parts of a stage, if it has named ones, share each chart."""
    ends = [float(rows[place]["step"]) for rows in parts.values() for place in (0, -1)]
    drawn = []
    for curves in wanted:
        series = [
            Series(_label(part, label), found)
            for part, rows in parts.items()
            for metric, label in curves.lines.items()
            if (found := points(rows, metric))
        ]
        if series:
            chart = Chart(
                title=curves.title,
                series=series,
                steps=(min(ends), max(ends)),
                share=curves.share,
                low=curves.low,
                high=curves.high,
            )
            drawn.append(draw(chart))
    return drawn


def _label(part: str, label: str) -> str:
    return f"{part} {label}" if part else label
