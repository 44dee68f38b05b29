"""Samples and pairs through a checkpoint file and back."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from vergence.records import pair_records, prompt_table, restore_pairs, restore_prompts, restore_samples, sample_records
from vergence.types import Completion, Finish, ImageRef, PreferencePair, Prompt, TrainingPair

from .builders import completion, prompt, sample, through_a_file

PICTURES = (ImageRef("/a.png", "aa"), ImageRef("/b.png", "bb"))


def assert_same_prompt(one: Prompt, other: Prompt) -> None:
    assert one.problem == other.problem
    assert one.token_ids.tolist() == other.token_ids.tolist()
    assert one.token_ids.dtype == other.token_ids.dtype


def assert_same_completion(one: Completion, other: Completion) -> None:
    for field in ("finish", "policy_version", "text"):
        assert getattr(one, field) == getattr(other, field)
    assert type(other.finish) is Finish
    for field in ("token_ids", "sampler_logprobs"):
        assert getattr(one, field).tolist() == getattr(other, field).tolist()
        assert getattr(one, field).dtype == getattr(other, field).dtype


def prompts() -> tuple[Prompt, Prompt]:
    return prompt("two", images=PICTURES, mentions=""), prompt("none", images=(), objects=frozenset())


def test_samples_come_back_equal_in_order_and_share_their_prompts() -> None:
    two, none = prompts()
    before = [
        sample(1.25, of=two, logprobs=[-0.1, -0.2, -0.3], version=7, text="a", reward=0.1),
        sample(-0.75, of=none, text="Ω?"),
        sample(1e-300, of=two, text=""),
    ]
    record = through_a_file(sample_records(before))
    after = restore_samples(record)
    assert 2 == len(record["prompts"])
    assert after[0].prompt is after[2].prompt
    for one, other in zip(before, after, strict=True):
        assert_same_prompt(one.prompt, other.prompt)
        assert_same_completion(one.completion, other.completion)
        assert (one.advantage, one.reward) == (other.advantage, other.reward)


def test_pairs_come_back_equal_in_order_and_share_their_prompts() -> None:
    two, none = prompts()
    good, bad = completion("good", finish=Finish.STOP), completion("bad", logprobs=[-9.0], finish=Finish.LENGTH)
    before = [
        referenced(PreferencePair(two, good, bad, 1.5, "correctness"), 0.25),
        referenced(PreferencePair(none, bad, good, math.inf, "format"), 0.5),
        referenced(PreferencePair(two, bad, bad, 0.0, "rule"), -3.0),
    ]
    record = through_a_file(pair_records(before))
    after = restore_pairs(record)
    assert 2 == len(record["prompts"])
    assert after[0].pair.prompt is after[2].pair.prompt
    for one, other in zip(before, after, strict=True):
        assert_same_prompt(one.pair.prompt, other.pair.prompt)
        assert_same_completion(one.pair.chosen, other.pair.chosen)
        assert_same_completion(one.pair.rejected, other.pair.rejected)
        assert (one.pair.margin, one.pair.source) == (other.pair.margin, other.pair.source)
        for field in ("chosen_reference", "rejected_reference"):
            assert getattr(one, field).tolist() == getattr(other, field).tolist()
            assert getattr(other, field).dtype == np.float32


def referenced(pair: PreferencePair, shift: float) -> TrainingPair:
    """With references that are not the log-probs of sampling, nor those of the other side."""
    return TrainingPair(pair, pair.chosen.sampler_logprobs - shift, pair.rejected.sampler_logprobs - 2 * shift)


def test_equal_prompts_that_are_two_objects_stay_two() -> None:
    one, twin = prompt("same"), prompt("same")
    rows, places = prompt_table([one, twin, one])
    assert 2 == len(rows)
    assert [0, 1] == [places[id(one)], places[id(twin)]]
    assert 2 == len({id(restored) for restored in restore_prompts(rows)})


@pytest.mark.parametrize(
    ("record", "restore"), [(sample_records, restore_samples), (pair_records, restore_pairs)], ids=["samples", "pairs"]
)
def test_an_empty_list_comes_back_empty(record, restore) -> None:
    empty: Sequence = []
    assert [] == restore(through_a_file(record(empty)))
