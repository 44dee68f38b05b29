"""Each monitor detects the fault that is planted for it, and says nothing of the healthy twin.

The rules are the default ones: bands learnt on healthy readings, then either more of them or the fault.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from vergence.data.problems import read_problems
from vergence.evaluation.measure import tuning_metrics
from vergence.model.batch import collate
from vergence.model.forward import token_scores
from vergence.model.plain import plain_logprobs
from vergence.model.policy import Policy, load_policy
from vergence.model.vision import AblatedTower, CachedTower, grey_view, masked_view
from vergence.monitor.alarms import Alarms
from vergence.monitor.blindness import blindness_metrics
from vergence.monitor.consistency import Consistency, answer_span
from vergence.monitor.divergence import Divergence
from vergence.monitor.gain import Gain, gold_answer
from vergence.monitor.mentions import count_groups, mention_metrics
from vergence.monitor.perception import Perception, token_divergence
from vergence.monitor.probe import claimed, object_questions, probe_summary
from vergence.monitor.repetition import repetition_metrics
from vergence.monitor.scores import Reader
from vergence.monitor.swap import Swap
from vergence.recipe.monitor import MonitorSection
from vergence.recipe.monitor_rules import DEFAULT_RULES
from vergence.reward.bounds import no_bound
from vergence.reward.gates import no_gate
from vergence.reward.hybrid import RULES, HybridReward, RewardWeights, RuleReward
from vergence.reward.metrics import reward_metrics
from vergence.reward.rules import AsWritten
from vergence.rollout.local import LocalGenerator
from vergence.seeds import generator
from vergence.stages.monitoring import rule_of
from vergence.types import Completion, Doubles, Finish, Metrics, Problem, Prompt, RolloutGroup, Sampling

LEARN, AFTER = 5, 3
SECTION = MonitorSection(learn=LEARN)
SAMPLING = Sampling(num_completions=4, max_new_tokens=32, temperature=1.0)
Read = Callable[[int], Metrics]
"""Step -> the metrics of a step."""


def alarmed(healthy: Read, later: Read, after: int = AFTER) -> set[str]:
    """The signals that raise an alarm where `later` takes over once the bands are learnt."""
    rules = [rule_of(rule.model_copy(update={"learn": LEARN}), SECTION) for rule, _ in DEFAULT_RULES]
    alarms = Alarms(rules)
    for step in range(LEARN):
        assert () == alarms.watch(healthy(step)).alarms
    return {one.signal for step in range(LEARN, LEARN + after) for one in alarms.watch(later(step)).alarms}


# ── a model that ignores the picture ─────────────────────────────────────────────────────────────────────────────


def looking(run: Path) -> Policy:
    """What the small run has trained: it reads about half of the digits, and writes thoughts that lead to answers."""
    return load_policy(run / "checkpoints" / "grpo" / "policy", torch.device("cpu"))


def ignoring(run: Path) -> Policy:
    """The same, with an adapter that gives the same embeddings for every picture."""
    policy = looking(run)
    with torch.no_grad():
        policy.model.model.multi_modal_projector.linear_2.weight.zero_()
    return policy


@pytest.fixture(scope="module")
def problems(small_run: Path) -> list[Problem]:
    return read_problems(small_run / "data" / "tuning.jsonl", decode=False)


def watched(policy: Policy, problems: list[Problem]) -> Read:
    """Perception, gain, swap and mentions over a step's own rollouts, as a stage computes them."""
    tower = CachedTower(policy)
    masked, grey = AblatedTower(policy, masked_view(8, 0.6, 0)), AblatedTower(policy, grey_view)
    here = Reader(policy, tower, 1.0, 10_000)
    reward = RuleReward(RULES, AsWritten())
    monitors = [
        Perception(here, replace(here, tower=masked), completions=32, tau=0.1),
        Gain(here, replace(here, tower=grey), problems=16),
        Swap(lambda: LocalGenerator(policy, tower), problems=16, max_new_tokens=32, seed=0),
    ]

    def read(step: int) -> Metrics:
        order = generator(step, "problems").permutation(len(problems))[:16]
        groups = LocalGenerator(policy, tower).generate(
            [problems[place] for place in order], SAMPLING, seed=step, version=step
        )
        scored = reward(groups)
        found = {name: value for monitor in monitors for name, value in monitor(step, scored).items()}
        return found | mention_metrics(count_groups(groups))

    return read


