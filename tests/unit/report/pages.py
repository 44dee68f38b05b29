"""A small run directory, and the page that is made of it, parsed."""

import hashlib
import io
import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from PIL import Image

from vergence.report.page import write_report
from vergence.report.svg import SMOOTHED_FROM
from vergence.run.directory import RunDirectory

STEPS = 4
NASTY = """<script>alert("x")</script><img src='http://example.org/x.png' onerror=alert(1)> & 'quotes' "more" \u2713"""

RECIPE = """
name = "tiny"
seed = 7

[data]
type = "digits"

[[stage]]
type = "parents"

[[stage]]
type = "align"

[[stage]]
type = "reward_model"
name = "judge"

[[stage]]
type = "grpo"

[stage.reward]
preset = "calibrated"
accuracy = 1.0
format = 0.5
preference = 0.25
bound = "sigmoid"
gate = "correct"

[[stage]]
type = "evaluate"
"""


@dataclass
class Element:
    """A node of the parsed page."""

    name: str
    attributes: dict[str, str | None]
    children: "list[Element | str]" = field(default_factory=list)

    def all(self, name: str = "", **wanted: str) -> "list[Element]":
        """Every element below this one with that name whose attributes contain these words."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                words = {key.rstrip("_").replace("_", "-"): value for key, value in wanted.items()}
                if name in ("", child.name) and all(
                    set(value.split()) <= set((child.attributes.get(key) or "").split()) for key, value in words.items()
                ):
                    found.append(child)
                found += child.all(name, **wanted)
        return found

    def one(self, name: str = "", **wanted: str) -> "Element":
        """The only such element."""
        (found,) = self.all(name, **wanted)
        return found

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        assert len(element.attributes) == len(attrs), f"an attribute of <{tag}> stands there twice"
        self.open[-1].children.append(element)
        if tag not in ("meta", "img"):
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().name == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parsed(html: str) -> Element:
    builder = _Builder()
    builder.feed(html)
    builder.close()
    assert builder.open == [builder.root], "an element is never closed"
    return builder.root


def rows_of(table: Element) -> dict[str, list[str]]:
    """First cell of each row to the texts of the others."""
    rows = [[cell.text for cell in row.children if isinstance(cell, Element)] for row in table.all("tr")]
    return {row[0]: row[1:] for row in rows}


def report(path: Path) -> Element:
    directory = RunDirectory(path)
    write_report(directory)
    return parsed(directory.report.read_text("ascii"))


def png(side: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (side, side), 200).save(buffer, "PNG")
    return buffer.getvalue()


def write_lines(path: Path, rows: list[dict[str, Any]], torn: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + torn)


def row(**figures: Any) -> dict[str, Any]:
    empty = {
        "greedy_accuracy": None,
        "sampled_accuracy": None,
        "format_rate": None,
        "hallucination_rate": None,
        "effective_ratio_first": None,
        "effective_ratio_last": None,
        "split": None,
    }
    return empty | figures


def measured(accuracy: float) -> dict[str, Any]:
    return {
        "problems": 960,
        "samples": 2,
        "accuracy": accuracy,
        "accuracy_low": accuracy - 0.0312,
        "accuracy_high": accuracy + 0.0298,
        "pass_at_k": accuracy,
        "format_rate": 1.0,
        "hallucination_rate": 0.1,
        "hallucinated_mention_rate": 0.1,
        "categories": {"max": accuracy, "sum": accuracy / 2},
    }


SUMMARY = {
    "recipe": "tiny",
    "seed": 7,
    "complete": True,
    "stages": {
        "parents": row(seconds=99.26),
        "align": row(
            greedy_accuracy=0.6718,
            sampled_accuracy=0.3474,
            format_rate=0.5526,
            hallucination_rate=0.1734,
            seconds=9.18,
            split="test",
        ),
        "judge": row(seconds=17.45),
        "grpo": row(
            greedy_accuracy=0.8927,
            sampled_accuracy=0.8651,
            format_rate=0.9958,
            hallucination_rate=0.0938,
            effective_ratio_first=0.7219,
            effective_ratio_last=0.2628,
            seconds=3600.0,
            split="test",
        ),
        "evaluate": row(greedy_accuracy=0.8927, sampled_accuracy=0.8651, seconds=12.38, split="test"),
    },
    "details": {
        "judge": {
            "held_out_pair_accuracy": 0.8432,
            "pairs": 1113,
            "held_out_pairs": 287,
            "longer_is_better_accuracy": 0.6794,
        },
        "evaluate": {
            "test": {
                "align": {"greedy": measured(0.6718), "sampled": measured(0.3474), "grey_picture": measured(0.1208)},
                "grpo": {"greedy": measured(0.8927), "sampled": measured(0.8651), "grey_picture": measured(0.1489)},
            }
        },
    },
    "seconds": 3738.27,
    "versions": {"vergence": "0.1.0", "torch": "2.13.0"},
    "commit": "0123456789abcdef0123+changes",
    "machine": {"processor": "x86_64", "python": "3.11.7"},
}

AGREED = {
    "agreement/concordance": 0.625,
    "agreement/concordance_of_max": 0.75,
    "agreement/concordance_of_sum": 0.5,
    "agreement/chance_right": 0.375,
    "agreement/last_right": 0.25,
    "agreement/correlation": 0.3,
}
"""What a step with mixed groups logs beside their number."""

METRICS = [
    *({"stage": "parents/vision", "step": step, "wall_seconds": 1.0, "loss": 2.0 - step / 10} for step in range(6)),
    *({"stage": "parents/language", "step": step, "wall_seconds": 1.0, "loss": 3.0 - step / 10} for step in range(9)),
    *({"stage": "align", "step": step, "wall_seconds": 1.0, "loss": 1.0 / (step + 1)} for step in range(SMOOTHED_FROM)),
    *(
        {
            "stage": "grpo",
            "step": step,
            "wall_seconds": 1.0,
            # null is what the journal makes of a number that is not finite
            "loss": None if step == 1 else 0.1 * step,
            "reward/accuracy": 0.5 + 0.1 * step,
            "reward/format": 1.0,
            "reward/preference": -0.25,
            "reward/total": 1.25,
            "reward/preference_when_right": 1.0,
            "reward/preference_when_wrong": 0.5,
            "reward/rule_preference_correlation": 0.4,
            "reward/preference_share": 0.125,
            "agreement/mixed_groups": [10.0, 0.0, 20.0, 30.0][step],
        }
        | ({} if step == 1 else AGREED | {"agreement/favourite_right": [0.5, 0.0, 0.75, 0.8][step]})
        | {
            "effective/fresh": [0.75, 0.5, 0.5, 0.25][step],
            "effective/batch": [0.75, 1.0, 1.0, 1.0][step],
            "effective/all_right": [0.125, 0.25, 0.375, 0.625][step],
            "effective/all_wrong": 0.125,
            "buffer/replay_share": [0.0, 0.5, 0.5, 0.75][step],
            "buffer/age_mean": [0.0, 1.0, 1.5, 3.5][step],
            "buffer/age_max": [0.0, 1.0, 2.0, 3.0][step],
            "buffer/size": 64.0,
            "buffer/weight_mean": 0.99,
            "buffer/effective_sample_size": [1.0, 0.98, 0.96, 0.94][step],
        }
        | ({"tuning/greedy_accuracy": 0.7, "tuning/sampled_accuracy": 0.6} if step % 2 else {})
        for step in range(STEPS)
    ),
]


def completion(text: str, **more: Any) -> dict[str, Any]:
    return {
        "text": text,
        "finish": "stop",
        "tokens": 9,
        "policy_version": 0,
        "reward": 1.5,
        "components": {"accuracy": 1.0, "format": 1.0, "preference": 0.75},
        "advantage": 0.58,
    } | more


def group(step: int, path: Path, completions: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    content = path.read_bytes() if path.is_file() else b""
    return {
        "stage": "grpo",
        "step": step,
        "problem": f"train-{step}",
        "question": "sum of <all> digits?",
        "answer": "15",
        "category": "sum",
        "images": [{"path": str(path), "sha256": hashlib.sha256(content).hexdigest()}],
        "completions": completions,
    } | more


def rollouts(images: Path) -> list[dict[str, Any]]:
    there, missing = images / "there.png", images / "missing.png"
    good = "<think>5+6=11,11+4=15</think><answer>15</answer>"
    wrong = {"components": {"accuracy": 0.0, "format": 0.0, "preference": None}, "advantage": -1.73, "reward": 0.0}
    effective = [completion(good), completion(NASTY, **wrong), completion(good), completion("", finish="length")]
    dead = [completion(good, advantage=0.0), completion(good, advantage=0.0)]
    replayed = {key: value for key, value in completion(good).items() if key != "components"}
    return [
        group(0, there, effective, effective=True),
        group(1, there, [completion("of a step that is not shown")], effective=True),
        group(2, missing, dead, effective=False),
        group(2, there, [replayed], origin="replay", age=2),
        group(3, there, [completion(f"<think>{'long ' * 200}</think><answer>15</answer>")], effective=True),
    ]


def headings(page: Element) -> list[str]:
    return [heading.text for heading in page.all("h2")]


def charts_of(page: Element, section: str = "curves") -> dict[str, list[Element]]:
    """Title to the charts that have it, in the order of the stages."""
    found: dict[str, list[Element]] = {}
    for chart in page.one("section", id=section).all("figure"):
        found.setdefault(chart.one(class_="title").text, []).append(chart)
    return found


def lengths(chart: Element, kind: str = "line") -> list[int]:
    return [len((line.attributes["points"] or "").split()) for line in chart.all("polyline", class_=kind)]


def cards_of(page: Element) -> list[Element]:
    return page.one("section", id="rollouts").all("article")
