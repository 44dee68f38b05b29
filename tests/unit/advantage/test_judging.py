"""What counts as effective, and which samples can teach."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.advantage.judging import (
    Effectiveness,
    advantage_metrics,
    effective_samples,
    judge,
    without_truncated,
    zero_advantage_samples,
)
from vergence.advantage.scaling import (
    Advantage,
    batch_scaled,
    decoupled_components,
    group_centred,
    group_normalised,
)
from vergence.errors import NonFiniteError
from vergence.types import Finish

from ..builders import completion, judged, scored
from .test_scaling import equation_6


@pytest.mark.parametrize(
    ("rules", "effective"),
    [
        ([1.0, 0.0], True),
        ([1.0, 1.0, 1.0], False),
        ([0.0, 0.0], False),
        ([0.1 + 0.2, 0.3], False),  # the same number after rounding, and not the same float
        ([1.0, 1.0 + 5e-7], False),
        ([1.0, 1.0 + 2e-6], True),
        ([1.5, 1.5, 1.0], True),
    ],
)
def test_effective_means_that_rules_differ_by_more_than_rounding(rules: list[float], effective: bool) -> None:
    assert effective == Effectiveness().holds(scored(rules))


@pytest.mark.parametrize(
    ("component", "tolerance", "effective"),
    [
        ("rules", 1e-6, False),  # 1, 1
        ("total", 1e-6, True),  # 1.3, 1
        ("preference", 1e-6, True),  # 0.3, 0
        ("preference", 0.5, False),
        ("accuracy", 1e-6, True),  # 1, 0
    ],
)
def test_effective_is_judged_on_the_named_component(component: str, tolerance: float, effective: bool) -> None:
    group = scored([1.0, 1.0], [1.3, 1.0], components={"accuracy": [1.0, 0.0], "preference": [0.3, 0.0]})
    assert effective == Effectiveness(component, tolerance).holds(group)


def test_what_has_no_advantage_is_the_rest_without_what_could_not_be_judged() -> None:
    """Advantages 0.5, 0, -0.5 in a group; a dead one of two; one of which only the second could be judged."""
    groups = judge(
        [
            scored([1.0, 0.5, 0.0], texts=["a", "b", "c"]),
            scored([1.0, 1.0], texts=["d", "e"]),
            scored([1.0, 0.0], texts=["f", "g"], failed=[0]),
        ],
        group_centred,
    )
    assert ["a", "c"] == [one.completion.text for one in effective_samples(groups)]
    rest = zero_advantage_samples(groups)
    assert [("b", 0.0, 0.5), ("d", 0.0, 1.0), ("e", 0.0, 1.0), ("g", 0.0, 0.0)] == [
        (one.completion.text, one.advantage, one.reward) for one in rest
    ]


@pytest.mark.parametrize("advantage", [group_normalised, group_centred, batch_scaled])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_reward_that_overflows_its_spread_is_refused_by_name(advantage: Advantage, sign: float) -> None:
    """(1e160)^2 is beyond what a float64 holds: the spread is infinite, and every advantage was silently 0."""
    terms = {"accuracy": [1.0, 0.0], "brevity": [sign * 1e160, 0.0]}
    group = scored([1.0, 0.0], [sign * 1e160, 0.0], terms=terms, name="p7")
    with pytest.raises(NonFiniteError, match=r"problem p7: reward component brevity is 1e\+160 in size") as error:
        judge([scored([1.0, 0.0]), group], advantage)
    assert "\n" not in str(error.value)


def test_large_rewards_that_do_not_overflow_teach_as_small_ones_do() -> None:
    (large,), (small,) = (judge([scored([size, 0.0, 0.0])], group_normalised) for size in (1e29, 1e3))
    assert pytest.approx(small.advantages.tolist(), rel=1e-6) == large.advantages.tolist()


@pytest.mark.parametrize("advantage", [group_normalised, group_centred])
@pytest.mark.parametrize("rules", [[1.0] * 3, [0.0] * 3, [0.1 + 0.2, 0.3, 0.3]])
def test_a_group_that_rules_cannot_tell_apart_has_no_advantage_at_all(advantage: Advantage, rules: list[float]) -> None:
    """Not small: exactly zero, even though floats, or a preference model, would tell its members apart."""
    for rewards in (rules, [rules[0] + 0.2, rules[1] - 0.1, rules[2]]):
        (result,) = judge([scored(rules, rewards)], advantage)
        assert not result.effective
        assert [0.0, 0.0, 0.0] == result.advantages.tolist()


def test_advantages_of_an_effective_group_are_made_of_the_whole_reward() -> None:
    """Rules (1, 1, 0), whole reward (1.2, 1.0, 0.0): the preference ranks the two right ones."""
    (result,) = judge([scored([1.0, 1.0, 0.0], [1.2, 1.0, 0.0])], group_normalised)
    assert result.effective
    assert pytest.approx(equation_6([1.2, 1.0, 0.0])) == result.advantages.tolist()
    assert result.advantages[0] > result.advantages[1] > 0 > result.advantages[2]


def test_judging_keeps_groups_and_their_order() -> None:
    groups = [scored([1.0, 0.0]), scored([1.0, 1.0]), scored([0.0, 0.0, 1.0])]
    result = judge(groups, group_centred)
    assert all(one.scored is group for one, group in zip(result, groups, strict=True))
    assert [True, False, True] == [one.effective for one in result]


def test_effective_samples_are_those_with_an_advantage_in_order() -> None:
    texts = [completion("a"), completion("b"), completion("c")]
    dead, group = judge(
        [scored([1.0, 1.0]), scored([1.0, 0.5, 0.0], texts=texts)],  # the middle one is exactly at the mean
        group_centred,
    )
    samples = effective_samples([dead, group])
    assert ["a", "c"] == [sample.completion.text for sample in samples]
    assert [0.5, -0.5] == [sample.advantage for sample in samples]
    assert [1.0, 0.0] == [sample.reward for sample in samples]
    assert all(sample.prompt is group.scored.group.prompt for sample in samples)
    assert samples[0].completion is texts[0]


def test_the_overlong_filter_silences_what_was_cut_off_and_leaves_the_others_as_they_were() -> None:
    texts = [completion("a"), completion("b", finish=Finish.LENGTH), completion("c")]
    before = judge([scored([1.0, 0.0, 0.0], texts=texts), scored([1.0, 0.0])], group_normalised)
    after = without_truncated(before)
    first, second = equation_6([1.0, 0.0, 0.0]), equation_6([1.0, 0.0])
    assert [pytest.approx([first[0], 0.0, first[2]]), pytest.approx(second)] == [
        one.advantages.tolist() for one in after
    ]
    assert 0.0 == after[0].advantages[1]
    assert ["a", "c"] == [sample.completion.text for sample in effective_samples(after[:1])]
    assert after[0].scored is before[0].scored


def test_metrics_by_hand() -> None:
    """Of five groups two teach, two are all right, one is all wrong."""
    groups = [
        judged([1.0, -1.0], effective=True, accuracy=[1.0, 0.0]),
        judged([0.0, 0.0], effective=False, accuracy=[1.0, 1.0]),
        judged([0.0, 0.0], effective=False, accuracy=[0.0, 0.0]),
        judged([0.5, -0.5], effective=True, accuracy=[1.0, 0.0]),
        judged([0.0, 0.0], effective=False, accuracy=[1.0, 1.0]),
    ]
    expected = {"effective/fresh": 0.4, "effective/all_right": 0.4, "effective/all_wrong": 0.2}
    assert pytest.approx(expected) == advantage_metrics(groups)


def test_dead_groups_are_zeros_of_the_rewards_own_length() -> None:
    (result,) = judge([scored([0.0] * 4)], group_normalised)
    assert np.zeros(4).tolist() == result.advantages.tolist()


# ── what could not be judged ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("advantage", [group_normalised, group_centred, batch_scaled])
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 1.5]), st.booleans()), min_size=1, max_size=6),
        min_size=1,
        max_size=4,
    )
)
def test_a_failed_completion_is_as_if_it_had_not_been_sampled(advantage: Advantage, rows) -> None:
    """Against judging the groups without them, computed from lists that never held them."""
    groups = [
        scored([reward for reward, _ in row], failed=[i for i, (_, fails) in enumerate(row) if fails]) for row in rows
    ]
    kept = [[reward for reward, fails in row if not fails] for row in rows]
    others = iter(judge([scored(row) for row in kept if row], advantage) if any(kept) else [])
    for one, row, left in zip(judge(groups, advantage), rows, kept, strict=True):
        expected = next(others) if left else None
        values = iter(expected.advantages.tolist() if expected else [])
        assert [0.0 if fails else next(values) for _, fails in row] == one.advantages.tolist()
        assert one.effective == bool(expected and expected.effective)
        assert one.effective <= (len(left) > 1)
        assert all(sample.reward == sample.reward for sample in effective_samples([one])), "a number"


def test_a_failed_completion_teaches_nothing_and_is_in_no_sample() -> None:
    texts = [completion("a"), completion("b"), completion("c")]
    (group,) = judge([scored([1.0, 0.0, 0.5], texts=texts, failed=[1])], group_centred)
    assert [0.25, 0.0, -0.25] == group.advantages.tolist()
    assert ["a", "c"] == [sample.completion.text for sample in effective_samples([group])]
    assert 3 == len(group.scored.rewards), "the group itself stays whole"


def test_advantages_of_components_leave_it_out_too() -> None:
    """Two components of equal weight; the broken one would be the best of both."""
    terms = {"accuracy": [1.0, 0.0, 9.0], "format": [0.0, 0.5, 9.0]}
    broken = scored([1.0, 0.5, 18.0], terms=terms, failed=[2])
    whole = scored([1.0, 0.5], terms={name: values[:2] for name, values in terms.items()})
    advantage = decoupled_components(lambda: {"accuracy": 1.0, "format": 0.5})
    (ours,), (theirs,) = judge([broken], advantage), judge([whole], advantage)
    assert [*theirs.advantages.tolist(), 0.0] == ours.advantages.tolist()


def test_a_group_with_one_judged_completion_or_none_is_not_effective() -> None:
    one, none = judge([scored([1.0, 0.0], failed=[1]), scored([1.0, 0.0], failed=[0, 1])], group_normalised)
    for group in (one, none):
        assert not group.effective
        assert [0.0, 0.0] == group.advantages.tolist()
    expected = {"effective/fresh": 0.0, "effective/all_right": 0.5, "effective/all_wrong": 0.0}
    assert expected == advantage_metrics([one, none])  # the second is neither right nor wrong
