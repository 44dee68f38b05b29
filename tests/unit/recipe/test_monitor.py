"""The monitor section: what is refused, what holds where nothing is said, and what the documents say of it."""

import math
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from vergence.errors import RecipeError
from vergence.monitor.bands import Band, Side
from vergence.monitor.dials import Action
from vergence.recipe.load import load_recipe, parse_recipe, to_toml
from vergence.recipe.monitor import SIGNALS, ActionName, Monitor, MonitorSection, RuleSection
from vergence.recipe.monitor_rules import DEFAULT_RULES, idle_actions, may_raise_kl, rules_of
from vergence.recipe.mpo import MpoStage
from vergence.recipe.schema import Recipe
from vergence.recipe.stages import GrpoStage
from vergence.stages.monitoring import rule_of

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "monitors.md").read_text()


def recipe(tmp_path: Path, grpo: str = "", mpo: str = "") -> Recipe:
    (tmp_path / "recipe.toml").write_text(
        'name = "x"\n[data]\ntype = "files"\ntrain = "a"\ntuning = "b"\ntest = "c"\nprobe = "d"\n'
        '[[stage]]\ntype = "load"\npath = "m"\n[[stage]]\ntype = "reward_model"\n'
        f'[[stage]]\ntype = "mpo"\n{mpo}\n[[stage]]\ntype = "grpo"\n{grpo}\n'
    )
    return load_recipe(str(tmp_path / "recipe.toml"))


def stage(kind: type, of: Recipe) -> Any:
    return next(one for one in of.stage if isinstance(one, kind))


def rule(text: str) -> str:
    return f"[[stage.monitor.rule]]\n{text}\n"


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_by_default_perception_is_measured_and_alarms_are_noted(tmp_path: Path) -> None:
    monitor = stage(GrpoStage, recipe(tmp_path)).monitor
    assert ("observe", ("perception",), ()) == (monitor.mode, monitor.monitors, monitor.rule)


def test_an_action_by_its_name_is_a_step_of_one(tmp_path: Path) -> None:
    text = rule('signal = "rollout/truncated"\nactions = ["halve_preference", ["cap", "roll_back"], "stop"]')
    (found,) = stage(GrpoStage, recipe(tmp_path, text)).monitor.rule
    assert (("halve_preference",), ("cap", "roll_back"), ("stop",)) == found.actions


def test_a_recipe_with_rules_is_written_and_read_back(tmp_path: Path) -> None:
    text = rule('signal = "a/b"\nlow = -1.5\nlearn = 0\nside = "low"\nactions = [["raise_kl", "stop"]]') + rule(
        'signal = "loss"'
    )
    written = recipe(tmp_path, '[stage.monitor]\nmode = "act"\n' + text)
    (tmp_path / "again.toml").write_text(to_toml(written))
    assert written == load_recipe(str(tmp_path / "again.toml"))
    assert -math.inf == stage(GrpoStage, written).monitor.rule[1].low