@pytest.fixture(scope="module")
def healthy(small_run: Path, problems: list[Problem]) -> Read:
    """What the monitors read of the trained policy; each step is read once."""
    return cache(watched(looking(small_run), problems))


def test_a_model_that_ignores_the_picture_reads_nothing_and_its_healthy_twin_does(
    small_run: Path, problems: list[Problem], healthy: Read
) -> None:
    """Not small: zero, because no number of the blind one's forward pass knows of the picture.

    The healthy twin's figures are far from that, and how far depends on its training. Its entropy gap has either sign.
    """
    blind, seeing = watched(ignoring(small_run), problems)(0), healthy(0)
    for name in ("perception/kl", "perception/entropy_gap", "perception/gain"):
        assert blind[name] == pytest.approx(0.0, abs=1e-5), name
    assert blind["perception/dependent_share"] == blind["perception/flip_rate"] == 0.0
    assert seeing["perception/kl"] > 0.01
    assert seeing["perception/gain"] > 0.01
    assert seeing["perception/dependent_share"] > 0.02
    assert seeing["perception/flip_rate"] > 0.1
    assert seeing["perception/gain_share"] > 0.5


def test_a_model_that_stops_looking_is_noticed_by_every_signal_of_looking(
    small_run: Path, problems: list[Problem], healthy: Read
) -> None:
    """Not by its hallucinations, which the healthy twin of a small run has too: how many depends on its training."""
    raised = alarmed(healthy, watched(ignoring(small_run), problems))
    assert {
        "perception/kl",
        "perception/dependent_share",
        "perception/flip_rate",
    } <= raised


def test_a_model_that_goes_on_looking_raises_no_alarm(healthy: Read) -> None:
    assert set() == alarmed(healthy, healthy)


def test_a_model_that_only_wants_to_differ_raises_the_alarm_on_the_other_side(
    small_run: Path, problems: list[Problem], healthy: Read
) -> None:
    """PAPO's collapse, made on purpose: a few updates raise the divergence of its own responses, nothing else."""
    policy = looking(small_run)
    tower, masked = CachedTower(policy), AblatedTower(policy, masked_view(8, 0.6, 0))
    language = list(policy.family.language(policy.model).parameters())
    for one in language:
        one.requires_grad_(True)
    optimizer = torch.optim.Adam(language, 1e-3)
    groups = LocalGenerator(policy, tower).generate(problems[:16], SAMPLING, seed=0, version=0)
    batch = collate([(group.prompt, one) for group in groups for one in group.completions], policy.device)
    for _ in range(15):
        ours, theirs = (
            token_scores(policy, batch, temperature=1.0, tower=one).logprobs[batch.mask] for one in (tower, masked)
        )
        optimizer.zero_grad()
        (-token_divergence(ours, theirs).mean()).backward()
        optimizer.step()
    later = cache(watched(policy, problems))
    assert later(0)["perception/kl"] > 3 * healthy(0)["perception/kl"]
    assert "perception/kl" in alarmed(healthy, later)


