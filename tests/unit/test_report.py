"""The report: one page, nothing fetched, everything escaped, figures as the stage table prints them."""

import base64
import hashlib
import io
import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from vergence.report.curves import AGREEMENT, CURVES
from vergence.report.markup import Html, tag
from vergence.report.numerals import duration, figure, percent, signed
from vergence.report.page import write_report
from vergence.report.pictures import LARGEST_FILE, picture
from vergence.report.response import pieces, show
from vergence.report.reward import formula, spans_of
from vergence.report.rollouts import counted, shown_steps
from vergence.report.svg import SMOOTHED_FROM, Chart, Series, draw, smoothed, ticks
from vergence.run.directory import Outcome, RunDirectory, StageRow

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


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A complete run with a real picture and a missing one."""
    path = tmp_path / "run"
    images = path / "data" / "images"
    images.mkdir(parents=True)
    (images / "there.png").write_bytes(png())
    (path / "recipe.toml").write_text(RECIPE)
    (path / "summary.json").write_text(json.dumps(SUMMARY))
    write_lines(path / "metrics.jsonl", METRICS)
    write_lines(path / "rollouts" / "grpo.jsonl", rollouts(images))
    return path


@pytest.fixture
def page(run: Path) -> Element:
    return report(run)


def headings(page: Element) -> list[str]:
    return [heading.text for heading in page.all("h2")]


# ── the page as a whole ──────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_fetched(page: Element) -> None:
    style = page.one("style").text
    assert "url(" not in style
    assert "@import" not in style
    assert not [one.name for one in page.all() if one.name in ("script", "link", "iframe", "object", "base", "form")]
    for element in page.all():
        for name, value in element.attributes.items():
            assert not name.startswith("on")
            assert "//" not in (value or "") or (value or "").startswith("data:image/")
            if name in ("src", "srcset", "href", "xlink:href", "action", "data"):
                assert (value or "").startswith(("data:image/", "#"))


def test_a_browser_is_told_to_fetch_nothing(page: Element) -> None:
    (policy,) = [meta for meta in page.all("meta") if "http-equiv" in meta.attributes]
    assert "default-src 'none'" in (policy.attributes["content"] or "")
    assert "script" not in (policy.attributes["content"] or "")


def test_the_contents_lead_to_sections_that_exist(page: Element) -> None:
    targets = {(link.attributes["href"] or "")[1:] for link in page.one("nav").all("a")}
    assert targets == {one.attributes["id"] for one in page.all("section")}
    assert {"stages", "curves", "buffer", "reward", "rollouts", "recipe"} == targets


def test_nothing_else_is_left_in_the_directory_and_the_old_page_is_replaced(run: Path) -> None:
    before = sorted(path.name for path in run.iterdir())
    (run / "report.html").write_text("old")
    report(run)
    assert sorted([*before, "report.html"]) == sorted(path.name for path in run.iterdir())
    assert "old" != (run / "report.html").read_text()


def test_the_same_run_gives_the_same_page(run: Path) -> None:
    report(run)
    first = (run / "report.html").read_bytes()
    report(run)
    assert first == (run / "report.html").read_bytes()


def test_the_head_says_which_run_it_is(page: Element) -> None:
    text = page.one("header").text
    for part in ("tiny", "seed 7", "0123456789ab+changes", "torch 2.13.0", "1 h 2 min", "complete"):
        assert part in text
    assert "not complete" not in text


def test_the_recipe_is_there_word_by_word_and_folded(page: Element) -> None:
    folded = page.one("section", id="recipe").one("details")
    assert "open" not in folded.attributes
    assert folded.one("pre").text == RECIPE


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_stage_table_has_the_numbers_of_the_summary(page: Element) -> None:
    rows = rows_of(page.one("table", class_="wide"))
    assert list(rows) == ["stage", *SUMMARY["stages"]]
    assert rows["grpo"] == [
        "89.3",
        "86.2 \N{EN DASH} 92.3",
        "86.5",
        "83.4 \N{EN DASH} 89.5",
        "14.9",
        "99.6",
        "9.4",
        "72.2",
        "26.3",
        "3600.0",
        "test",
    ]
    assert rows["parents"] == [""] * 9 + ["99.3", ""]
    assert len(rows["stage"]) == len(rows["grpo"])


def test_intervals_of_the_test_split_stand_beside_figures_of_the_test_split_only(run: Path) -> None:
    summary = json.loads(json.dumps(SUMMARY))
    summary["stages"]["align"]["split"] = "tuning"
    (run / "summary.json").write_text(json.dumps(summary))
    rows = rows_of(report(run).one("table", class_="wide"))
    assert rows["align"][:5] == ["67.2", "", "34.7", "", ""]
    assert rows["grpo"][1] != ""


def test_the_reward_model_stands_beside_its_length_baseline(page: Element) -> None:
    tables = [rows_of(table) for table in page.one("section", id="stages").all("table")]
    assert ["84.3", "67.9", "1113", "287"] in [rows.get("judge") for rows in tables]


def test_categories_have_a_row_for_each_stage_and_one_for_the_grey_picture(page: Element) -> None:
    tables = [rows_of(table) for table in page.one("section", id="stages").all("table")]
    (categories,) = [rows for rows in tables if "all" in rows.get("stage", [])]
    assert categories["stage"] == ["all", "max", "sum"]
    assert categories["align"] == ["67.2", "67.2", "33.6"]
    assert categories["grpo"] == ["89.3", "89.3", "44.6"]
    assert categories["grpo, grey picture"] == ["14.9", "14.9", "7.4"]


# ── curves ───────────────────────────────────────────────────────────────────────────────────────────────────────


def charts_of(page: Element, section: str = "curves") -> dict[str, list[Element]]:
    """Title to the charts that have it, in the order of the stages."""
    found: dict[str, list[Element]] = {}
    for chart in page.one("section", id=section).all("figure"):
        found.setdefault(chart.one(class_="title").text, []).append(chart)
    return found


def lengths(chart: Element, kind: str = "line") -> list[int]:
    return [len((line.attributes["points"] or "").split()) for line in chart.all("polyline", class_=kind)]


def test_a_line_has_as_many_points_as_the_metric_has_values(page: Element) -> None:
    charts = charts_of(page)
    parents, align, grpo = charts["loss"]
    assert lengths(parents) == [6, 9]
    assert lengths(align) == [SMOOTHED_FROM]
    assert lengths(align, "raw") == [SMOOTHED_FROM]
    assert lengths(grpo) == [STEPS - 1]  # a null is no point
    (tuning,) = charts["accuracy, tuning split %"]
    assert lengths(tuning) == [2, 2]
    (effective,) = charts["effective groups, and the batch after the buffer %"]
    assert lengths(effective) == [STEPS] * 4


def test_only_charts_with_data_are_drawn(page: Element) -> None:
    titles = charts_of(page)
    assert "entropy" not in titles
    assert not [title for title in titles if title.startswith("perception")]
    assert all(lengths(chart) for charts in titles.values() for chart in charts)


def test_labels_carry_the_value_at_which_the_line_ends(page: Element) -> None:
    (age,) = charts_of(page)["buffer: age of replayed samples"]
    assert ["mean 3.50", "oldest 3"] == [one.text for one in age.one(class_="legend").all("span")]


def test_no_metric_has_two_curves() -> None:
    metrics = [metric for curves in (*CURVES, *AGREEMENT) for metric in curves.lines]
    assert len(metrics) == len(set(metrics))
    assert max(len(curves.lines) for curves in (*CURVES, *AGREEMENT)) <= 4  # as many colours as style.css has


def chart(*values: float, **more: Any) -> Element:
    points = tuple((float(step), value) for step, value in enumerate(values))
    return parsed(draw(Chart(title="t", series=[Series("s", points)], steps=(0.0, len(values) - 1.0), **more)))


def coordinates(drawn: Element) -> list[tuple[float, float]]:
    line = drawn.one("polyline", class_="line").attributes["points"] or ""
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.split())]


def test_larger_values_are_higher_and_later_steps_further_right() -> None:
    (x0, y0), (x1, y1), (x2, y2) = coordinates(chart(1.0, 3.0, 2.0))
    assert x0 < x1 < x2
    assert y1 < y2 < y0


def test_a_value_stands_at_the_height_of_its_tick() -> None:
    drawn = chart(0.0, 0.6, 1.0, share=True, low=0.0, high=1.0)
    labels = drawn.all("text", text_anchor="end")
    heights = {one.text: float(one.attributes["y"] or "") for one in labels if one.text != "step"}
    assert [y for _, y in coordinates(drawn)] == pytest.approx([heights["0"], heights["60"], heights["100"]], abs=0.1)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=80))
def test_every_curve_stays_inside_its_picture(values: list[float]) -> None:
    drawn = chart(*values)
    places = coordinates(drawn)
    assert len(places) == len(values)
    _, _, width, height = map(float, (drawn.one("svg").attributes["viewbox"] or "").split())
    assert all(0 <= x <= width and 0 <= y <= height for x, y in places)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_enclose_the_values_evenly(low: float, width: float) -> None:
    found = ticks(low, low + width, 5)
    assert found[0] <= low + 1e-6 * width
    assert found[-1] >= low + width - 1e-6 * width
    assert 2 <= len(found) <= 8
    paces = [after - before for before, after in pairwise(found)]
    assert paces == pytest.approx([paces[0]] * len(paces), rel=1e-3)


def test_round_numbers_stand_at_the_ticks() -> None:
    assert ticks(0.0, 1.0, 5) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(-0.3, 0.9, 5) == [-0.5, 0.0, 0.5, 1.0]


def test_smoothing_keeps_steps_and_begins_at_the_first_value() -> None:
    points = tuple((float(step), float(step % 2)) for step in range(200))
    smooth = smoothed(points)
    assert [step for step, _ in smooth] == [step for step, _ in points]
    assert smooth[0] == points[0]
    assert all(abs(value - 0.5) < 0.1 for _, value in smooth[20:-20])
    assert smoothed(points[:10]) == points[:10]


# ── buffer and reward ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_story_of_the_buffer_is_told_in_the_metrics_numbers(page: Element) -> None:
    story = page.one("section", id="buffer").one("p", class_="prose").text.replace("\N{NO-BREAK SPACE}", " ")
    assert "75.0 % of the fresh prompt groups were effective in the first tenth" in story
    assert "25.0 % in the last (there, 62.5 % were answered right throughout and 12.5 % wrong" in story
    assert "75.0 % of its samples in the first tenth, 100.0 % in the last and 93.8 % on average" in story
    assert "43.8 % of the batch on average and 75.0 % in the last tenth" in story
    assert "2 policy versions old on average, and never more than 3." in story  # the step without replays has no age
    assert "effective sample size of 96.0 % (94.0 % at the least)" in story
    assert "held 64 samples at the end" in story


def test_replayed_samples_show_origin_and_age(page: Element) -> None:
    card = page.one("section", id="buffer").one("article")
    assert card.one(class_="replay").text == "replay at step 2, age 2"
    assert card.all("td")[-1].text == "+0.58"


def test_a_buffer_that_is_off_is_said_to_be_off(run: Path) -> None:
    off = [
        line | {"buffer/size": 0.0, "buffer/replay_share": 0.0} if "buffer/size" in line else line for line in METRICS
    ]
    write_lines(run / "metrics.jsonl", off)
    story = report(run).one("section", id="buffer").one("p", class_="prose").text
    assert "The buffer was off" in story
    assert "eplayed samples" not in story


def test_the_reward_is_broken_down_over_time(page: Element) -> None:
    section = page.one("section", id="reward")
    rows = rows_of(section.one("table"))
    assert rows["accuracy"] == ["0.50", "0.60", "0.70", "0.80"]
    assert rows["preference"] == ["\N{MINUS SIGN}0.25"] * 4
    assert rows["preference, answer right"] == ["1.00"] * 4
    assert rows["preference, answer wrong"] == ["0.50"] * 4
    assert rows["correlation with accuracy"] == ["0.40"] * 4
    assert "1 accuracy + 0.5 format + 0.25 sigmoid(preference), the last term for correct answers only" in section.text


def test_a_long_stage_is_cut_into_five_spans_that_hold_every_step() -> None:
    rows = [{"step": step} for step in range(13)]
    spans = spans_of(rows)
    assert [row for span in spans for row in span] == rows
    assert [len(span) for span in spans] == [3, 2, 3, 2, 3]


def test_every_preset_has_its_formula() -> None:
    weights = {"accuracy": 1.0, "format": 0.5, "preference": 0.2, "bound": "none", "gate": "none"}
    texts = {preset: formula(weights | {"preset": preset}) for preset in ("paper", "r1v3", "rules", "calibrated")}
    assert len(set(texts.values())) == 4
    assert texts["calibrated"].startswith("Reward = 1 accuracy + 0.5 format + 0.2 preference.")
    assert formula({}) == ""


# ── rollouts ─────────────────────────────────────────────────────────────────────────────────────────────────────


def cards_of(page: Element) -> list[Element]:
    return page.one("section", id="rollouts").all("article")


def test_groups_of_the_first_the_middle_and_the_last_step_are_shown(page: Element) -> None:
    assert ["train-0", "train-2", "train-3"] == [card.one(class_="identity").text for card in cards_of(page)]
    assert shown_steps([{"step": step} for step in (9, 3, 3, 0, 6, 12)]) == [0, 6, 12]
    assert shown_steps([{"step": 4}]) == [4]
    assert shown_steps([]) == []


def test_a_response_may_contain_anything(page: Element) -> None:
    card = cards_of(page)[0]
    assert NASTY in [response.text for response in card.all("div", class_="response")]
    assert card.one(class_="question").text == "sum of <all> digits?"


def test_equal_completions_are_counted(page: Element) -> None:
    first = cards_of(page)[0]
    assert ["2\N{MULTIPLICATION SIGN}", "", ""] == [cell.text for cell in first.all("td", class_="times")]
    different = [completion("a"), completion("a", advantage=-1.0), completion("a", finish="length"), completion("b")]
    assert [1, 1, 1, 1] == [one.count for one in counted(different)]


def test_reward_components_and_advantage_stand_on_the_line(page: Element) -> None:
    first = cards_of(page)[0]
    assert [cell.text for cell in first.all("th")] == [
        "",
        "completion",
        "reward",
        "accuracy",
        "format",
        "preference",
        "advantage",
    ]
    good, bad, cut = [[cell.text for cell in line.all("td")] for line in first.one("tbody").all("tr")]
    assert good[2:] == ["1.50", "1", "1", "0.75", "+0.58"]
    assert bad[2:] == ["0.00", "0", "0", "", "\N{MINUS SIGN}1.73"]
    assert "cut off" in cut[1]
    assert first.one("td", class_="negative").text == "\N{MINUS SIGN}1.73"
    assert {"+0.58"} == {cell.text for cell in first.all("td", class_="positive")}


def test_thought_and_answer_are_set_apart_and_the_answer_is_marked(page: Element) -> None:
    response = cards_of(page)[0].all("div", class_="response")[0]
    assert response.one(class_="thought").text == "5+6=11,11+4=15"
    assert response.one(class_="answer right").text == "15"
    assert parsed(show("<answer>4</answer>", False)).one(class_="answer wrong").text == "4"
    assert not parsed(show("<answer>4</answer>", None)).all(class_="wrong")


def test_groups_are_marked_effective_or_dead(page: Element) -> None:
    assert [
        card.one(
            class_="mark",
        ).text
        for card in cards_of(page)[1:]
    ] == ["dead: all right", "effective"]
    assert cards_of(page)[0].one(class_="mark effective").text == "effective"


def test_long_thoughts_are_folded_and_whole(page: Element) -> None:
    folded = cards_of(page)[2].one("details", class_="thought")
    assert folded.text == "long " * 200
    assert len(folded.one("summary").text) < len(folded.text) / 2


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "a", "<b>", "&amp;", "\n"]), max_size=12)
)
def test_no_character_of_a_response_is_lost(parts: list[str]) -> None:
    text = "".join(parts)
    assert "".join(piece.text for piece in pieces(text)) == text
    shown = parsed(show(text, None)).text
    if "<answer>" not in text and text:
        assert shown == text  # the form is wrong, so that even the tags are shown


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────────


def embedded(element: Element) -> bytes:
    kind, _, content = (element.attributes["src"] or "").partition(";base64,")
    assert kind.startswith("data:image/")
    return base64.b64decode(content)


def test_a_small_picture_is_embedded_as_it_is_and_enlarged_in_whole_pixels(page: Element) -> None:
    image = cards_of(page)[0].one("img")
    assert embedded(image) == png()
    assert "pixelated" in (image.attributes["class"] or "")
    assert int(image.attributes["width"] or 0) % 8 == 0
    assert int(image.attributes["width"] or 0) > 8
    assert "image-rendering: pixelated" in page.one("style").text


def test_a_missing_picture_is_said_to_be_missing(page: Element) -> None:
    card = cards_of(page)[1]
    assert card.all("img") == []
    assert card.one(class_="missing").text == "picture is missing"


def test_a_picture_is_found_where_the_run_has_moved_to(run: Path, tmp_path: Path) -> None:
    moved = run.rename(tmp_path / "elsewhere")
    assert len(report(moved).one("section", id="rollouts").all("img")) == 2


def test_a_picture_that_is_no_longer_the_one_the_model_saw_is_not_shown(run: Path) -> None:
    (run / "data" / "images" / "there.png").write_bytes(png(9))
    assert "picture has changed" in cards_of(report(run))[0].one(class_="missing").text


def test_a_broken_picture_is_said_to_be_unreadable(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(png()[:40])
    assert "cannot be read" in picture({"path": "broken.png"}, tmp_path)


def test_a_large_picture_is_scaled_down(tmp_path: Path) -> None:
    noise = Image.effect_noise((800, 400), 100.0)
    noise.save(tmp_path / "large.png")
    assert (tmp_path / "large.png").stat().st_size > LARGEST_FILE
    image = parsed(picture({"path": "large.png"}, tmp_path)).one("img")
    assert len(embedded(image)) < LARGEST_FILE
    assert int(image.attributes["width"] or 0) == 2 * int(image.attributes["height"] or 0)
    assert "class" not in image.attributes


# ── runs that are not finished ───────────────────────────────────────────────────────────────────────────────────


def test_a_run_that_has_only_begun(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    page = report(tmp_path)
    assert headings(page) == ["Stages", "Recipe"]
    assert "not complete: 0 of 5 stages done; next is parents" in page.one("header").text


def test_a_run_in_the_middle_of_a_stage(run: Path) -> None:
    (run / "summary.json").unlink()
    (run / "rollouts" / "grpo.jsonl").unlink()
    directory = RunDirectory(run)
    for label, figures in (
        ("parents", StageRow(seconds=9.0)),
        ("align", StageRow(seconds=1.5, greedy_accuracy=0.6875)),
    ):
        directory.stage_folder(label).mkdir(parents=True)
        directory.finish(label, Outcome({}, figures, {}))
    lines = [line for line in METRICS if line["stage"] != "grpo"] + [
        {"stage": "judge", "step": step, "loss": 0.5} for step in range(3)
    ]
    write_lines(run / "metrics.jsonl", lines, torn='{"stage": "judge", "st')
    page = report(run)
    assert "2 of 5 stages done; next is judge, 3 steps logged" in page.one("header").text
    assert headings(page) == ["Stages", "Curves", "Recipe"]
    rows = rows_of(page.one("table", class_="wide"))
    assert rows["align"][0] == "68.8"
    assert list(rows) == ["stage", "parents", "align"]
    assert lengths(charts_of(page)["loss"][2]) == [3]


def test_a_stage_that_finished_after_the_summary_was_written_is_in_the_table(run: Path) -> None:
    earlier = json.loads(json.dumps(SUMMARY)) | {"complete": False, "details": {}}
    earlier["stages"] = {"parents": earlier["stages"]["parents"]}
    (run / "summary.json").write_text(json.dumps(earlier))
    directory = RunDirectory(run)
    directory.stage_folder("align").mkdir(parents=True)
    directory.finish("align", Outcome({}, StageRow(seconds=1.5, greedy_accuracy=0.6875, split="tuning"), {}))
    assert list(rows_of(report(run).one("table", class_="wide"))) == ["stage", "parents", "align"]


# ── markup and numerals ──────────────────────────────────────────────────────────────────────────────────────────


@example(NASTY)
@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\0"), max_size=60))
def test_text_and_attributes_come_back_as_they_went_in(text: str) -> None:
    element = parsed(tag("p", text, title=text)).one("p")
    assert element.text == text
    assert element.attributes["title"] == text


def test_only_html_is_left_as_it_is() -> None:
    assert tag("p", "<b>", tag("i", "x")) == "<p>&lt;b&gt;<i>x</i></p>"
    assert tag("p", str(Html("<b>") + "")) == "<p>&lt;b&gt;</p>"


def test_a_surrogate_in_a_response_does_not_stop_the_report(run: Path) -> None:
    write_lines(run / "rollouts" / "grpo.jsonl", [group(0, run / "no.png", [completion("\ud800")], effective=True)])
    assert len(cards_of(report(run))) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.5, "1,234"),
        (0.021826, "0.0218"),
        (0.9999, "1.00"),
        (18.0, "18"),
        (-0.5, "\N{MINUS SIGN}0.500"),
        (1e-5, "1.0e\N{MINUS SIGN}05"),
        (0.0, "0"),
    ],
)
def test_figures(value: float, text: str) -> None:
    assert figure(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(9.18, "9.2 s"), (258.3, "4 min 18 s"), (3738.0, "1 h 2 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_shares_and_signs() -> None:
    assert percent(0.7292) == "72.9"
    assert percent(None) == ""
    assert [signed(value) for value in (0.5, -0.5, 0.0, None)] == ["+0.50", "\N{MINUS SIGN}0.50", "0.00", ""]
