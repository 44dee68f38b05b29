"""Sampled groups: completions with what they earned."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from vergence.report.response import pieces, show
from vergence.report.rollouts import counted, shown_steps

from .pages import NASTY, Element, cards_of, completion, group, parsed, report, write_lines


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


def test_a_surrogate_in_a_response_does_not_stop_the_report(run: Path) -> None:
    write_lines(run / "rollouts" / "grpo.jsonl", [group(0, run / "no.png", [completion("\ud800")], effective=True)])
    assert len(cards_of(report(run))) == 1
