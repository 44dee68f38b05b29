"""What was watched, when it left its normal band, what was done about it, and what watching cost."""

from collections.abc import Mapping, Sequence

from vergence.report.markup import Html, join, section, table, tag
from vergence.report.numerals import figure, fixed, percent
from vergence.report.read import Row, RunRecord, points, values
from vergence.report.svg import Chart, Mark, Series, Shade, draw

_COST = "seconds/monitor"
_SHARES = frozenset(
    {
        "perception/dependent_share",
        "perception/gain_share",
        "perception/seen_share",
        "perception/flip_rate",
        "perception/blank_gap",
        "hallucination/response_rate",
        "hallucination/mention_rate",
        "hallucination/blindness",
        "tuning/hallucination_rate",
        "agreement/concordance",
        "rollout/truncated",
        "rollout/repetition",
        "rollout/looping",
        "probe/accuracy",
        "probe/precision",
        "probe/recall",
        "probe/f1",
        "probe/yes_ratio",
    }
)
"""Signals that are printed in per cent."""
_NOTE = (
    "Shaded: the normal band, from the step in which it was known. A red line: an alarm; dashed: one that was "
    "answered. Beside each name: the last value."
)


def monitor_section(record: RunRecord) -> Html:
    """A sentence, a chart for each signal with a band, the actions and the costs, for each stage that was watched."""
    blocks = [
        join(
            [
                tag("h3", stage),
                tag("p", sentence(rows), class_="prose"),
                tag("div", join(signal_charts(rows, record.metrics.get(stage, []))), class_="charts"),
                actions_table(rows),
            ]
        )
        for stage, rows in record.alarms.items()
    ]
    inside = [tag("p", _NOTE, class_="note"), *blocks] if blocks else []
    return section("monitor", "Hallucination and alarms", join(inside), costs(record.metrics))


def sentence(rows: Sequence[Row]) -> str:
    """How many bands, alarms and actions, and which alarm came first."""
    alarms, actions = _of(rows, "alarm"), [row for row in _of(rows, "action") if row["done"]]
    text = f"{_count(len({row['signal'] for row in _of(rows, 'band')}), 'band')} learnt"
    if not alarms:
        return f"{text}, and no alarm."
    first = alarms[0]
    text += (
        f", {_count(len(alarms), 'alarm')}, {_count(len(actions), 'action')}. The first alarm was {first['signal']} "
        f"in step {first['step']}: {_crossed(first)}."
    )
    return text


def signal_charts(rows: Sequence[Row], metrics: Sequence[Row]) -> list[Html]:
    """One chart for each signal of which a band or an alarm is known, those with alarms first."""
    alarmed = {row["signal"]: None for row in _of(rows, "alarm")}
    signals = [*alarmed, *(row["signal"] for row in _of(rows, "band") if row["signal"] not in alarmed)]
    steps = (float(metrics[0]["step"]), float(metrics[-1]["step"])) if metrics else (0.0, 0.0)
    drawn = []
    for signal in signals:
        found = points(metrics, signal)
        if not found:
            continue
        mine = [row for row in rows if row["signal"] == signal]
        bands = [Shade(float(row["step"]), row["low"], row["high"]) for row in _of(mine, "band")]
        answered = {row["step"] for row in _of(mine, "action") if row["done"]}
        marks = [
            Mark(
                float(row["step"]),
                f"step {row['step']}: {_crossed(row)}",
                "action" if row["step"] in answered else "alarm",
            )
            for row in _of(mine, "alarm")
        ]
        chart = Chart(
            title=signal,
            series=[Series("", found)],
            steps=steps,
            share=signal in _SHARES,
            shades=bands,
            marks=marks,
        )
        drawn.append(draw(chart))
    return drawn


def actions_table(rows: Sequence[Row]) -> Html:
    """Every action with its result and its cause; those that could not be taken as well."""
    actions = _of(rows, "action")
    if not actions:
        return Html()
    head = [tag("th", name) for name in ("step", "action", "result", "cause")]
    lines = [
        tag(
            "tr",
            tag("td", str(row["step"]), class_="number"),
            tag("td", row["action"]),
            tag("td", row["result"]),
            tag("td", row["cause"]),
            class_=None if row["done"] else "again",
        )
        for row in actions
    ]
    return table(head, lines)


def costs(metrics: Mapping[str, Sequence[Row]]) -> Html:
    """Seconds of each monitor, and its share of all that the stage's phases took; nothing where none was measured."""
    lines = []
    for stage, rows in metrics.items():
        names = dict.fromkeys(name for row in rows for name in row if name.startswith("seconds/"))
        phases = {name: sum(values(rows, name)) for name in names}
        named = [name for name in phases if name.startswith(f"{_COST}_")]
        for name in sorted(named, key=lambda one: -phases[one]):
            times = len(values(rows, name))
            cells = [fixed(phases[name]), str(times), fixed(1000 * phases[name] / times, 1)]
            cells.append(percent(phases[name] / max(sum(phases.values()), 1e-9)))
            numbers = join(tag("td", cell, class_="number") for cell in cells)
            lines.append(tag("tr", tag("th", f"{stage}: {name.removeprefix(_COST + '_')}", scope="row"), numbers))
    if not lines:
        return Html()
    head = [tag("th", name, class_="number" if name else None) for name in ("", *_COLUMNS)]
    note = tag("p", "The tuning split with its grey pictures is no monitor and not in this table.", class_="note")
    return join([tag("h3", "What watching cost"), table(head, lines), note])


_COLUMNS = ("seconds", "measured", "ms each", "% of all phases")


def _of(rows: Sequence[Row], kind: str) -> list[Row]:
    return [row for row in rows if row["kind"] == kind]


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _crossed(row: Row) -> str:
    edge, word = (row["low"], "below") if row["side"] == "low" else (row["high"], "above")
    value = "not finite" if row["value"] is None else figure(row["value"])
    return f"{value}, {word} {figure(edge)}"
