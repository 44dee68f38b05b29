"""Comparisons: who is better than whom is always certain, shares are kept, and no prompt is taken for another."""

from dataclasses import replace

import numpy as np
import pytest

from vergence.pairs.comparisons import (
    SOURCES,
    Comparison,
    Shares,
    ShownProblems,
    Wording,
    apart,
    augmented,
    compared_groups,
    differ,
    image_swaps,
    with_images_of,
)
from vergence.reward.answer import extract_answer, is_well_formed
from vergence.reward.form import TAGS
from vergence.reward.hybrid import RULES, RuleReward
from vergence.reward.rules import AsWritten, format_reward
from vergence.types import Completion, Finish, ImageRef, Problem, Prompt, RolloutGroup, ScoredGroup

from ..builders import BARE, NOTHING, RIGHT, WRONG, completion, group, problem, without_grades

QUESTIONS = ("sum?", "max?")


def tokens(text: str) -> np.ndarray:
    return np.array([ord(letter) for letter in text], dtype=np.int64)


def write_prompt(one: Problem) -> Prompt:
    """Like a real one in that pictures do not show in the tokens."""
    ids = tokens(one.question + "#" * len(one.images))
    return Prompt(one, ids, np.arange(len(ids))[None])


def write_completion(text: str, finish: Finish = Finish.STOP) -> Completion:
    return replace(completion(text, finish=finish), token_ids=tokens(text))


WORDING = Wording(write_prompt, write_completion)


def answering(answer: str) -> str:
    return f"<think>so</think><answer>{answer}</answer>"


def problems(count: int, **changes) -> list[Problem]:
    return [
        problem(
            f"p{index}",
            question=QUESTIONS[index % 2],
            answer=str(index % 5),
            images=(ImageRef(f"/{index}.png", f"{index:04x}"),),
            **changes,
        )
        for index in range(count)
    ]


def judged(groups: list[RolloutGroup]) -> list[ScoredGroup]:
    return RuleReward(RULES, AsWritten())(groups)


def groups(count: int = 40) -> list[ScoredGroup]:
    """Right, well-formed but wrong, right in bad form, and nothing; every tenth group has no good response."""
    made = []
    for index, one in enumerate(problems(count)):
        texts = [answering("77"), f"<answer>{one.answer}</answer>", "what?"]
        texts += [] if index % 10 == 9 else [answering(one.answer), f"<think>hm</think><answer>{one.answer}</answer>"]
        made.append(RolloutGroup(write_prompt(one), tuple(WORDING.completion(text) for text in texts)))
    return judged(made)


def right(prompt: Prompt, completion: Completion) -> bool:
    return extract_answer(completion.text) == prompt.problem.answer


def good(member: tuple[Prompt, Completion]) -> bool:
    return right(*member) and bool(format_reward(TAGS)(*member))


@pytest.fixture(scope="module")
def made() -> list[Comparison]:
    return compared_groups(groups(), Shares(), WORDING, np.random.default_rng(0))


def test_the_better_member_is_always_right_and_well_formed_for_its_own_prompt(made) -> None:
    assert all(good(one.better) for one in made)
    assert set(SOURCES) == {one.source for one in made}


def test_each_source_is_worse_in_its_own_way(made) -> None:
    for one in made:
        (prompt, better), (other, worse) = one.better, one.worse
        if one.source == "wrong_image":
            assert worse is better
            assert other.problem.images != prompt.problem.images
            assert other.problem.question == prompt.problem.question
            continue
        assert other is prompt
        if one.source == "elsewhere":
            assert not right(prompt, worse)
        elif one.source == "corruption":
            assert worse.text != better.text
        else:
            assert not good(one.worse)
        if one.source == "reasoning":
            assert is_well_formed(worse.text)


def test_of_every_solved_problem_each_source_makes_at_most_one(made) -> None:
    seen = [(one.better[0].problem.id, one.source) for one in made]
    assert len(seen) == len(set(seen))
    of_source = {source: sum(one.source == source for one in made) for source in SOURCES}
    assert {"rule": 36, "reasoning": 36, "corruption": 36, "wrong_image": 36} == {
        name: count for name, count in of_source.items() if name != "elsewhere"
    }
    assert 0 < of_source["elsewhere"] < 36, "a random other problem sometimes has the same answer"


@pytest.mark.parametrize("source", SOURCES)
def test_a_share_of_zero_makes_none_and_half_makes_about_half(source: str) -> None:
    none = compared_groups(groups(), Shares(**{source: 0.0}), WORDING, np.random.default_rng(0))
    assert set(SOURCES) - {source} == {one.source for one in none}
    only = dict.fromkeys(SOURCES, 0.0)
    whole = compared_groups(groups(400), Shares(**only | {source: 1.0}), WORDING, np.random.default_rng(1))
    half = compared_groups(groups(400), Shares(**only | {source: 0.5}), WORDING, np.random.default_rng(1))
    assert {source} == {one.source for one in half}
    assert abs(len(half) - len(whole) / 2) < 4 * (len(whole) / 4) ** 0.5


