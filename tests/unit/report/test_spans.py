"""A stage cut into spans of steps."""

from vergence.report.markup import table
from vergence.report.spans import by_span, span_head, spans_of

from .pages import parsed, rows_of


def test_a_long_stage_is_cut_into_five_spans_that_hold_every_step() -> None:
    rows = [{"step": step} for step in range(13)]
    spans = spans_of(rows)
    assert [row for span in spans for row in span] == rows
    assert [len(span) for span in spans] == [3, 2, 3, 2, 3]


def test_a_short_stage_has_a_span_for_each_step() -> None:
    assert [len(span) for span in spans_of([{"step": 3}, {"step": 9}])] == [1, 1]


def test_a_row_has_the_mean_of_each_span_and_nothing_where_there_is_nothing() -> None:
    rows = [{"step": step, "reward/total": value} for step, value in enumerate([1.0, None, 2.0, 4.0, None, None])]
    spans = [rows[:2], rows[2:4], rows[4:], rows[:1]]
    found = rows_of(parsed(table(span_head("of", spans), [by_span("it", spans, "reward/total")])))
    assert found["of"] == ["0 \N{EN DASH} 1", "2 \N{EN DASH} 3", "4 \N{EN DASH} 5", "step 0"]
    assert found["it"] == ["1.00", "3.00", "", "1.00"]
