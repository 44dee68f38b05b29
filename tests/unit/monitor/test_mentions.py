"""The exact hallucination rate: counts by hand, and counts that add up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.monitor.mentions import NOTHING, MentionCount, count_groups, count_mentions, mention_metrics

from ..builders import group, problem

ANIMALS = problem(objects=frozenset({"cat", "dog"}), mentions=r"cat|dog|cow|horse")
UNKNOWN = problem(objects=frozenset(), mentions="")
counts = st.builds(MentionCount, *[st.integers(0, 50)] * 4)


@pytest.mark.parametrize(
    ("text", "mentions", "false"),
    [
        ("a cat and a dog", 2, 0),
        ("a cat, a cow and a horse", 3, 2),
        ("a cow, and again the cow", 2, 2),  # every mention counts
        ("nothing to be seen", 0, 0),
        ("", 0, 0),
        ("concatenate", 1, 0),  # the expression decides what a mention is
    ],
)
def test_counts_of_one_response_by_hand(text: str, mentions: int, false: int) -> None:
    assert MentionCount(1, int(false > 0), mentions, false) == count_mentions(ANIMALS, text)


def test_where_the_truth_is_unknown_not_even_the_response_counts() -> None:
    assert NOTHING == count_mentions(UNKNOWN, "a unicorn")


def test_where_nothing_is_visible_every_mention_is_false() -> None:
    assert MentionCount(1, 1, 1, 1) == count_mentions(problem(objects=frozenset(), mentions="cat"), "a cat")


def test_rates_by_hand() -> None:
    """Three responses, one with 2 false mentions of 3, the others with 2 and 1 true ones: 1/3 and 2/6."""
    groups = [
        group(["a cat, a cow, a horse", "a cat and a dog"], objects=ANIMALS.objects, mentions=ANIMALS.mentions),
        group(["the dog"], objects=ANIMALS.objects, mentions=ANIMALS.mentions),
        group(["a unicorn", "a dragon"], objects=frozenset(), mentions=""),
    ]
    total = count_groups(groups)
    assert MentionCount(3, 1, 6, 2) == total
    assert pytest.approx(1 / 3) == total.response_rate
    assert pytest.approx(1 / 3) == total.mention_rate
    assert pytest.approx(
        {"hallucination/response_rate": 1 / 3, "hallucination/mention_rate": 1 / 3}
    ) == mention_metrics(total)


def test_the_two_rates_are_different_things() -> None:
    count = MentionCount(responses=4, hallucinating_responses=1, mentions=10, hallucinated_mentions=5)
    assert (0.25, 0.5) == (count.response_rate, count.mention_rate)
    assert {"hallucination/response_rate": 0.25, "hallucination/mention_rate": 0.5} == mention_metrics(count)


@given(counts, counts, counts)
def test_counts_add_up_in_any_order(a: MentionCount, b: MentionCount, c: MentionCount) -> None:
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a == a + NOTHING
    assert a.responses + b.responses == (a + b).responses
    assert a.hallucinated_mentions + b.hallucinated_mentions == (a + b).hallucinated_mentions


def test_nothing_counted_is_no_metric_and_no_division_by_zero() -> None:
    assert {} == mention_metrics(NOTHING)
    assert (0.0, 0.0) == (NOTHING.response_rate, NOTHING.mention_rate)
    assert 0.0 == count_mentions(ANIMALS, "").mention_rate
