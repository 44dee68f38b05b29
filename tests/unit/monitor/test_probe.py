"""The yes/no probe: POPE's figures by hand, and questions made of what is known to be visible."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.errors import DataError
from vergence.monitor.probe import (
    ObjectQuestion,
    Verdict,
    asked,
    check_yes_no,
    claimed,
    object_questions,
    probe_summary,
    yes_or_no,
)

from ..builders import group, problem

ANIMALS = {"mentions": "cat|dog|cow|horse|bird"}


def verdicts(*pairs: tuple[bool, bool | None]) -> list[Verdict]:
    return [Verdict(present, said) for present, said in pairs]


def test_figures_by_hand() -> None:
    """Three hits, one miss, two false claims, three right denials, and one answer that cannot be read."""
    rows = verdicts(*[(True, True)] * 3, (True, False), *[(False, True)] * 2, *[(False, False)] * 3, (False, None))
    metrics = probe_summary(rows)
    assert {
        "probe/accuracy": pytest.approx(6 / 10),
        "probe/precision": pytest.approx(3 / 5),
        "probe/recall": pytest.approx(3 / 4),
        "probe/f1": pytest.approx(2 * 0.6 * 0.75 / 1.35),
        "probe/yes_ratio": pytest.approx(5 / 10),
    } == metrics


@pytest.mark.parametrize(("said", "f1", "ratio"), [(True, 2 / 3, 1.0), (False, 0.0, 0.0), (None, 0.0, 0.0)])
def test_one_answer_to_everything(said: bool | None, f1: float, ratio: float) -> None:
    metrics = probe_summary(verdicts(*[(True, said)] * 4, *[(False, said)] * 4))
    assert (pytest.approx(f1), ratio) == (metrics["probe/f1"], metrics["probe/yes_ratio"])
    assert (0.0 if said is None else 0.5) == metrics["probe/accuracy"]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_figures_against_scikit_learn(pairs: list[tuple[bool, bool]]) -> None:
    from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

    truth, said = zip(*pairs, strict=True)
    metrics = probe_summary(verdicts(*pairs))
    assert pytest.approx(accuracy_score(truth, said)) == metrics["probe/accuracy"]
    for name, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        assert pytest.approx(score(truth, said, zero_division=0)) == metrics[f"probe/{name}"]


def test_no_question_is_no_figure() -> None:
    assert {} == probe_summary([])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Yes, there is a dog.", True),
        ("No.", False),
        ("<think>yes? no!</think><answer>no</answer>", False),  # the answer counts, not the thought
        ("<answer>dog</answer> yes", None),
        ("I know nothing", None),  # no word of its own
        ("", None),
    ],
)
def test_reading_an_answer(text: str, said: bool | None) -> None:
    assert said is yes_or_no(text)


def test_a_file_of_yes_no_problems_is_graded() -> None:
    groups = [group(["yes"], answer="Yes"), group(["no"], answer="yes"), group(["no"], answer="no")]
    assert verdicts((True, True), (True, False), (False, False)) == asked(groups)


def test_a_probe_with_another_answer_is_refused() -> None:
    check_yes_no([problem(answer=" YES "), problem(answer="no")], Path("probe.jsonl"))
    with pytest.raises(DataError, match=r'probe.jsonl, problem p: a probe is answered "yes" or "no", found \'maybe\''):
        check_yes_no([problem(answer="maybe")], Path("probe.jsonl"))


# ── questions from what is visible ───────────────────────────────────────────────────────────────────────────────


def scenes() -> list:
    """Cat and dog mostly stand together; the bird is the most frequent one and stands alone; the horse is rare."""
    seen = ["cat dog", "cat dog", "cat", "dog", "bird", "bird", "bird", "bird", "horse cow"]
    return [problem(f"s{place}", objects=frozenset(one.split()), **ANIMALS) for place, one in enumerate(seen)]


def absent_of(split: str, name: str, each: int = 1) -> list[str]:
    questions = object_questions(scenes(), split=split, each=each, seed=0)
    return [one.object for one in questions if one.problem_id == name and not one.present]


def test_questions_are_balanced_and_true() -> None:
    truth = {one.id: one.objects for one in scenes()}
    for split in ("random", "popular", "adversarial"):
        questions = object_questions(scenes(), split=split, each=2, seed=0)
        assert Counter(one.present for one in questions) == {True: 12, False: 12}
        assert len(set(questions)) == len(questions)
        for one in questions:
            assert one.present is (one.object in truth[one.problem_id])


def test_popular_asks_for_the_most_frequent_absent_object() -> None:
    assert ["bird"] == absent_of("popular", "s2")
    assert set(absent_of("popular", "s4")) <= {"cat", "dog"}, "three times each"
    assert ["bird"] == absent_of("popular", "s8")


def test_adversarial_asks_for_what_stands_beside_the_present_ones() -> None:
    assert ["dog"] == absent_of("adversarial", "s2")
    assert ["cat"] == absent_of("adversarial", "s3")


def test_random_asks_for_different_objects_under_different_seeds() -> None:
    drawn = {
        tuple(one.object for one in object_questions(scenes(), split="random", each=1, seed=seed)) for seed in range(8)
    }
    assert len(drawn) > 4


def test_questions_do_not_depend_on_the_other_problems_order() -> None:
    forward = object_questions(scenes(), split="random", each=1, seed=3)
    backward = object_questions(scenes()[::-1], split="random", each=1, seed=3)
    assert sorted(map(str, forward)) == sorted(map(str, backward))


def test_problems_of_which_nothing_is_known_are_not_asked_about() -> None:
    assert [] == object_questions(
        [problem(objects=frozenset(), mentions="cat"), problem(mentions="")], split="random", each=3, seed=0
    )


def test_a_claim_is_a_mention_in_the_response() -> None:
    questions = [ObjectQuestion("p", "cat", True), ObjectQuestion("p", "cow", False), ObjectQuestion("q", "cat", True)]
    groups = [group(["a cat and a cow"], name="p", **ANIMALS)]
    assert verdicts((True, True), (False, True)) == claimed(questions, groups)