def test_the_gain_is_that_of_the_answers_own_tokens(small_run: Path, problems: list[Problem]) -> None:
    """Of one problem, against the model's plain forward pass over each sequence by itself."""
    policy = looking(small_run)
    tower, grey = CachedTower(policy), AblatedTower(policy, grey_view)
    (group,) = LocalGenerator(policy, tower).generate(problems[:1], SAMPLING, seed=0, version=0)
    gold = gold_answer(policy, problems[0])
    assert f"<answer>{problems[0].answer}</answer>" == policy.tokenizer.decode(gold.completion.token_ids)
    assert 1 == gold.begin, "the opening tag is one token here"
    ours, theirs = (
        float(plain_logprobs(policy, group.prompt, gold.completion, temperature=1.0, tower=one)[gold.begin :].sum())
        for one in (tower, grey)
    )
    gain = Gain(Reader(policy, tower, 1.0, 10_000), Reader(policy, grey, 1.0, 10_000), problems=1)
    reward = RuleReward(RULES, AsWritten())
    assert pytest.approx(ours - theirs, abs=1e-4) == gain(0, reward([group]))["perception/gain"]


# ── answers that do not follow from their thoughts ───────────────────────────────────────────────────────────────


def written(policy: Policy, text: str) -> Completion:
    ids = np.asarray(policy.tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int64)
    return Completion(ids, np.zeros(len(ids), dtype=np.float32), Finish.STOP, 0, text)


def test_the_span_of_an_answer_reaches_to_the_end_of_its_closing_tag(small_run: Path) -> None:
    policy = looking(small_run)
    assert (7, 10) == answer_span(policy, written(policy, "<think>5+6=</think><answer>15</answer>"))
    assert answer_span(policy, written(policy, "<think>5+6=</think>15")) is None
    assert answer_span(policy, written(policy, "<answer>15")) is None


def test_answers_that_their_thoughts_do_not_lead_to_are_noticed(small_run: Path, problems: list[Problem]) -> None:
    """The fault: the thought stays, and every answer is replaced by the answer to the next problem, plus one."""
    policy = looking(small_run)
    tower = CachedTower(policy)
    reader, reward = Reader(policy, tower, 1.0, 10_000), RuleReward(RULES, AsWritten())

    def guessed(one: Completion, place: int) -> Completion:
        thought, tag, answer = one.text.partition("<answer>")
        return written(policy, f"{thought}{tag}{(place * 7 + 3) % 10}</answer>") if tag and answer else one

    def read(step: int, guessing: bool) -> Metrics:
        order = generator(step, "problems").permutation(len(problems))[:16]
        groups = LocalGenerator(policy, tower).generate(
            [problems[place] for place in order], SAMPLING, seed=step, version=step
        )
        if guessing:
            groups = [
                replace(one, completions=tuple(guessed(each, place) for each in one.completions))
                for place, one in enumerate(groups)
            ]
        return Consistency(reader, completions=32)(step, reward(groups))

    assert {"consistency/answer"} == alarmed(lambda step: read(step, False), lambda step: read(step, True))
    assert set() == alarmed(lambda step: read(step, False), lambda step: read(step, False))


# ── a model that answers from the caption prior ──────────────────────────────────────────────────────────────────

ANIMALS = ("cat", "dog", "cow", "hen", "pig", "bee", "fox", "owl")


class Captioner:
    """Names what it sees, with some mistakes; the faulty one names what is named most often, whatever there is.

    Without a picture both can only name the most frequent ones.
    """

    def __init__(self, *, prior: bool, blank: bool = False) -> None:
        self._prior = prior or blank

    def generate(
        self, problems: Sequence[Problem], sampling: Sampling, *, seed: int, version: int
    ) -> list[RolloutGroup]:
        return [
            RolloutGroup(
                Prompt(one, np.arange(3), np.arange(3)[None]),
                tuple(self._response(one, generator(seed, one.id, index)) for index in range(sampling.num_completions)),
            )
            for one in problems
        ]

    def _response(self, one: Problem, rng: np.random.Generator) -> Completion:
        named = ["cat", "dog", "cow"] if self._prior else sorted(one.objects)
        if not self._prior and rng.random() < 0.1:
            named[0] = str(rng.choice(ANIMALS))
        text = f"<think>{' '.join(named)}</think><answer>{' '.join(named)}</answer>"
        return Completion(np.arange(5), np.zeros(5, dtype=np.float32), Finish.STOP, 0, text)


