"""From alarms to actions: escalation, dials, roll-backs and their limits."""

import math
from typing import Any

import pytest
import torch

from vergence.monitor.alarms import Readings
from vergence.monitor.bands import Alarm, Band, Side
from vergence.monitor.dials import Action, Amounts, Dials, Settings, turned
from vergence.stages.controlling import Controller, ControlLimits, Deed, Escalation, NoAnswer
from vergence.stages.last_good import LastGood, copied
from vergence.update.learner import Learner, LossPart, ParameterGroup
from vergence.update.schedule import constant

from ..builders import scored, through_a_file

HALVE, CAP, KL, MARGIN, BACK, STOP = Action
LIMITS = ControlLimits(kl=0.02, margin=0.5, cap_quantile=0.5, learn=2, max_roll_backs=2, every=1)


class Counter:
    """A part of a stage whose state is a number."""

    value = 0

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value = state["value"]


def alarm(signal: str = "a") -> Alarm:
    return Alarm(signal, Side.HIGH, 2.0, Band(-math.inf, 1.0), 3)


def watch(*signals: str) -> Readings:
    return Readings(len(signals), signals, 0, tuple(alarm(one) for one in signals), ())


def controller(**escalations: Escalation) -> tuple[Controller, Dials, Counter]:
    dials, part = Dials(), Counter()
    return Controller(escalations, dials, LastGood({"part": part}), LIMITS), dials, part


def done(deeds: list[Deed]) -> list[Action]:
    return [deed.action for deed in deeds if deed.done]


# ── dials ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("action", "after"),
    [
        (HALVE, Settings(preference=0.25, cap=3.0, kl=0.5, margin=1.0)),
        (CAP, Settings(preference=0.5, cap=2.0, kl=0.5, margin=1.0)),
        (KL, Settings(preference=0.5, cap=3.0, kl=0.75, margin=1.0)),
        (MARGIN, Settings(preference=0.5, cap=3.0, kl=0.5, margin=1.5)),
        (BACK, Settings(preference=0.5, cap=3.0, kl=0.5, margin=1.0)),
        (STOP, Settings(preference=0.5, cap=3.0, kl=0.5, margin=1.0)),
    ],
)
def test_each_action_turns_its_own_dial(action: Action, after: Settings) -> None:
    before = Settings(preference=0.5, cap=3.0, kl=0.5, margin=1.0)
    assert after == turned(before, action, Amounts(kl=0.25, margin=0.5, cap=2.0))


def test_a_cap_is_never_lifted() -> None:
    assert Settings(cap=1.0) == turned(Settings(cap=1.0), CAP, Amounts(kl=0.0, margin=0.0, cap=2.0))


# ── escalation ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_alarm_of_a_signal_leads_one_step_further_and_the_last_is_repeated() -> None:
    control, dials, _ = controller(a=((HALVE,), (HALVE, KL), (MARGIN,)))
    found = [done(control.answer(watch("a"), settled=False)) for _ in range(4)]
    assert [[HALVE], [HALVE, KL], [MARGIN], [MARGIN]] == found
    assert Settings(preference=0.25, kl=0.02, margin=1.0) == dials.settings


def test_signals_escalate_by_themselves() -> None:
    control, _, _ = controller(a=((HALVE,), (STOP,)), b=((KL,), (STOP,)))
    assert [HALVE] == done(control.answer(watch("a"), settled=False))
    assert [KL] == done(control.answer(watch("b"), settled=False))
    assert not control.ended


def test_an_action_is_taken_once_a_step_and_the_others_are_told_so() -> None:
    control, dials, _ = controller(a=((HALVE,),), b=((HALVE, KL),))
    deeds = control.answer(watch("a", "b"), settled=False)
    assert [(HALVE, True, "a"), (HALVE, False, "b"), (KL, True, "b")] == [
        (deed.action, deed.done, deed.alarm.signal) for deed in deeds
    ]
    assert "taken in this step already" == deeds[1].result
    assert Settings(preference=0.5, kl=0.02) == dials.settings


def test_a_rule_without_actions_and_a_step_without_alarms_do_nothing() -> None:
    control, dials, _ = controller(a=())
    assert [] == control.answer(watch("a"), settled=False)
    assert [] == control.answer(watch(), settled=True)
    assert Settings() == dials.settings


def test_every_deed_names_what_changed_and_why() -> None:
    control, _, _ = controller(a=((HALVE,),))
    (deed,) = control.answer(watch("a"), settled=False)
    assert "preference 1 -> 0.5" == deed.result
    assert "a = 2, above 1 for 3 readings in a row" == str(deed.alarm)


def test_stop_ends_the_stage() -> None:
    control, _, _ = controller(a=((STOP,),))
    assert not control.ended
    assert [STOP] == done(control.answer(watch("a"), settled=False))
    assert control.ended


def test_modes_off_and_observe_answer_nothing() -> None:
    answer = NoAnswer()
    assert ({}, []) == (answer.prepare(0, []), answer.answer(watch("a"), settled=False))
    assert not answer.ended


# ── the cap ──────────────────────────────────────────────────────────────────────────────────────────────────────


def preferring(*scores: float) -> list:
    return [scored([0.0] * len(scores), components={"accuracy": [0.0] * len(scores), "preference": scores})]


def test_the_cap_is_the_mean_quantile_of_the_first_steps() -> None:
    """Medians 2 and 4; the third step is not learnt from."""
    control, dials, _ = controller(a=((CAP,),))
    for step, scores in enumerate([(1.0, 2.0, 9.0), (3.0, 4.0, 5.0), (100.0, 100.0, 100.0)]):
        control.prepare(step, preferring(*scores))
    (deed,) = control.answer(watch("a"), settled=False)
    assert (3.0, True, "cap inf -> 3") == (dials.settings.cap, deed.done, deed.result)
    (again,) = control.answer(watch("a"), settled=False)
    assert (False, "nothing changes") == (again.done, again.result)


