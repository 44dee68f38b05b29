"""Figures of graded answers, by hand; no model is needed for that."""

import pytest

from vergence.evaluation.measure import as_row, figures, prediction_rows
from vergence.monitor.mentions import MentionCount
from vergence.types import Finish

from ..builders import BARE, NOTHING, RIGHT, WRONG, completion, group


def test_figures_by_hand() -> None:
    """Three problems, two answers each: means 1, 0.5 and 0. RIGHT and WRONG name the 6 that is in the scene."""
    groups = [group([RIGHT, BARE]), group([RIGHT, WRONG]), group([NOTHING, WRONG], category="max")]
    found = figures(groups)
    assert (3, 2) == (found.num_problems, found.num_samples)
    assert pytest.approx(0.5) == found.accuracy.mean
    assert pytest.approx(2 / 3) == found.pass_at_k
    assert pytest.approx(4 / 6) == found.format_rate
    assert MentionCount(6, 0, 4, 0) == found.mentions
    assert pytest.approx({"max": 0.0, "sum": 0.75}) == found.categories


def test_a_row_has_no_hallucination_rate_where_no_truth_is_known() -> None:
    known, unknown = as_row(figures([group([RIGHT])])), as_row(figures([group([RIGHT], mentions="")]))
    assert (0.0, 0.0) == (known["hallucination_rate"], known["hallucinated_mention_rate"])
    assert (None, None) == (unknown["hallucination_rate"], unknown["hallucinated_mention_rate"])
    assert (1.0, 1.0) == (known["accuracy"], known["pass_at_k"])


def test_predictions_say_what_was_read_and_how_it_was_judged() -> None:
    cut = completion("<answer>15</answer>", finish=Finish.LENGTH)
    first, second = prediction_rows([group([WRONG, cut], name="x")])
    assert ("x", 0, "16", False, True, "stop") == tuple(
        first[key] for key in ("id", "sample", "extracted", "correct", "well_formed", "finish")
    )
    assert ("x", 1, "15", True, False, "length") == tuple(
        second[key] for key in ("id", "sample", "extracted", "correct", "well_formed", "finish")
    )
