"""Prompts of a recipe's data: every file is gone through, a fault is named by file and line, long ones may go."""

import json
from pathlib import Path
from typing import Any

import pytest

from vergence.data.lint.prompts import Limits, Prompts, measure
from vergence.data.problems import open_problems
from vergence.data.source import Source
from vergence.errors import DataError, RecipeError
from vergence.recipe.data import FileData
from vergence.recipe.load import load_recipe
from vergence.recipe.schema import Recipe
from vergence.stages import prompts as checked
from vergence.stages.prompts import LeftOut, check_prompts, longest_response, told
from vergence.types import Problem

RECIPE = """
name = "made"
[data]
type = "files"
train = "train.jsonl"
tuning = "tuning.jsonl"
test = "test.jsonl"
captions = "captions.jsonl"
{keys}
[[stage]]
type = "assemble"
vision = "vision"
language = "language"
[[stage]]
type = "align"
max_new_tokens = 7
[[stage]]
type = "mpo"
prompts_per_round = 2
pairs.file = "pairs.jsonl"
rounds = 1
sampling.max_new_tokens = 8
[[stage]]
type = "grpo"
reward.preset = "rules"
prompts_per_step = 2
minibatch_size = 16
sampling.max_new_tokens = 8
"""
CONTEXT = 20
"""Of the model: a token for each letter of a question or a response."""


def letters(problem: Problem) -> int:
    if "!" in problem.question:
        raise DataError(f"problem {problem.id}: no prompt can be made")
    return len(problem.question)


@pytest.fixture(autouse=True)
def _counted_in_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        checked, "prompts_for", lambda model, response: Prompts(letters, len, Limits(CONTEXT, response))
    )


def written(folder: Path, keys: str = "", **questions: list[str]) -> Recipe:
    """A recipe over files that ask this; those that are not named ask three short questions."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for name in ("train", "tuning", "test", "captions", "pairs"):
        asked = questions.get(name, ["a?", "b?", "c?"])
        more = {"captions": {"target": "12345678"}, "pairs": {"chosen": "12345678", "rejected": "1"}}.get(name, {})
        rows[name] = [{"id": f"{place}", "question": one, "answer": "1"} | more for place, one in enumerate(asked)]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows[name])) + "\n")
    (folder / "recipe.toml").write_text(RECIPE.format(keys=keys))
    return load_recipe(str(folder / "recipe.toml"))


def found(recipe: Recipe) -> LeftOut:
    assert isinstance(recipe.data, FileData)
    return check_prompts(recipe, recipe.data, Path("model"))


@pytest.mark.parametrize("name", ["train", "tuning", "test", "captions", "pairs"])
@pytest.mark.parametrize("kind", ["longer than the context", "no room for a response", "no prompt"])
def test_every_file_is_gone_through_and_the_row_is_named(name: str, kind: str, tmp_path: Path) -> None:
    """Captions and pairs have responses of 8 letters and the token that ends them; for others up to 8 are sampled."""
    own = name in ("captions", "pairs")
    tight = 12 if own else 13
    question, fault = {
        "longer than the context": ("a" * 20, "20 tokens, the context has 20; "),
        "no room for a response": (
            "a" * tight,
            f"{tight} tokens leave {20 - tight} of 20; {'its own has 9' if own else 'a '}",
        ),
        "no prompt": ("!", "problem 1: no prompt can be made"),
    }[kind]
    recipe = written(tmp_path, **{name: ["a?", question, "b?"]})
    assert longest_response(recipe) == 8
    with pytest.raises(DataError) as caught:
        found(recipe)
    said = str(caught.value)
    assert (f"{tmp_path / name}.jsonl, line 2", kind) == tuple(said.split(": ")[:2])
    assert fault in said
    assert ("filter_overlong_prompts" in said) == (kind != "no prompt")


def test_what_just_fits_is_kept(tmp_path: Path) -> None:
    just = {name: ["a" * 12] * 3 for name in ("train", "tuning", "test")} | {
        "captions": ["a" * 11],
        "pairs": ["a" * 11],
    }
    assert {} == found(written(tmp_path, **just))


def test_what_is_too_long_is_left_out_by_its_number_and_keeps_nobody_from_being_drawn(tmp_path: Path) -> None:
    long = {"train": ["a?", "x" * 30, "b?", "c?"], "pairs": ["x" * 30, "a?"]}
    recipe = written(tmp_path, "filter_overlong_prompts = true", **long)
    left_out = found(recipe)
    train, pairs = tmp_path / "train.jsonl", tmp_path / "pairs.jsonl"
    assert {("train", train): {1}, ("pairs", pairs): {0}} == left_out
    assert [str(train) in told(left_out)[0], "1 rows" in told(left_out)[0]] == [True, True]
    kept = open_problems(Source(train, left_out=left_out["train", train]))
    assert ["0", "2", "3"] == [one.id for one in kept]
    with pytest.raises(DataError, match="line 2: no prompt"):  # what cannot be made at all is no matter of length
        found(written(tmp_path, "filter_overlong_prompts = true", train=["a?", "!", "b?"]))


def test_too_few_that_are_left_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="the training data has 1 problems"):
        found(written(tmp_path, "filter_overlong_prompts = true", train=["a?", "x" * 30, "x" * 40]))


def test_a_row_of_a_library_s_own_error_is_a_fault(tmp_path: Path) -> None:
    def chokes(problem: Problem) -> int:
        raise UnicodeEncodeError("utf-8", "\udfff", 0, 1, "surrogates not allowed")

    asked = Problem("1", "a?", (), "1", "all", frozenset(), "")
    assert measure(Prompts(chokes, len, Limits(9, 1)), asked).fault[1].startswith("UnicodeEncodeError: ")  # type: ignore[index]
