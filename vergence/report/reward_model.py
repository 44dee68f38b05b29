"""What a reward model's held-out report says: order, baselines, wrong pictures, and whether its certainty holds."""

from collections.abc import Mapping, Sequence
from typing import Any

from vergence.report.markup import Html, join, section, table, tag
from vergence.report.numerals import figure, percent
from vergence.report.read import RunRecord

DASH = " \N{EN DASH} "


def reward_model_section(record: RunRecord) -> Html:
    """Two tables and a note for each reward model that was trained in the run."""
    found = {label: one for label, one in record.summary["details"].items() if "reliability" in one}
    return section(
        "reward-model",
        "Reward model on held-out comparisons",
        *(
            tag(
                "div",
                tag("div", tag("h3", label), order_table(one)),
                tag("div", tag("h3", "Is it as sure as it should be?"), reliability_table(one["reliability"])),
                class_="pair",
            )
            for label, one in found.items()
        ),
        *(tag("p", note(label, one), class_="note") for label, one in found.items()),
    )


def order_table(found: Mapping[str, Any]) -> Html:
    """Shares in the right order, by source and beside the baselines, each with its 95 % interval."""
    ends, swap = found["intervals"], found.get("image_swap")
    rows = [_row("all", found["held_out_pairs"], found["held_out_pair_accuracy"], ends["pair_accuracy"])]
    rows += [
        _row(source, found["held_out_pairs_by_source"][source], share, ends[f"pair_accuracy_{source}"])
        for source, share in found["held_out_pair_accuracy_by_source"].items()
    ]
    rows.append(_row("if the longer one wins", found["held_out_pairs"], found["longer_is_better_accuracy"], None))
    rows.append(_row("margin over that", None, found["margin_over_longer"], ends["margin_over_longer"]))
    rows.append(_row("margin over chance", None, found["margin_over_chance"], ends["margin_over_chance"]))
    if swap is not None:
        rows.append(_row("wrong picture scores lower", swap["responses"], swap["lowered"], swap["lowered_interval"]))
    head = [tag("th", ""), *(tag("th", name, class_="number") for name in ("comparisons", "share", "95 % interval"))]
    return table(head, rows)


def reliability_table(bins: Sequence[Mapping[str, Any]]) -> Html:
    """What was promised, sigmoid of the gap, beside what came true."""
    columns = ("comparisons", "promised", "in the right order")
    rows = [
        tag(
            "tr",
            tag("th", f"{percent(one['low'])}{DASH}{percent(one['high'])}", scope="row"),
            join(
                tag("td", cell, class_="number")
                for cell in (str(one["count"]), percent(one["confidence"]), percent(one["accuracy"]))
            ),
        )
        for one in bins
    ]
    return table([tag("th", "sureness"), *(tag("th", name, class_="number") for name in columns)], rows)


def note(label: str, found: Mapping[str, Any]) -> str:
    """What the tables do not say."""
    ends = found["score_quantiles"]
    text = (
        f"{label}: per cent. Raw scores from {figure(ends['0'])} to {figure(ends['100'])}, median "
        f"{figure(ends['50'])}; only differences mean something. Expected calibration error "
        f"{percent(found['calibration_error'])}; certainty fits best at temperature {figure(found['temperature'])}. "
    )
    swap = found.get("image_swap")
    if swap is None:
        return text
    low, high = swap["drop_interval"]
    between = f", 95 % interval {figure(low)} to {figure(high)}" if low is not None else ""
    return f"{text}A wrong picture lowers a good response's raw score by {figure(swap['drop'])} on average{between}."


def _row(label: str, count: int | None, share: float, ends: Sequence[float | None] | None) -> Html:
    low, high = ends or (None, None)
    interval = "" if low is None or high is None else f"{percent(low)}{DASH}{percent(high)}"
    cells = ("" if count is None else str(count), percent(share), interval)
    return tag("tr", tag("th", label, scope="row"), join(tag("td", cell, class_="number") for cell in cells))