def test_without_preference_scores_there_is_no_cap() -> None:
    control, dials, _ = controller(a=((CAP,),))
    control.prepare(0, [scored([1.0, 0.0])])
    assert [] == done(control.answer(watch("a"), settled=False))
    assert math.inf == dials.settings.cap


def test_where_the_dials_stand_is_said_before_they_are_turned() -> None:
    control, _, _ = controller(a=((HALVE,),))
    assert {"dials/preference": 1.0, "dials/cap": math.inf, "dials/kl": 0.0, "dials/margin": 0.0} == control.prepare(
        0, []
    )
    control.answer(watch("a"), settled=False)
    assert 0.5 == control.prepare(1, [])["dials/preference"]


# ── rolling back ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_roll_back_returns_to_what_the_last_healthy_step_began_with() -> None:
    control, dials, part = controller(a=((HALVE, BACK),))
    for step, settled in enumerate([True, True, False]):
        part.value = step
        control.prepare(step, [])
        part.value = 10 + step  # the step's updates
        deeds = control.answer(watch() if settled else watch("a"), settled=settled)
    assert [HALVE, BACK] == done(deeds)
    assert "to the weights before step 1" == deeds[1].result
    assert 1 == part.value
    assert 0.5 == dials.settings.preference, "dials stay turned, or the same would happen again"


def test_states_are_considered_every_so_often() -> None:
    part = Counter()
    limits = ControlLimits(kl=0.0, margin=0.0, cap_quantile=0.5, learn=1, max_roll_backs=1, every=3)
    control = Controller({"a": ((BACK,),)}, Dials(), LastGood({"part": part}), limits)
    for step in range(6):
        part.value = step
        control.prepare(step, [])
        control.answer(watch(), settled=True)
    control.answer(watch("a"), settled=False)
    assert 3 == part.value


def test_without_a_good_state_nothing_is_rolled_back() -> None:
    control, _, part = controller(a=((BACK,),))
    control.prepare(0, [])
    part.value = 7
    (deed,) = control.answer(watch("a"), settled=False)
    assert (False, "no weights were found good yet", 7) == (deed.done, deed.result, part.value)


def test_roll_backs_are_counted() -> None:
    control, _, part = controller(a=((BACK,),))
    control.prepare(0, [])
    control.answer(watch(), settled=True)
    results = []
    for _ in range(3):
        part.value = 7
        (deed,) = control.answer(watch("a"), settled=False)
        results.append((deed.done, part.value))
    assert [(True, 0), (True, 0), (False, 7)] == results
    assert "done 2 times already, the most allowed" == deed.result


def stepped(learner: Learner, weight: torch.nn.Parameter, times: int) -> None:
    for _ in range(times):
        learner.update([lambda: LossPart((weight**2).sum(), {})])


def test_weights_and_optimizer_come_back_to_the_bit_as_often_as_wanted() -> None:
    """What follows a roll-back must equal what followed the good state the first time; also after a second one."""
    weight = torch.nn.Parameter(torch.linspace(-1, 1, 7))
    learner = Learner(
        [ParameterGroup("language", {"w": weight}, 0.01, 0.0)], betas=(0.9, 0.99), clip_norm=1.0, schedule=constant()
    )
    stepped(learner, weight, 3)
    good = LastGood({"learner": learner})
    good.consider(3)
    good.approve()
    begun = copied(learner.state_dict())
    runs = []
    for _ in range(3):
        stepped(learner, weight, 4)
        runs.append(weight.detach().clone())
        good.restore()
        assert 3 == learner.updates
        assert torch.equal(begun["weights"]["w"], weight)
    assert torch.equal(runs[0], runs[1])
    assert torch.equal(runs[0], runs[2])
    assert not torch.equal(runs[0], weight)


def test_what_was_considered_and_not_approved_is_not_good() -> None:
    part = Counter()
    good = LastGood({"part": part})
    good.approve()
    assert good.step is None
    good.consider(0)
    good.dismiss()
    good.approve()
    assert good.step is None


def test_a_copy_shares_no_tensor() -> None:
    state = {"a": [torch.zeros(2), (torch.ones(1), 3)], "b": "text"}
    twin = copied(state)
    state["a"][0].add_(1)
    state["a"][1][0].add_(1)
    assert torch.equal(torch.zeros(2), twin["a"][0])
    assert torch.equal(torch.ones(1), twin["a"][1][0])
    assert (3, "text") == (twin["a"][1][1], twin["b"])


def test_a_restored_controller_goes_on_where_it_was() -> None:
    first, dials, part = controller(a=((HALVE,), (CAP, BACK), (STOP,)))
    first.prepare(0, preferring(1.0, 2.0, 3.0))
    first.answer(watch(), settled=True)
    first.answer(watch("a"), settled=False)
    second, dials_too, part_too = controller(a=((HALVE,), (CAP, BACK), (STOP,)))
    second.load_state_dict(through_a_file(first.state_dict()))
    dials_too.load_state_dict(through_a_file(dials.state_dict()))
    part.value = part_too.value = 9
    for control in (first, second):
        assert [CAP, BACK] == done(control.answer(watch("a"), settled=False))
    assert dials.settings == dials_too.settings
    assert 0 == part.value == part_too.value
    assert through_a_file(first.state_dict()) == through_a_file(second.state_dict())
    for control in (first, second):
        control.answer(watch("a"), settled=False)
        assert control.ended
