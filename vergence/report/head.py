"""The head of the page: which run this is, and what came out of it."""

from collections.abc import Mapping
from typing import Any

from vergence.report.markup import Html, join, tag
from vergence.report.numerals import duration, first_tenth, last_tenth, percent
from vergence.report.read import RunRecord, stage_labels, values

ARROW = " \N{RIGHTWARDS ARROW} "


def head(record: RunRecord) -> Html:
    """Title, identity and the figures to remember."""
    summary = record.summary
    facts = {
        "seed": str(summary.get("seed", record.recipe.get("seed", ""))),
        "commit": _commit(summary.get("commit")),
        "time": duration(sum(row["seconds"] for row in summary["stages"].values())) if summary["stages"] else "",
        "machine": _machine(summary.get("machine", {})),
        "versions": ", ".join(f"{name} {number}" for name, number in summary.get("versions", {}).items()),
    }
    listed = [tag("span", tag("b", name), f" {value}") for name, value in facts.items() if value]
    return tag(
        "header",
        tag("h1", "Run of ", tag("em", str(summary.get("recipe", record.recipe.get("name", ""))))),
        state(record),
        tag("p", join(listed), class_="facts"),
        tag("div", join(highlights(record)), class_="highlights"),
    )


def state(record: RunRecord) -> Html:
    """Whether the run is complete, and otherwise how far it came."""
    if record.summary.get("complete"):
        return tag("p", "complete", class_="state complete")
    labels = stage_labels(record.recipe)
    done = [label for label in labels if label in record.summary["stages"]]
    following = next((label for label in labels if label not in done), None)
    # a part of a stage, such as parents/vision, is its stage's progress
    steps = sum(len(rows) for label, rows in record.metrics.items() if label.split("/")[0] == following)
    logged = f", {steps} steps logged" if steps else ""
    text = f"not complete: {len(done)} of {len(labels)} stages done"
    return tag("p", text + (f"; next is {following}{logged}" if following else ""), class_="state unfinished")


def highlights(record: RunRecord) -> list[Html]:
    """The few figures that say how the run went, as far as it has them."""
    tiles = [_accuracy(record), _grey(record), _hallucination(record), _effective(record), _reward_model(record)]
    return [tile for tile in tiles if tile]


def _accuracy(record: RunRecord) -> Html:
    measured = _measured(record, "greedy_accuracy")
    if not measured:
        return Html()
    last = list(measured)[-1]
    split = record.summary["stages"][last]["split"]
    path = ARROW.join(f"{label} {percent(value)}" for label, value in measured.items())
    return _tile(percent(measured[last]), f"greedy accuracy, {split} split", path)


def _grey(record: RunRecord) -> Html:
    if not record.test:
        return Html()
    label, found = list(record.test.items())[-1]
    return _tile(percent(found["grey_picture"]["accuracy"]), "accuracy with a grey picture", f"{label}, test split")


def _hallucination(record: RunRecord) -> Html:
    measured = _measured(record, "hallucination_rate")
    if not measured:
        return Html()
    path = ARROW.join(f"{label} {percent(value)}" for label, value in measured.items())
    return _tile(percent(list(measured.values())[-1]), "sampled responses that hallucinate", path)


def _effective(record: RunRecord) -> Html:
    for rows in reversed(list(record.metrics.values())):
        fresh, batch = values(rows, "effective/fresh"), values(rows, "effective/batch")
        if fresh and batch:
            begin, end = percent(first_tenth(fresh)), percent(last_tenth(fresh))
            filled = f"updated batch in the last tenth: {percent(last_tenth(batch))} full"
            return _tile(f"{begin}{ARROW}{end}", "effective groups, first and last tenth", filled)
    return Html()


def _reward_model(record: RunRecord) -> Html:
    for details in record.summary["details"].values():
        if "held_out_pair_accuracy" in details:
            baseline = f"preferring the longer response: {percent(details.get('longer_is_better_accuracy'))}"
            return _tile(percent(details["held_out_pair_accuracy"]), "reward model, held-out pairs", baseline)
    return Html()


def _tile(value: str, meaning: str, small: str) -> Html:
    return tag("div", tag("strong", value, tag("small", " %")), tag("span", meaning), tag("small", small))


def _measured(record: RunRecord, column: str) -> dict[str, float]:
    """Stage to its figure, for the stages that changed the policy."""
    return {
        label: row[column]
        for label, row in record.summary["stages"].items()
        if row.get(column) is not None and "test" not in record.summary["details"].get(label, {})
    }


def _commit(commit: str | None) -> str:
    """Twelve digits, and the mark of a tree that differs from its commit."""
    if commit is None:
        return "unknown"
    name, plus, mark = commit.partition("+")
    return name[:12] + plus + mark


def _machine(machine: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in machine.items())
