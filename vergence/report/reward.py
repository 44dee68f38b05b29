"""What the reward was made of, over time, and whether rules and preference model agree."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

from vergence.report.curves import AGREEMENT, charts
from vergence.report.markup import Html, join, section, table, tag
from vergence.report.numerals import fixed
from vergence.report.read import Row, RunRecord, stage_labels, values

SPANS = 5
"""Spans of steps that a stage is cut into."""
_NAMES = {
    "reward/total": "reward",
    "reward/rule_preference_correlation": "correlation with accuracy",
    "reward/preference_when_right": "preference, answer right",
    "reward/preference_when_wrong": "preference, answer wrong",
}


def reward_section(record: RunRecord) -> Html:
    """A table and two charts for each stage that had a reward."""
    sections = dict(zip(stage_labels(record.recipe), record.recipe.get("stage", []), strict=True))
    blocks = []
    for stage, rows in record.metrics.items():
        rewarded = [row for row in rows if row.get("reward/total") is not None]
        if rewarded:
            described = formula(sections.get(stage, {}).get("reward", {}))
            parts = [
                tag("h3", stage),
                tag("p", described, class_="note") if described else "",
                tag("div", breakdown(rewarded), join(charts({"": rewarded}, AGREEMENT)), class_="reward"),
            ]
            blocks.append(join(parts))
    return section("reward", "Reward breakdown", join(blocks))


def breakdown(rows: Sequence[Row]) -> Html:
    """Components, their sum and their agreement, as means over spans of steps."""
    spans = spans_of(rows)
    names = list(dict.fromkeys(name for row in rows for name in row if name.startswith("reward/")))
    # components first, then the whole, then how they agree
    names.sort(key=lambda name: list(_NAMES).index(name) if name in _NAMES else -1)
    head = [tag("th", "mean of"), *(tag("th", _steps(span), class_="number") for span in spans)]
    lines = [
        tag(
            "tr",
            tag("th", _NAMES.get(name, name.removeprefix("reward/")), scope="row"),
            join(tag("td", _mean(values(span, name)), class_="number") for span in spans),
            class_="sum" if name == "reward/total" else None,
        )
        for name in names
    ]
    return table(head, lines)


def spans_of(rows: Sequence[Row]) -> list[Sequence[Row]]:
    """Consecutive spans of about equal length, at most `SPANS`."""
    count = min(SPANS, len(rows))
    bounds = [round(place * len(rows) / count) for place in range(count + 1)]
    return [rows[begin:end] for begin, end in pairwise(bounds)]


def formula(reward: Mapping[str, Any]) -> str:
    """How a stage's reward is computed, from its section of the recipe; "" where the recipe does not say."""
    match reward.get("preset"):
        case "paper":
            return "Reward = accuracy + format + preference, neither bounded nor gated (preset paper)."
        case "r1v3":
            return "Reward = 0.8 accuracy + 0.2 format (preset r1v3)."
        case "rules":
            return f"Reward = {reward['accuracy']:g} accuracy + {reward['format']:g} format (preset rules)."
        case "calibrated":
            rules = f"{reward['accuracy']:g} accuracy + {reward['format']:g} format"
            bound = {"none": "preference"}.get(reward["bound"], f"{reward['bound']}(preference)")
            gate = {
                "correct": ", the last term for correct answers only",
                "formed": ", the last term for well-formed responses only",
            }.get(reward["gate"], "")
            return f"Reward = {rules} + {reward['preference']:g} {bound}{gate}. The table shows raw components."
        case _:
            return ""


def _steps(span: Sequence[Row]) -> str:
    first, last = span[0]["step"], span[-1]["step"]
    return f"step {first}" if first == last else f"{first} \N{EN DASH} {last}"


def _mean(found: Sequence[float]) -> str:
    return fixed(fmean(found)) if found else ""
