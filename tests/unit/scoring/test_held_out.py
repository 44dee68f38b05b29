"""The report tells a judge that reads from one that likes length, and one that looks from one that does not."""

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest

from vergence.pairs.comparisons import Comparison, Member
from vergence.scoring.held_out import as_details, held_out_metrics, measured
from vergence.types import Doubles, ImageRef

from ..builders import completion, prompt


def member(name: str, text: str, length: int = 2, picture: str = "ab12") -> Member:
    return prompt(name, images=(ImageRef(f"/{picture}.png", picture),)), completion(text, logprobs=[-1.0] * length)


RESPONSES = [
    Comparison(member("a", "good", 3), member("a", "bad", 2), "rule"),
    Comparison(member("b", "good", 2), member("b", "bad", 5), "rule"),
    Comparison(member("c", "good", 4), member("c", "bad", 4), "reasoning"),
    Comparison(member("d", "good", 9), member("d", "bad", 1), "reasoning"),
]
SWAPS = [
    Comparison(member(name, "good"), member(f"{name} shown x", "good", picture="cd34"), "wrong_image")
    for name in "abcd"
]


def reader(members: Sequence[Member]) -> Doubles:
    return np.array([2.0 if one.text == "good" else -1.0 for _, one in members])


def liker_of_length(members: Sequence[Member]) -> Doubles:
    return np.array([float(len(one.token_ids)) for _, one in members])


def looker(members: Sequence[Member]) -> Doubles:
    return reader(members) + [0.5 * (where.problem.images[0].sha256 == "ab12") for where, _ in members]


def test_a_judge_that_reads_is_always_right_and_beats_length_by_what_length_gets_wrong() -> None:
    report = measured(RESPONSES, SWAPS, reader)
    assert report.accuracy.mean == 1.0
    assert report.longer_wins.mean == (1 + 0 + 0.5 + 1) / 4
    assert report.margin_over_longer.mean == pytest.approx(1 - 0.625)
    assert report.margin_over_chance.mean == 0.5
    assert {"rule": 2, "reasoning": 2} == report.counts
    assert report.log_loss == pytest.approx(np.log1p(np.exp(-3.0)))
    assert (report.score_quantiles["0"], report.score_quantiles["100"]) == (-1.0, 2.0)


def test_a_judge_that_does_not_look_loses_nothing_when_the_picture_is_wrong() -> None:
    swap = measured(RESPONSES, SWAPS, reader).image_swap
    assert swap is not None
    assert (4, 0.0, 0.5) == (swap.count, swap.drop.mean, swap.lowered.mean)


def test_a_judge_that_looks_scores_every_response_lower_with_a_wrong_picture() -> None:
    swap = measured(RESPONSES, SWAPS, looker).image_swap
    assert swap is not None
    assert (0.5, 1.0) == (swap.drop.mean, swap.lowered.mean)
    assert (-math.inf, math.inf) == (swap.drop.low, swap.drop.high), "all fall alike, so there is no spread to go by"
    assert 0.5 < swap.lowered.low < 1.0


def test_a_judge_that_likes_length_has_no_margin_over_length() -> None:
    report = measured(RESPONSES, [], liker_of_length)
    assert report.accuracy == report.longer_wins
    # four equal pairs: Agresti and Min's 0 +- z sqrt(1 / 6^2)
    margin = report.margin_over_longer
    assert pytest.approx((0.0, -1.96 / 6, 1.96 / 6), abs=1e-4) == (margin.mean, margin.low, margin.high)
    assert report.image_swap is None


def test_every_member_is_scored_once() -> None:
    asked: list[int] = []

    def counting(members: Sequence[Member]) -> Doubles:
        asked.append(len(members))
        return reader(members)

    measured(RESPONSES, SWAPS, counting)
    assert [2 * (len(RESPONSES) + len(SWAPS))] == asked


def test_the_details_are_json_and_say_what_the_metrics_say() -> None:
    report = measured(RESPONSES, SWAPS, looker)
    details = json.loads(json.dumps(as_details(report), allow_nan=False))
    metrics = held_out_metrics(report)
    assert details["held_out_pair_accuracy"] == metrics["held_out/pair_accuracy"]
    assert details["held_out_pair_accuracy_by_source"]["reasoning"] == metrics["held_out/pair_accuracy_reasoning"]
    assert details["image_swap"]["drop"] == metrics["held_out/image_swap_drop"]
    assert details["held_out_pairs"] == 4
    single = json.loads(json.dumps(as_details(measured(RESPONSES[:1], [], reader)), allow_nan=False))
    assert pytest.approx([-1.96 / 3, 1.96 / 3], abs=1e-4) == single["intervals"]["margin_over_longer"]
    assert [None, None] == details["image_swap"]["drop_interval"]
