"""Rule rewards on single completions."""

import pytest

from vergence.reward.form import TAGS
from vergence.reward.rules import AsWritten, accuracy, format_reward, grades_of, overlong, rule_values
from vergence.types import Finish

from ..builders import BARE, NOTHING, RIGHT, WRONG, completion, group, problem, prompt


@pytest.mark.parametrize(
    ("text", "reward"),
    [
        (RIGHT, 1.0),
        (BARE, 1.0),  # form and thought do not matter
        ("<answer> 15 </answer>", 1.0),
        ("<answer>15</answer><answer>16</answer>", 1.0),
        (WRONG, 0.0),
        (NOTHING, 0.0),  # the right number outside the tags is no answer
        ("<answer>16</answer><answer>15</answer>", 0.0),  # hedging does not pay
        ("<answer>015</answer>", 0.0),
        ("<answer>1</answer>", 0.0),
        ("<answer>15.</answer>", 0.0),
        ("<answer></answer>", 0.0),
    ],
)
def test_accuracy_wants_exactly_the_right_answer_first(text: str, reward: float) -> None:
    assert [reward] == accuracy(AsWritten().grade([(problem(), text)])).tolist()


def test_spaces_around_the_reference_do_not_matter() -> None:
    assert [1.0] == accuracy(AsWritten().grade([(problem(answer=" 15\n"), RIGHT)])).tolist()


@pytest.mark.parametrize(
    ("text", "finish", "reward"),
    [
        (RIGHT, Finish.STOP, 1.0),
        (WRONG, Finish.STOP, 1.0),  # form is not truth
        (RIGHT, Finish.LENGTH, 0.0),  # it would have gone on
        (BARE, Finish.STOP, 0.0),
        (NOTHING, Finish.STOP, 0.0),
    ],
)
def test_format_wants_the_form_and_an_end(text: str, finish: Finish, reward: float) -> None:
    assert reward == format_reward(TAGS)(prompt(), completion(text, finish=finish))


def test_grades_come_back_group_by_group_in_order() -> None:
    groups = [group([RIGHT, BARE, WRONG, NOTHING]), group([WRONG]), group([NOTHING, RIGHT])]
    rows = grades_of(groups, AsWritten())
    assert [[1.0, 1.0, 0.0, 0.0], [0.0], [0.0, 1.0]] == [accuracy(row).tolist() for row in rows]
    assert ["15", "15", "16", None] == [one.extracted for one in rows[0]]


def test_the_overlong_rule_counts_tokens() -> None:
    """Limit 10, margin 5: 0.2 less with each token above 5."""
    members = group([completion(RIGHT, logprobs=[-1.0] * count) for count in (1, 5, 6, 9, 10, 14)])
    assert pytest.approx([0.0, 0.0, -0.2, -0.8, -1.0, -1.0]) == rule_values(overlong(10, 5), members).tolist()