def scenes(count: int) -> list[Problem]:
    """Three animals each; cat, dog and cow twice as often as the others."""
    weights = np.array([2, 2, 2, 1, 1, 1, 1, 1]) / 11
    found = []
    for place in range(count):
        animals = generator("scenes", place).choice(ANIMALS, 3, replace=False, p=weights).tolist()
        answer = " ".join(sorted(animals))
        found.append(Problem(f"s{place}", "what?", (), answer, "any", frozenset(animals), "|".join(ANIMALS)))
    return found


def captioned(*, prior: bool) -> Read:
    """The tuning split with its probe, and the hallucination rate of a step's own responses."""
    tuning, train = scenes(80), scenes(400)[80:]
    questions = object_questions(tuning, split="adversarial", each=3, seed=0)

    def read(step: int) -> Metrics:
        captioner = Captioner(prior=prior)
        metrics = tuning_metrics(
            captioner,
            Captioner(prior=prior, blank=True),
            RuleReward(RULES, AsWritten()),
            tuning,
            blank_problems=40,
            max_new_tokens=9,
            seed=step,
            also=lambda greedy: probe_summary(claimed(questions, greedy)),
        )
        groups = captioner.generate(train[32 * step : 32 * step + 32], SAMPLING, seed=step, version=step)
        return metrics | mention_metrics(count_groups(groups))

    return read


def test_a_model_that_answers_from_the_caption_prior_is_noticed() -> None:
    raised = alarmed(captioned(prior=False), captioned(prior=True))
    assert {
        "hallucination/response_rate",
        "tuning/hallucination_rate",
        "perception/blank_gap",
        "probe/f1",
    } <= raised


def test_a_model_that_names_what_it_sees_is_not() -> None:
    assert set() == alarmed(captioned(prior=False), captioned(prior=False))


def test_the_prior_is_most_of_all_a_matter_of_objects_that_are_often_seen_together() -> None:
    """POPE's finding: the popular absent objects are what a prior claims, the random ones less."""
    tuning = scenes(80)
    greedy = Captioner(prior=True).generate(tuning, replace(SAMPLING, num_completions=1), seed=0, version=0)
    figures = {
        split: probe_summary(claimed(object_questions(tuning, split=split, each=3, seed=0), greedy))
        for split in ("random", "popular")
    }
    assert figures["popular"]["probe/accuracy"] < figures["random"]["probe/accuracy"] - 0.05


# ── a model that loops ───────────────────────────────────────────────────────────────────────────────────────────


def texts(*, looping: float) -> Read:
    """Random words that end by themselves, or a share of responses that go round until they are cut off."""

    def read(step: int) -> Metrics:
        groups = []
        for place in range(8):
            completions = []
            for index in range(8):
                rng = generator(step, place, index)
                ids = rng.integers(0, 40, rng.integers(16, 28))
                finish = Finish.STOP
                if rng.random() < looping:
                    ids, finish = np.tile(ids[:5], 7)[:32], Finish.LENGTH
                completions.append(Completion(ids, np.zeros(len(ids), dtype=np.float32), finish, 0, ""))
            groups.append(RolloutGroup(Prompt(scenes(1)[0], np.arange(3), np.arange(3)[None]), tuple(completions)))
        truncated = np.mean([one.finish is Finish.LENGTH for group in groups for one in group.completions])
        return repetition_metrics(groups, 4) | {"rollout/truncated": float(truncated)}

    return read


def test_a_model_that_loops_is_noticed() -> None:
    assert {"rollout/repetition", "rollout/looping", "rollout/truncated"} == alarmed(
        texts(looping=0.0), texts(looping=0.3)
    )


def test_a_model_that_writes_is_not() -> None:
    assert set() == alarmed(texts(looping=0.0), texts(looping=0.0))


