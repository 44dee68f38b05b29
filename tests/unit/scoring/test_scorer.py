"""Distinct members are scored once, in an order that a resumed run repeats."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from vergence.errors import RunError
from vergence.model.reward_head import Calibration
from vergence.pairs.comparisons import Member
from vergence.scoring.members import keyed
from vergence.scoring.memory import Forgetful, ScoreMemory
from vergence.scoring.scorer import PreferenceScorer, RawScorer
from vergence.types import Doubles, Finish, ImageRef, RolloutGroup, Scorer

from ..builders import completion, group, prompt, through_a_file
from .fakes import Counting, InCompany, score


def by_hand(groups: Sequence[RolloutGroup]) -> list[list[float]]:
    return [[score((one.prompt, each)) for each in one.completions] for one in groups]


def group_of(*texts: str, **changes) -> RolloutGroup:
    """Completions whose tokens are their letters, so that unequal texts have unequal tokens."""
    found = group(list(texts), **changes)
    completions = [replace(one, token_ids=np.array([ord(letter) for letter in one.text])) for one in found.completions]
    return replace(found, completions=tuple(completions))


def test_the_fake_and_the_scorer_keep_their_protocols() -> None:
    assert isinstance(Counting(), RawScorer)
    assert isinstance(PreferenceScorer(Counting()), Scorer)


def test_equal_members_are_scored_once_and_each_gets_its_score() -> None:
    model = Counting()
    groups = [group_of("a", "b", "a"), group_of("b", "c"), group_of("b", question="other?")]
    found = PreferenceScorer(model).scores(groups)
    assert [["a", "b", "c", "b"]] == model.calls
    assert by_hand(groups) == [row.tolist() for row in found]


def test_scores_are_calibrated_and_can_be_had_raw() -> None:
    scorer = PreferenceScorer(Counting(), Calibration(2.0, 0.5))
    groups = [group_of("a", "b")]
    np.testing.assert_allclose((np.array(by_hand(groups)[0]) - 2.0) / 0.5, scorer.scores(groups)[0])
    np.testing.assert_array_equal(by_hand(groups)[0], scorer.uncalibrated().scores(groups)[0])
    np.testing.assert_array_equal(
        by_hand(groups)[0], scorer.raw([(groups[0].prompt, one) for one in groups[0].completions])
    )


def test_a_memory_answers_for_earlier_calls_and_is_shared_with_the_raw_scorer() -> None:
    model = Counting()
    scorer = PreferenceScorer(model, Calibration(1.0, 2.0), ScoreMemory(100))
    scorer.scores([group_of("a", "b")])
    found = scorer.uncalibrated().scores([group_of("b", "c")])
    assert [["a", "b"], ["c"]] == model.calls
    assert by_hand([group_of("b", "c")])[0] == found[0].tolist()
    scorer.scores([group_of("a", "c")])
    assert len(model.calls) == 2, "nothing is left to compute, so nobody is asked"


def test_without_a_memory_every_call_stands_for_itself() -> None:
    model = Counting()
    scorer = PreferenceScorer(model)
    scorer.scores([group_of("a")])
    scorer.scores([group_of("a")])
    assert [["a"], ["a"]] == model.calls


@pytest.mark.parametrize("capacity", [0, 3, 100])
def test_a_run_that_goes_on_from_a_checkpoint_has_the_same_scores_to_the_bit(capacity: int) -> None:
    """The scores of this model depend on the company in which they are computed, as those of a real one do."""

    def fresh() -> PreferenceScorer:
        return PreferenceScorer(InCompany(), memory=ScoreMemory(capacity) if capacity else Forgetful())

    steps = [[group_of("a", "b", "c")], [group_of("b", "d")], [group_of("a", "d", "e")], [group_of("c", "e", "f")]]
    whole = fresh()
    expected = [whole.scores(step)[0].tolist() for step in steps]
    for stop in range(len(steps)):
        first, second = fresh(), fresh()
        for step in steps[:stop]:
            first.scores(step)
        second.load_state_dict(through_a_file(first.state_dict()))
        assert expected[stop:] == [second.scores(step)[0].tolist() for step in steps[stop:]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_named_with_its_problem(bad: float) -> None:
    class Broken:
        def raw(self, members: Sequence[Member]) -> Doubles:
            return np.array([0.0, bad])

    with pytest.raises(RunError, match=rf"problem q as {bad}; scores must be finite"):
        PreferenceScorer(Broken()).scores([group_of("a"), group_of("b", name="q", question="why?")])


def test_a_model_that_gives_too_few_scores_is_found_out() -> None:
    class Short:
        def raw(self, members: Sequence[Member]) -> Doubles:
            return np.zeros(1)

    with pytest.raises(RunError, match="1 scores for 2 responses"):
        PreferenceScorer(Short()).scores([group_of("a", "b")])


def test_keys_tell_apart_whatever_a_reward_model_could_tell_apart() -> None:
    """Question, tokens of the prompt, pictures, tokens, text and ending; the problem's id is not read by any model."""
    base, answer = prompt(), completion("a")
    others = [
        (prompt(question="other?"), answer),
        (replace(base, token_ids=base.token_ids + 1), answer),
        (prompt(images=(ImageRef("/pictures/p.png", "cd34"),)), answer),
        (prompt(images=()), answer),
        (base, completion("a", logprobs=[-1.0] * 3)),
        (base, completion("b")),
        (base, completion("a", finish=Finish.LENGTH)),
        (base, answer),
    ]
    keys, distinct = keyed([RolloutGroup(where, (one,)) for where, one in others])
    assert len(distinct) == len(others)
    same = keyed([RolloutGroup(prompt("another id"), (answer,))])[0][0]
    assert keys[-1] == same
