"""The section on reward models prints the figures of summary.json, and nothing where there are none."""

import json
from pathlib import Path
from typing import Any

from .pages import SUMMARY, Element, report, rows_of

DETAILS: dict[str, Any] = {
    "held_out_pair_accuracy": 0.8432,
    "held_out_pair_accuracy_by_source": {"reasoning": 0.6812, "rule": 0.95},
    "held_out_pairs": 287,
    "held_out_pairs_by_source": {"reasoning": 87, "rule": 200},
    "longer_is_better_accuracy": 0.6794,
    "margin_over_longer": 0.1638,
    "margin_over_chance": -0.0211,
    "intervals": {
        "pair_accuracy": [0.81, 0.873],
        "pair_accuracy_reasoning": [0.6, 0.76],
        "pair_accuracy_rule": [0.91, 0.98],
        "margin_over_longer": [0.12, 0.2],
        "margin_over_chance": [None, None],
    },
    "calibration_error": 0.0381,
    "temperature": 1.302,
    "reliability": [{"low": 0.5, "high": 0.6, "count": 46, "confidence": 0.544, "accuracy": 0.55}],
    "score_quantiles": {"0": -4.5, "50": 0.18, "100": 3.35},
    "image_swap": {
        "responses": 99,
        "drop": 0.587,
        "drop_interval": [0.358, 0.809],
        "lowered": 0.6464,
        "lowered_interval": [0.548, 0.734],
    },
    "pairs": 1113,
}


def page_with(run: Path, details: dict[str, Any]) -> Element:
    summary = json.loads(json.dumps(SUMMARY))
    summary["details"]["judge"] = details
    (run / "summary.json").write_text(json.dumps(summary))
    return report(run)


def test_every_share_stands_with_its_interval_and_its_number(run: Path) -> None:
    order, certain = map(rows_of, page_with(run, DETAILS).one("section", id="reward-model").all("table"))
    assert order["all"] == ["287", "84.3", "81.0 \N{EN DASH} 87.3"]
    assert order["reasoning"] == ["87", "68.1", "60.0 \N{EN DASH} 76.0"]
    assert order["if the longer one wins"] == ["287", "67.9", ""]
    assert order["margin over that"] == ["", "16.4", "12.0 \N{EN DASH} 20.0"]
    assert order["margin over chance"] == ["", "\N{MINUS SIGN}2.1", ""]
    assert order["wrong picture scores lower"] == ["99", "64.6", "54.8 \N{EN DASH} 73.4"]
    assert certain["50.0 \N{EN DASH} 60.0"] == ["46", "54.4", "55.0"]


def test_the_note_names_the_range_of_scores_and_the_fall(run: Path) -> None:
    text = page_with(run, DETAILS).one("section", id="reward-model").one("p").text
    assert "Raw scores from \N{MINUS SIGN}4.50 to 3.35" in text
    assert "by 0.587 on average, 95 % interval 0.358 to 0.809." in text


def test_a_reward_model_that_saw_no_pictures_has_no_row_for_wrong_ones(run: Path) -> None:
    blind = {key: value for key, value in DETAILS.items() if key != "image_swap"}
    section = page_with(run, blind).one("section", id="reward-model")
    assert "wrong picture scores lower" not in rows_of(section.all("table")[0])
    assert "wrong picture" not in section.one("p").text


def test_without_a_report_there_is_no_section(page: Element) -> None:
    assert [] == page.all("section", id="reward-model")
