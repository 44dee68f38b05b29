"""Do rules and reward model agree: figures by span, the story, and the strongest disagreements."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from vergence.report.agreement import EXAMPLES, disagreements, rises

from .pages import METRICS, STEPS, Element, charts_of, completion, group, lengths, png, report, rows_of, write_lines


def section(page: Element) -> Element:
    return page.one("section", id="agreement")


def test_figures_stand_by_span_and_category(page: Element) -> None:
    """Step 1 has no mixed group and no figure; 5 of 10 favourites are wrong, then 5 of 20, then 6 of 30."""
    spans, categories = (rows_of(table) for table in section(page).all("table")[:2])
    assert spans["right answer above the wrong one"] == ["0.62", "", "0.62", "0.62"]
    assert spans["favourite of a group is right"] == ["0.50", "", "0.75", "0.80"]
    assert spans["mean score, answer wrong"] == ["0.50"] * 4
    assert spans["favourite wrong, of mixed groups"] == ["5 of 10", "0 of 0", "5 of 20", "6 of 30"]
    assert "correlation with length, right answers" not in spans
    assert list(categories) == ["right above wrong, by category", "max", "sum"]
    assert categories["max"] == ["0.75", "", "0.75", "0.75"]


def test_the_story_is_told_in_the_metrics_numbers(page: Element) -> None:
    story = section(page).one("p", class_="prose").text.replace("\N{NO-BREAK SPACE}", " ")
    assert "in 62.5 % of the cases in the first tenth of the steps and in 62.5 % in the last" in story
    assert "its favourite was right in 68.3 % of the mixed groups, where a random choice is in 37.5 %" in story
    assert "it was wrong in 16 of 60." in story
    assert "the mean score of wrong answers went from 0.500 to 0.500, and accuracy from 50.0 % to 80.0 %." in story
    assert "gamed" not in story


def with_grpo(run: Path, figures: list[dict[str, float]]) -> Element:
    rows = [{"stage": "grpo", "step": step, "agreement/concordance": 0.6} | one for step, one in enumerate(figures)]
    for row in rows:
        row |= {"agreement/mixed_groups": 1.0, "agreement/favourite_right": 1.0, "agreement/chance_right": 0.5}
    write_lines(run / "metrics.jsonl", rows)
    return section(report(run))


@pytest.mark.parametrize(("accuracy", "gamed"), [(0.01, False), (0.0, True), (-0.01, True)])
def test_wrong_answers_that_gain_while_accuracy_does_not_are_pointed_out(
    run: Path, accuracy: float, gamed: bool
) -> None:
    figures = [
        {"reward/preference_when_wrong": 0.1 * step, "reward/accuracy": 0.5 + accuracy * step} for step in range(20)
    ]
    assert gamed is ("is being gamed" in with_grpo(run, figures).text)


def test_noise_is_no_rise() -> None:
    """In 400 series of noise a rise is seen about as often as a normal variable exceeds two: one in forty."""
    rng = random.Random(0)
    seen = sum(rises([rng.gauss(0, 1) for _ in range(40)]) for _ in range(400))
    assert 1 <= seen <= 24
    assert rises([0.1 * step + rng.gauss(0, 0.5) for step in range(40)])
    assert not rises([-0.1 * step + rng.gauss(0, 0.5) for step in range(40)])
    assert not rises([1.0, 2.0])
    assert not rises([1.0, 1.0, 1.0])


def test_charts_over_time(page: Element) -> None:
    charts = charts_of(page, "agreement")
    (mixed,) = charts["mixed groups: right answers first %"]
    assert lengths(mixed) == [STEPS - 1] * 3
    (scores,) = charts["mean preference score"]
    assert lengths(scores) == [STEPS] * 2
    (correlations,) = charts["correlations of the preference score"]
    assert lengths(correlations) == [STEPS - 1, STEPS]


def test_a_run_without_a_preference_model_has_no_such_section(run: Path) -> None:
    kept = ("stage", "step", "wall_seconds", "reward/accuracy", "reward/total")
    write_lines(run / "metrics.jsonl", [{key: line[key] for key in kept if key in line} for line in METRICS])
    page = report(run)
    assert not page.all("section", id="agreement")
    assert "agreement" not in [link.text for link in page.one("nav").all("a")]


def test_a_run_from_before_groups_were_compared_shows_what_it_has(run: Path) -> None:
    write_lines(
        run / "metrics.jsonl",
        [{key: value for key, value in line.items() if not key.startswith("agreement/")} for line in METRICS],
    )
    found = section(report(run))
    assert "no step logged a group with right and wrong answers" in found.text
    assert rows_of(found.one("table"))["mean score, answer right"] == ["1.00"] * 4


# ── disagreements ────────────────────────────────────────────────────────────────────────────────────────────────


def answer(right: int, score: float | None, text: str = "") -> dict[str, Any]:
    return completion(text or f"{right} {score}", components={"accuracy": float(right), "preference": score})


def kept(step: int, *answers: dict[str, Any], problem: str = "") -> dict[str, Any]:
    row = group(step, Path("no.png"), list(answers), effective=True)
    return row | ({"problem": problem} if problem else {})


def test_the_pair_with_the_largest_difference_of_a_group_is_found() -> None:
    """Among all pairs of a wrong and a right answer."""
    rng = random.Random(1)
    answers = [answer(rng.randrange(2), round(rng.gauss(0, 1), 3)) for _ in range(12)]
    pairs = [
        (wrong["components"]["preference"] - right["components"]["preference"], wrong, right)
        for wrong in answers
        for right in answers
        if not wrong["components"]["accuracy"] and right["components"]["accuracy"]
    ]
    _, wrong, right = max(pairs, key=lambda pair: pair[0])
    (found,) = disagreements([kept(3, *answers)])
    assert found["completions"] == [wrong, right]
    assert found["problem"] == "train-3, step 3"
    assert "effective" not in found


def test_only_a_wrong_answer_above_a_right_one_is_a_disagreement() -> None:
    agreeing = kept(0, answer(1, 2.0), answer(0, 1.0))
    level = kept(1, answer(1, 1.0), answer(0, 1.0))
    alike = kept(2, answer(1, 1.0), answer(1, 2.0))
    unknown = kept(3, answer(1, None), answer(0, 9.0))
    replayed = kept(4, {"text": "", "finish": "stop", "reward": 1.0, "advantage": 0.5})
    assert disagreements([agreeing, level, alike, unknown, replayed]) == []


def test_the_strongest_come_first_and_each_problem_once() -> None:
    gaps = {"a": 1.0, "b": 3.0, "c": 2.0, "d": 0.5, "e": 4.0, "f": 0.25}
    rows = [kept(step, answer(1, 0.0), answer(0, gap), problem=name) for step, (name, gap) in enumerate(gaps.items())]
    rows.append(kept(9, answer(1, 0.0), answer(0, 2.5), problem="a"))
    assert len(gaps) > EXAMPLES
    assert ["e, step 4", "b, step 1", "a, step 9", "c, step 2"] == [row["problem"] for row in disagreements(rows)]


def test_a_disagreement_is_shown_with_its_picture(run: Path) -> None:
    picture = run / "data" / "images" / "other.png"
    picture.write_bytes(png(9))
    high, low = answer(0, 1.5, "<think>x</think><answer>9</answer>"), answer(1, -0.5, "<answer>15</answer>")
    write_lines(run / "rollouts" / "grpo.jsonl", [group(2, picture, [low, answer(0, 0.0), high], effective=True)])
    card = section(report(run)).one("article")
    assert len(card.all("img")) == 1
    lines = [[cell.text for cell in line.all("td")] for line in card.one("tbody").all("tr")]
    assert [line[-2] for line in lines] == ["1.50", "\N{MINUS SIGN}0.50"]
    assert card.one(class_="identity").text == "train-2, step 2"
    assert json.dumps(lines).count("cut off") == 0