def test_form_is_no_help_in_reasoning_pairs_and_a_cut_off_response_is_not_well_formed() -> None:
    cut = completion(WRONG, finish=Finish.LENGTH)
    with_form = group([RIGHT, WRONG, BARE, NOTHING])
    without_form = group([completion(RIGHT), cut, completion(BARE)])
    only = Shares(rule=0.0, corruption=0.0, elsewhere=0.0, wrong_image=0.0)
    (one,) = compared_groups(judged([with_form]), only, WORDING, np.random.default_rng(0))
    assert (RIGHT, WRONG) == (one.better[1].text, one.worse[1].text)
    assert [] == compared_groups(judged([without_form]), only, WORDING, np.random.default_rng(0))


def test_equal_seeds_make_equal_comparisons() -> None:
    def said(seed: int) -> list[tuple]:
        found = compared_groups(groups(), Shares(), WORDING, np.random.default_rng(seed))
        return [(one.source, one.better[1].text, one.worse[1].text, one.worse[0].problem.id) for one in found]

    assert said(3) == said(3)
    assert said(3) != said(4)


def test_a_problem_of_the_same_question_is_preferred_for_its_picture() -> None:
    shown = ShownProblems(problems(40))
    rng = np.random.default_rng(0)
    mine = problems(40)[0]
    for _ in range(50):
        stranger = shown.stranger(mine, rng)
        assert stranger is not None
        assert stranger.question == mine.question
        assert stranger.answer != mine.answer
    other_question = problems(40)[1::2]
    found = ShownProblems(other_question).stranger(mine, rng)
    assert found is not None
    assert found.question != mine.question


@pytest.mark.parametrize(
    "others",
    [
        [],
        [problem("q", question="sum?", answer="0", images=(ImageRef("/q.png", "ffff"),))],  # the same answer
        [problem("q", question="sum?", answer="9", images=(ImageRef("/other-name.png", "0000"),))],  # the same picture
        [problem("q", question="sum?", answer="9", images=(ImageRef("/a", "1"), ImageRef("/b", "2")))],  # two pictures
        [problem("q", question="sum?", answer="9", images=())],
    ],
)
def test_where_no_picture_is_certainly_wrong_there_is_none(others) -> None:
    mine = problems(1)[0]
    assert ShownProblems([mine, *others]).stranger(mine, np.random.default_rng(0)) is None


def test_a_question_without_pictures_has_no_wrong_ones() -> None:
    assert ShownProblems(problems(9)).stranger(problem(images=()), np.random.default_rng(0)) is None


def test_a_swapped_prompt_is_another_prompt_although_its_tokens_are_the_same() -> None:
    mine, other = problems(2)
    swapped = with_images_of(mine, other)
    assert (mine.question, mine.answer, other.images) == (swapped.question, swapped.answer, swapped.images)
    assert write_prompt(mine).token_ids.tolist() == write_prompt(swapped).token_ids.tolist()
    assert write_prompt(mine).key != write_prompt(swapped).key


def test_problems_differ_in_their_answers_or_in_what_is_asked_and_shown_where_no_answer_is_known() -> None:
    assert differ(problem(answer="1"), problem(answer="2"))
    assert not differ(problem(answer="1", question="a?"), problem(answer="1", question="b?"))
    assert differ(problem(answer="", question="a?"), problem(answer="", question="b?"))
    assert not differ(problem("one", answer=""), problem("two", answer=""))
    assert differ(problem(answer=""), problem(answer="2"))


def test_swaps_are_told_apart_from_responses(made) -> None:
    responses, swaps = apart(made)
    assert {"wrong_image"} == {one.source for one in swaps}
    assert len(responses) + len(swaps) == len(made)
    assert all(one.better[0] is one.worse[0] for one in responses)


def test_image_swaps_are_made_of_every_response_with_a_picture() -> None:
    rows = [(write_prompt(one), completion("r")) for one in [*problems(8), problem("blind", images=())]]
    swaps = image_swaps(rows, WORDING, np.random.default_rng(0))
    assert [f"p{index}" for index in range(8)] == [one.better[0].problem.id for one in swaps]


def test_equal_responses_of_different_problems_are_not_compared() -> None:
    rows = [(write_prompt(one), completion("the same")) for one in problems(8)]
    only = Shares(rule=0.0, reasoning=0.0, corruption=0.0, wrong_image=0.0)
    assert [] == augmented(rows, only, WORDING, np.random.default_rng(0))


def test_a_comparison_has_images_if_either_side_has() -> None:
    shown, blind = write_prompt(problems(1)[0]), write_prompt(problem(images=()))
    one = completion("r")
    assert Comparison((shown, one), (blind, one), "x").has_images
    assert not Comparison((blind, one), (blind, one), "x").has_images


def test_a_response_that_could_not_be_judged_is_in_no_comparison() -> None:
    every = groups()
    broken = [without_grades(one, [0, len(one.rewards) - 1]) for one in every]
    gone = {id(one.group.completions[place]) for one in every for place in (0, len(one.rewards) - 1)}
    found = compared_groups(broken, Shares(), WORDING, np.random.default_rng(0))
    assert {"rule", "corruption", "elsewhere"} <= {one.source for one in found}
    assert not [one for one in found if {id(one.better[1]), id(one.worse[1])} & gone]
    assert "reasoning" not in {one.source for one in found}, "the wrong ones in good form were those"
