"""The keys of the buffer and its rivals: what is read, what is refused, what is printed."""

from typing import Any

import pytest

from vergence.errors import RecipeError
from vergence.recipe.buffer import CORRECTION_KEYS, STRATEGY_KEYS, BufferSection
from vergence.recipe.grpo import GrpoStage
from vergence.recipe.load import load_recipe, parse_recipe, to_toml


def recipe(buffer: dict[str, Any], **grpo: Any) -> Any:
    data = {"type": "files", "train": "/t", "captions": "/c", "tuning": "/u", "test": "/e"}
    stage = {"type": "grpo", "reward": {"preset": "rules"}, "buffer": buffer} | grpo
    return parse_recipe({"name": "x", "data": data, "stage": [{"type": "load", "path": "/m"}, stage]}, "x.toml")


def buffer_of(parsed: Any) -> BufferSection:
    (stage,) = [one for one in parsed.stage if isinstance(one, GrpoStage)]
    return stage.buffer


@pytest.mark.parametrize(
    ("buffer", "said"),
    [
        ({"strategy": "none", "capacity": 8}, 'strategy "none" has no use for capacity: it keeps no past samples'),
        ({"strategy": "drop", "correction": "clip"}, 'strategy "drop" has no use for correction'),
        ({"strategy": "dynamic", "max_age": 3}, 'strategy "dynamic" has no use for max_age: it samples until'),
        ({"strategy": "ssr", "max_uses": 3}, 'strategy "ssr" has no use for max_uses: it clears its samples'),
        ({"strategy": "ssr", "unit": "group"}, 'strategy "ssr" has no use for unit'),
        ({"max_batches": 3}, 'strategy "ssb" has no use for max_batches: that key belongs to another strategy'),
        ({"episode": 3}, 'strategy "ssb" has no use for episode'),
        ({"shaping": 0.2}, 'correction "decoupled" has no use for shaping: that key belongs to correction "shaped"'),
        ({"correction": "clip", "correction_limit": 3.0}, 'correction "clip" has no use for correction_limit'),
        ({"correction": "shaped", "correction_level": "token"}, 'correction "shaped" has no use for correction_level'),
        ({"exponent": 2.5}, r"exponent: .*less than or equal to 2; found 2\.5"),
        ({"strategy": "magic"}, "strategy: .*'ssb', 'ssr', 'dynamic', 'drop' or 'none'"),
        ({"target": 0.0}, r"target: .*greater than 0"),
        ({"effective_on": "preference"}, 'effective_on = "preference", and the reward has no preference part'),
    ],
)
def test_what_means_nothing_is_refused_with_the_reason(buffer: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        recipe(buffer)


def test_a_key_is_refused_even_with_its_default_value() -> None:
    with pytest.raises(RecipeError, match="has no use for capacity"):
        recipe({"strategy": "none", "capacity": 1024})


def test_overrides_are_refused_alike() -> None:
    with pytest.raises(RecipeError, match='strategy "none" has no use for capacity'):
        load_recipe("digits", ["stage.grpo.buffer.capacity=0", "stage.grpo.buffer.strategy=none"])


@pytest.mark.parametrize("strategy", STRATEGY_KEYS)
@pytest.mark.parametrize("correction", CORRECTION_KEYS)
def test_what_is_printed_is_what_is_read_and_can_be_read_again(strategy: str, correction: str) -> None:
    buffer = {"strategy": strategy} | ({"correction": correction} if "correction" in STRATEGY_KEYS[strategy] else {})
    parsed = recipe(buffer)
    printed = set(buffer_of(parsed).model_dump())
    of_correction = set().union(*CORRECTION_KEYS.values())
    read = {"strategy", "effective_on", "effective_tolerance"} | STRATEGY_KEYS[strategy]
    if "correction" in read:
        read = (read - of_correction) | CORRECTION_KEYS[correction]
    assert read == printed
    (toml,) = [block for block in to_toml(parsed).split("\n\n") if block.startswith("[stage.buffer]")]
    assert {line.split(" = ")[0] for line in toml.splitlines()[1:]} == read - {"warm"}, "a file that is not named"
    assert buffer_of(recipe(buffer_of(parsed).model_dump())) == buffer_of(parsed)


def test_every_key_belongs_to_a_strategy() -> None:
    known = {"strategy", "effective_on", "effective_tolerance"}.union(*STRATEGY_KEYS.values())
    assert known == set(BufferSection.model_fields)


def test_a_reward_with_a_preference_part_can_be_judged_on_it() -> None:
    parsed = load_recipe("digits", ["stage.grpo.buffer.effective_on=preference"])
    assert "preference" == buffer_of(parsed).effective_on