def test_a_model_that_says_it_cannot_see_is_noticed() -> None:
    import re

    def read(text: str) -> Read:
        problem = replace(scenes(1)[0], images=picture)
        group = RolloutGroup(
            Prompt(problem, np.arange(3), np.arange(3)[None]),
            (Completion(np.arange(2), np.zeros(2, dtype=np.float32), Finish.STOP, 0, text),),
        )
        return lambda step: blindness_metrics([group], [re.compile(one) for one in SECTION.blindness])

    from vergence.types import ImageRef

    picture = (ImageRef("/x.png", "x"),)
    seeing, blind = read("there is a cat"), read("I cannot see the image, so I assume a cat")
    assert {"hallucination/blindness"} == alarmed(seeing, blind)
    assert set() == alarmed(seeing, seeing)


# ── a reward model that likes length ─────────────────────────────────────────────────────────────────────────────


class Judging:
    """A preference model: right answers score higher, with noise; the faulty one counts tokens instead."""

    def __init__(self, step: int, *, length: bool) -> None:
        self._step = step
        self._length = length

    def scores(self, groups: Sequence[RolloutGroup]) -> list[Doubles]:
        return [np.array([self._score(group, index) for index in range(len(group.completions))]) for group in groups]

    def _score(self, group: RolloutGroup, index: int) -> float:
        one = group.completions[index]
        if self._length:
            return len(one.token_ids) / 10
        noise = generator(self._step, "judge", group.prompt.problem.id, index).normal()
        return float(one.text == f"<answer>{group.prompt.problem.answer}</answer>") * 1.5 + float(noise)


def rewarded(*, length: bool, longer: float = 0.0) -> Read:
    """The real hybrid reward over responses of which half are right; `longer`: tokens that each step adds."""
    divergence = Divergence(4)

    def read(step: int) -> Metrics:
        groups = []
        for place in range(48):
            problem = replace(scenes(1)[0], id=f"p{place}", answer="5")
            completions = []
            for index in range(8):
                rng = generator(step, place, index)
                size = int(rng.integers(8, 24) + longer * step)
                text = f"<answer>{5 if rng.random() < 0.5 else 6}</answer>"
                completions.append(Completion(np.arange(size), np.zeros(size, dtype=np.float32), Finish.STOP, 0, text))
            groups.append(RolloutGroup(Prompt(problem, np.arange(3), np.arange(3)[None]), tuple(completions)))
        rules = RuleReward(RewardWeights(accuracy=1.0, format=0.0), AsWritten())
        scored = HybridReward(rules, 1.0, Judging(step, length=length), no_bound, no_gate)(groups)
        return reward_metrics(scored) | divergence(step, scored)

    return read


def test_a_reward_model_that_likes_length_is_noticed() -> None:
    """Its score says nothing of right and wrong any more, and all of length."""
    raised = alarmed(rewarded(length=False), rewarded(length=True), after=5)
    assert {"divergence/length", "agreement/concordance", "reward/preference_when_wrong"} <= raised


def test_a_reward_model_that_likes_right_answers_is_not() -> None:
    assert set() == alarmed(rewarded(length=False), rewarded(length=False), after=12)


def test_a_reward_model_that_liked_length_from_the_beginning_is_noticed_too() -> None:
    """What was always so is within the band that was learnt; the limit of the rule holds in any case."""
    rules = [rule_of(rule, SECTION) for rule, _ in DEFAULT_RULES if rule.signal == "divergence/length"]
    alarms, read = Alarms(rules), rewarded(length=True)
    assert ["divergence/length"] == [one.signal for step in range(2) for one in alarms.watch(read(step)).alarms]


def test_a_score_that_climbs_while_the_rules_do_not_is_noticed() -> None:
    """The policy has found out: every response is a little longer than those of the step before."""
    calm_read, climbing = rewarded(length=True), rewarded(length=True, longer=4.0)
    rules = [rule_of(rule, SECTION) for rule, _ in DEFAULT_RULES if rule.signal == "divergence/parting"]
    alarms = Alarms(rules)
    for step in range(3 + SECTION.learn):
        assert () == alarms.watch(calm_read(step)).alarms
    assert [] != [one for step in range(6) for one in alarms.watch(climbing(step)).alarms]