def test_the_probe_file_is_relative_to_the_recipe(tmp_path: Path) -> None:
    assert tmp_path.resolve() / "d" == recipe(tmp_path).data.probe  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (rule('signal = "Loss"'), "signal"),
        (rule('signal = "loss"\nactions = ["shout"]'), "halve_preference"),
        (rule('signal = "loss"\nlearn = 0'), "learn = 0 and no bound for side 'both'"),
        (rule('signal = "loss"\nlearn = 0\nhigh = 1.0\nside = "low"'), "learn = 0 and no bound for side 'low'"),
        (rule('signal = "loss"\nlow = 2.0\nhigh = 1.0'), "low = 2.0 must be less than high = 1.0"),
        (rule('signal = "loss"') + rule('signal = "loss"'), 'two rules for "loss"'),
        (rule('signal = "perception/flip_rate"'), 'nobody measures; add "swap" to monitors'),
        ("monitor.blindness = ['(']", "blindness: '(' is not a regular expression"),
        ("monitor.monitors = ['hearing']", "perception"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        recipe(tmp_path, text)


@pytest.mark.parametrize(
    ("grpo", "mpo", "message"),
    [
        (rule('signal = "loss"\nactions = ["raise_margin"]'), "", "raise_margin would change nothing, because pairs"),
        (
            'reward.preset = "rules"\n' + rule('signal = "loss"\nactions = ["cap"]'),
            "",
            'stage.3 ("grpo"): monitor.rule.0 ("loss"): cap would change nothing, because the reward has no preference',
        ),
        ("", rule('signal = "loss"\nactions = ["raise_kl"]'), "raise_kl would change nothing, because mpo has no such"),
        (
            "",
            'pairs.judge = "rules"\n' + rule('signal = "loss"\nactions = ["raise_margin"]'),
            "because pairs that rules decide have no margin",
        ),
    ],
)
def test_actions_that_would_change_nothing_are_refused(tmp_path: Path, grpo: str, mpo: str, message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        recipe(tmp_path, grpo, mpo)


# ── what holds where nothing is said ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("grpo", ["", 'reward.preset = "rules"', 'reward.preset = "paper"'])
@pytest.mark.parametrize("mpo", ["", 'pairs.judge = "rules"'])
def test_the_default_rules_hold_only_actions_that_work(tmp_path: Path, grpo: str, mpo: str) -> None:
    made = recipe(tmp_path, grpo, mpo)
    for kind in (GrpoStage, MpoStage):
        one = stage(kind, made)
        idle = idle_actions(one)
        rules = rules_of(one)
        assert [rule.signal for rule in rules] == [rule.signal for rule, _ in DEFAULT_RULES]
        for each in rules:
            assert each.actions
            assert not {action for step in each.actions for action in step} & idle.keys()
            assert "stop" in each.actions[-1]


def test_a_rule_of_the_recipe_takes_the_place_of_all_default_ones(tmp_path: Path) -> None:
    made = stage(GrpoStage, recipe(tmp_path, rule('signal = "loss"')))
    assert ["loss"] == [one.signal for one in rules_of(made)]


@pytest.mark.parametrize(
    ("grpo", "expected"),
    [
        ("", False),
        ('monitor.mode = "act"', True),  # by the default rules
        ('monitor.mode = "act"\n' + rule('signal = "loss"\nactions = ["stop", ["roll_back", "raise_kl"]]'), True),
        ('monitor.mode = "act"\n' + rule('signal = "loss"\nactions = ["stop"]'), False),
        (rule('signal = "loss"\nactions = ["raise_kl"]'), False),  # nobody acts
    ],
)
def test_a_reference_is_needed_where_the_controller_may_ask_for_it(tmp_path: Path, grpo: str, expected: bool) -> None:
    assert expected is may_raise_kl(stage(GrpoStage, recipe(tmp_path, grpo)))


def test_a_rule_takes_from_the_monitor_what_it_does_not_say() -> None:
    monitor = MonitorSection(learn=7, spread=3.0, patience=4)
    said = rule_of(RuleSection(signal="loss", side="low", low=-1.0), monitor)
    assert (7, 3.0, 4, frozenset({Side.LOW}), Band(-1.0, math.inf)) == (
        said.learn,
        said.spread,
        said.patience,
        said.sides,
        said.limits,
    )
    own = rule_of(RuleSection(signal="loss", learn=0, patience=1, high=2.0), monitor)
    assert (0, 1, frozenset(Side)) == (own.learn, own.patience, own.sides)


# ── names that occur twice ───────────────────────────────────────────────────────────────────────────────────────


def test_the_recipe_and_the_monitor_room_name_the_same_actions() -> None:
    assert list(get_args(ActionName)) == [str(action) for action in Action]


def test_every_monitor_has_signals_and_no_two_share_one() -> None:
    assert set(get_args(Monitor)) == set(SIGNALS)
    signals = [signal for of in SIGNALS.values() for signal in of]
    assert len(signals) == len(set(signals))


def test_default_rules_are_one_for_each_signal() -> None:
    signals = [one.signal for one, _ in DEFAULT_RULES]
    assert len(signals) == len(set(signals))


# ── the page ─────────────────────────────────────────────────────────────────────────────────────────────────────


def cells(begin: str) -> list[list[str]]:
    """The rows of the table whose head begins with that."""
    lines = PAGE.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith(begin))
    found = []
    for line in lines[place + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return found


def test_the_page_has_the_default_rules_as_they_are() -> None:
    stated = {row[0]: row[1:] for row in cells("| signal | bad |")}
    for one, fault in DEFAULT_RULES:
        open_ = math.isinf(one.low) and math.isinf(one.high)
        limits = "-" if open_ else f"{one.low:g} to {one.high:g}"
        learn = "-" if one.learn is None else str(one.learn)
        patience = "-" if one.patience is None else str(one.patience)
        assert [one.side, learn, patience, f"{one.absolute:g}", f"{one.relative:g}", limits, fault] == stated.pop(
            one.signal
        )
    assert {} == stated


def test_the_page_has_the_default_actions_as_they_are(tmp_path: Path) -> None:
    def text(actions: tuple[tuple[str, ...], ...]) -> list[str]:
        return [", ".join(f"`{action}`" for action in step).strip("`") for step in actions]

    rows = {(row[0], row[1]): row[2:] for row in cells("| stage | cause |")}
    with_preference, rules_alone = (recipe(tmp_path, grpo) for grpo in ("", 'reward.preset = "rules"'))
    by_fault = {
        (kind, preset, fault): text(rules_of(stage(kind, made))[place].actions)
        for kind in (GrpoStage, MpoStage)
        for preset, made in (("calibrated", with_preference), ("rules", rules_alone))
        for place, (_, fault) in enumerate(DEFAULT_RULES)
    }
    assert by_fault[GrpoStage, "calibrated", "reward"] == rows["`grpo` with a preference part".strip("`"), "reward"]
    policy = rows["grpo", "policy`, and `reward` without a preference part"]
    assert by_fault[GrpoStage, "calibrated", "policy"] == policy
    assert by_fault[GrpoStage, "rules", "reward"] == by_fault[GrpoStage, "rules", "policy"] == policy
    margins = rows["mpo` with a reward model as judge", "both"]
    assert by_fault[MpoStage, "calibrated", "reward"] == by_fault[MpoStage, "calibrated", "policy"] == margins


def test_the_page_names_every_monitor_with_its_signals() -> None:
    stated = {row[0]: set(re.findall(r"[a-z]+/[a-z0-9_]+", row[1])) for row in cells("| monitor | signals |")}
    assert {name: set(signals) for name, signals in SIGNALS.items()} == stated


def test_the_page_names_every_action() -> None:
    assert [str(action) for action in Action] == [row[0] for row in cells("| action | stage |")]


def test_unknown_keys_are_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"stage\.3\.monitor\.loud: unknown key"):
        recipe(tmp_path, "monitor.loud = 1")
    with pytest.raises(RecipeError, match=r"stage\.3\.monitor\.rule\.0\.louder"):
        parse_recipe(
            {
                "name": "x",
                "data": {"type": "digits"},
                "stage": [
                    {"type": "load", "path": "m"},
                    {"type": "reward_model"},
                    {"type": "mpo"},
                    {"type": "grpo", "monitor": {"rule": [{"signal": "loss", "louder": 1}]}},
                ],
            },
            "x",
        )
