"""A user's own reward: how it is found, checked, called, and what becomes of its mistakes."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from vergence.advantage.judging import judge
from vergence.advantage.scaling import group_centred
from vergence.errors import RecipeError
from vergence.reward.functions import Failure, UserReward, all_at_once, load_function, one_by_one
from vergence.reward.hybrid import RULES, RewardWeights, RuleReward
from vergence.types import Verdict

from ..builders import ScriptedGrader, group, problem

MODULE = """
from __future__ import annotations
import functools
from dataclasses import dataclass
from beside import TWICE

@dataclass
class Judge:
    factor: float
    def __call__(self, problem, response):
        return self.factor * len(response)

def brevity(problem, response):
    return TWICE * 1 / (1 + len(response))

def longer(problem, response, at_most=10):
    return min(len(response), at_most)

def all_of_them(responses):
    return [len(text) / len(problem.answer) for problem, text in responses]

async def later(problem, response):
    return 0.0

class Later:
    async def __call__(self, problem, response):
        return 0.0

async def streamed(responses):
    yield 0.0

def yields(problem, response):
    yield 0.0

def all_yielded(responses):
    for _, text in responses:
        yield len(text)

async_object = Later()
async_bound = Later().__call__
async_partial = functools.partial(functools.partial(later), response="")
doubled = Judge(2.0)
number = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_rewards.py").write_text(MODULE)
    (tmp_path / "beside.py").write_text("TWICE = 2\n")
    yield tmp_path
    sys.modules.pop("beside", None)


@pytest.mark.parametrize(
    ("named", "batch", "expected"),
    [
        ("my_rewards:brevity", False, [1.0, 0.4]),
        ("my_rewards:longer", False, [1.0, 4.0]),
        ("my_rewards:doubled", False, [2.0, 8.0]),
        ("my_rewards:all_of_them", True, [0.5, 2.0]),
    ],
)
def test_a_function_is_found_beside_the_recipe_and_called(folder, named: str, batch: bool, expected) -> None:
    values = load_function(named, folder, batch=batch)
    assert pytest.approx(expected) == values([(problem(), "a"), (problem(), "abcd")])


def test_the_folder_is_not_left_on_the_path_and_its_modules_take_no_names(folder) -> None:
    """A file called like a module of the standard library is that file, and the library keeps its own."""
    (folder / "json.py").write_text("def one(problem, response):\n    return 7\n")
    assert [7.0] == load_function("json:one", folder, batch=False)([(problem(), "")])
    assert str(folder) not in sys.path
    assert hasattr(sys.modules["json"], "dumps")


def test_a_module_of_the_python_path_is_found_too(folder) -> None:
    """`operator.eq` takes two arguments, and no response is its problem."""
    assert [0.0] == load_function("operator:eq", folder, batch=False)([(problem(), "15")])


@pytest.mark.parametrize(
    ("named", "batch", "said"),
    [
        ("my_rewards", False, 'expected "module:function"'),
        ("nowhere:f", False, "no module nowhere"),
        ("my_rewards:absent", False, "has no absent"),
        ("my_rewards:number", False, "expected a function, found int"),
        ("my_rewards:later", False, "async"),
        ("my_rewards:async_object", False, "async"),
        ("my_rewards:async_bound", False, "async"),
        ("my_rewards:async_partial", False, "async"),
        ("my_rewards:streamed", True, "async"),
        ("my_rewards:yields", False, "one that yields"),
        ("leaving:f", False, "cannot be imported (SystemExit: 0)"),
        ("my_rewards:brevity", True, "is called with one argument"),
        ("my_rewards:all_of_them", False, "set batch = true"),
        ("broken:f", False, "cannot be imported (SyntaxError"),
        ("lonely:f", False, "no module missing_library"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(folder, named: str, batch: bool, said: str) -> None:
    (folder / "broken.py").write_text("def f(:\n")
    (folder / "lonely.py").write_text("import missing_library\n")
    (folder / "leaving.py").write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(RecipeError) as error:
        load_function(named, folder, batch=batch)
    assert said in str(error.value)
    assert named in str(error.value)
    assert 1 == len(str(error.value).splitlines())


def test_a_function_that_raises_or_gives_no_number_fails_for_that_response_alone() -> None:
    given = {"fine": np.float32(0.5), "true": True, "text": "1.0", "none": None, "nan": math.nan, "bytes": b"1"}

    def function(of, response: str) -> object:
        if response == "raise":
            raise ValueError("no good\nat all")
        return given[response]

    found = one_by_one(function)([(problem(), text) for text in (*given, "raise", "unknown")])
    assert [0.5, 1.0] == found[:2]
    assert "gave str '1.0', expected a finite number" == found[2].reason
    assert all(isinstance(one, Failure) for one in found[2:])
    assert "ValueError: no good" == found[6].reason
    assert "KeyError: 'unknown'" == found[7].reason


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda rows: [1.0], "gave 1 values for 2 responses"),
        (lambda rows: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda rows: None, "gave NoneType None, expected a list"),
        (lambda rows: {0: 1.0, 1: 1.0}, "gave dict {0: 1.0, 1: 1.0}, expected a list"),
        (lambda rows: {1.0, 2.0}, "gave set {1.0, 2.0}, expected a list"),
        (lambda rows: dict.fromkeys(range(2)).keys(), "gave dict_keys dict_keys([0, 1]), expected a list"),
        (lambda rows: "12", "gave str '12', expected a list"),
        (lambda rows: b"12", "gave bytes b'12', expected a list"),
        (lambda rows: sys.exit(0), "SystemExit: 0"),
    ],
)
def test_a_batch_that_goes_wrong_judges_nothing_and_says_why(function, said: str) -> None:
    found = all_at_once(function)([(problem(), "a"), (problem(), "b")])
    assert 2 == len(found)
    assert all(one.reason.startswith(said) for one in found)


@pytest.mark.parametrize("values", [(1, 2), np.array([1.0, 2.0]), iter([1, 2]), {"a": 1, "b": 2}.values()])
def test_a_batch_may_give_whatever_has_an_order(values) -> None:
    assert [1.0, 2.0] == all_at_once(lambda rows: values)([(problem(), "a"), (problem(), "b")])


def test_what_a_plain_function_hands_on_of_an_async_one_is_awaited() -> None:
    async def later(text: str) -> float:
        if text == "raise":
            raise ValueError("too late")
        return float(len(text))

    async def all_of_them(rows) -> list[float]:
        return [await later(text) for _, text in rows]

    one, late = one_by_one(lambda of, text: later(text))([(problem(), "ab"), (problem(), "raise")])
    assert (2.0, "ValueError: too late") == (one, late.reason)
    assert [1.0, 3.0] == all_at_once(all_of_them)([(problem(), "a"), (problem(), "abc")])


def test_a_function_that_leaves_is_a_failure_and_the_keyboard_still_ends_the_run() -> None:
    """`sys.exit(0)` in a reward would otherwise end a run of days with the exit code of success."""

    def function(of, response: str) -> float:
        raise {"exit": SystemExit(0), "key": KeyboardInterrupt()}.get(response, GeneratorExit())

    (left, closed) = one_by_one(function)([(problem(), "exit"), (problem(), "other")])
    assert ("SystemExit: 0", "GeneratorExit: without a message") == (left.reason, closed.reason)
    with pytest.raises(KeyboardInterrupt):
        one_by_one(function)([(problem(), "key")])
    with pytest.raises(KeyboardInterrupt):
        all_at_once(lambda rows: function(*rows[0]))([(problem(), "key")])


def test_one_value_of_a_batch_may_fail_by_itself() -> None:
    found = all_at_once(lambda rows: [1.0, math.inf])([(problem(), "a"), (problem(), "b")])
    assert 1.0 == found[0]
    assert "gave float inf, expected a finite number" == found[1].reason


# ── in the reward ────────────────────────────────────────────────────────────────────────────────────────────────


def rewarding(*functions: UserReward, weights: RewardWeights = RULES) -> RuleReward:
    return RuleReward(weights, ScriptedGrader(), functions=functions)


def tenths(responses) -> list[float | Failure]:
    """A tenth for each letter; "lost" cannot be judged."""
    return [Failure("lost it") if "lost" in text else len(text) / 10 for _, text in responses]


def test_a_function_is_a_component_with_a_weight_that_makes_no_group_effective_by_itself() -> None:
    (result,) = rewarding(UserReward("length", 0.5, False, tenths))([group(["right", "no", "wrong"])])
    assert [0.5, 0.2, 0.5] == result.components["length"].tolist()
    assert [0.25, 0.1, 0.25] == result.terms["length"].tolist()
    assert [1.0, 0.0, 0.0] == result.rule_rewards.tolist()
    assert pytest.approx([1.25, 0.1, 0.25]) == result.rewards.tolist()
    (alike,) = rewarding(UserReward("length", 0.5, False, tenths))([group(["no", "wrong"])])
    assert not judge([alike], group_centred)[0].effective


def test_as_a_rule_it_does_and_can_take_the_place_of_accuracy() -> None:
    length = UserReward("length", 1.0, True, tenths)
    reward = rewarding(length, weights=RewardWeights(accuracy=0.0, format=0.0))
    (result,) = reward([group(["right", "no", "wrong"])])
    assert [0.5, 0.2, 0.5] == result.rule_rewards.tolist() == result.rewards.tolist()
    (verdict,) = judge([result], group_centred)
    assert verdict.effective
    assert pytest.approx([0.1, -0.2, 0.1]) == verdict.advantages.tolist()


def test_a_response_that_it_cannot_judge_is_one_that_could_not_be_judged() -> None:
    (result,) = rewarding(UserReward("length", 1.0, True, tenths))([group(["right", "lost right", "no"])])
    assert frozenset({1}) == result.failed
    assert [Verdict.CORRECT, Verdict.FAILED, Verdict.WRONG] == [one.verdict for one in result.grades]
    assert "length: lost it" == result.grades[1].reason
    assert np.isnan([result.rewards[1], result.components["accuracy"][1], result.components["length"][1]]).all()
    (verdict,) = judge([result], group_centred)
    assert pytest.approx([0.65, 0.0, -0.65]) == verdict.advantages.tolist()  # rewards 1.5 and 0.2 alone


def test_every_group_gets_its_own_values_in_one_call() -> None:
    seen = []

    def values(responses):
        seen.append(len(responses))
        return tenths(responses)

    first, second = rewarding(UserReward("length", 1.0, False, values))([group(["a", "ab"]), group(["abc"])])
    assert [[0.1, 0.2], [0.3]] == [first.components["length"].tolist(), second.components["length"].tolist()]
    assert [3] == seen
