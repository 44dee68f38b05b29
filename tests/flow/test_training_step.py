"""The buffer, the correction and the losses through the real training step, on a small model with random weights."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from flow.test_forward import CPU, world  # noqa: F401 - the fixture
from vergence.advantage.judging import judge
from vergence.advantage.scaling import group_normalised
from vergence.buffer.dynamic import DynamicSampling
from vergence.buffer.entries import single_samples, whole_groups
from vergence.buffer.episode import EpisodeBuffer
from vergence.buffer.fresh import DropDead, PlainGrpo
from vergence.buffer.mixed import MixedAdvantages, StaleAdvantages
from vergence.buffer.selective import BufferLimits, SampleBuffer, lowest_first, oldest_first
from vergence.correction import decoupled, per_sequence, per_token, recomputed, stored_clip
from vergence.data.problems import Problems
from vergence.errors import IntegrityError
from vergence.loss.kl import k3
from vergence.loss.policy_gradient import by_origin, clipped, shaped
from vergence.loss.reduce import sequence_mean, token_mean
from vergence.loss.sequence_ratio import gspo
from vergence.model.batch import collate
from vergence.model.forward import token_scores
from vergence.model.parameters import Training, trainable_groups
from vergence.model.plain import compare_with_plain
from vergence.model.policy import load_policy
from vergence.model.reward_head import Calibration, RewardModel, fresh_head, load_reward_model, save_reward_model
from vergence.model.save import save_policy
from vergence.model.vision import CachedTower, LiveTower
from vergence.rollout.local import LocalGenerator
from vergence.run.journal import Journal
from vergence.run.progress import Progress, Verbosity
from vergence.run.stage_run import StageRun
from vergence.scoring.scorer import PreferenceScorer
from vergence.stages.budget import Budget
from vergence.stages.grpo.denominators import of_learner, of_sampler
from vergence.stages.grpo.entropy import NO_BONUS, FixedEntropy
from vergence.stages.grpo.loop import GrpoParts, train_grpo
from vergence.stages.grpo.objective import surrogate_objective
from vergence.stages.grpo.penalty import KlInReward, KlPenalty, NoPenalty
from vergence.stages.parts import logprobs_of
from vergence.stages.work import work_done
from vergence.types import Sampling, ScoredGroup
from vergence.update.learner import Learner
from vergence.update.minibatch import deal_samples
from vergence.update.schedule import constant

CLIP = clipped(0.2, 0.2)
SAMPLING = Sampling(num_completions=4, max_new_tokens=6, temperature=1.0)


class EvenReward:
    """1 if the first token has an even id, which can be learnt; after `blind_after` calls always 1."""

    def __init__(self, blind_after: int) -> None:
        self._blind_after = blind_after
        self._calls = 0

    def __call__(self, groups):
        self._calls += 1
        blind = self._calls > self._blind_after
        scored = []
        for group in groups:
            rewards = np.array([float(one.token_ids[0] % 2 == 0 or blind) for one in group.completions])
            components = {"accuracy": rewards, "format": rewards}
            scored.append(ScoredGroup(group, components, {"accuracy": rewards}, rewards, rewards))
        return scored


class Between:
    """Watches nothing, and calls a function between two steps, where a controller acts."""

    ended = False

    def __init__(self, call):
        self._call = call

    def before_updates(self, step, scored):
        return {}

    def after_updates(self, step, steps):
        self._call(step)
        return {}

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def train(
    policy,
    problems,
    folder,
    *,
    steps,
    selection,
    learning_rate=1e-3,
    blind_after=10**9,
    correction="decoupled",
    level=per_token,
    surrogate=CLIP,
    live=False,
    minibatch_size=8,
    deal=deal_samples,
    epochs=1,
    reduce=token_mean,
    generate=lambda made: made,
    penalty=None,
    bonus=NO_BONUS,
    own=False,
    red_line=math.inf,
    between=lambda step: None,
):
    """A few steps of the real loop; returns the rows it logged.

    `generate` makes another generator of the local one; `between` is called between two steps.
    """
    penalty = penalty or NoPenalty()
    roles = {
        "vision": Training(not live, learning_rate, 0.0),
        "adapter": Training(False, learning_rate, 0.0),
        "language": Training(False, learning_rate, 0.0),
    }
    tower = LiveTower(policy) if live else CachedTower(policy)

    def proximal(draws):
        return logprobs_of(
            policy,
            tower,
            [(draw.sample.prompt, draw.sample.completion) for draw in draws],
            temperature=1.0,
            microbatch_tokens=10_000,
        )

    learner = Learner(trainable_groups(policy, roles), betas=(0.9, 0.99), clip_norm=1.0, schedule=constant())
    budget = Budget(tokens=math.inf, cpu_seconds=math.inf)
    parts = GrpoParts(
        problems=Problems(tuple(problems), 0),
        generator=generate(LocalGenerator(policy, tower)),
        reward=EvenReward(blind_after),
        judge=lambda scored: judge(scored, group_normalised),
        selection=selection,
        correct=decoupled(proximal, 2.0, level) if correction == "decoupled" and not own else stored_clip(),
        denominators=of_learner(recomputed(proximal, 2.0, level)) if own else of_sampler,
        whole_batch=lambda step: bonus is not NO_BONUS or penalty.weight_at(step) > 0,
        penalty=penalty,
        objective=surrogate_objective(
            policy,
            tower,
            temperature=1.0,
            surrogate=surrogate,
            reduce=reduce,
            penalty=penalty,
            entropy_weight=bonus,
            microbatch_tokens=10_000,
            own_denominators=own,
            red_line=red_line,
            check=lambda members: compare_with_plain(policy, tower, members, temperature=1.0),
        ),
        deal=deal,
        meter=policy.meter,
        work_done=work_done([policy.meter], [tower]),
        learner=learner,
        oversight=Between(between),
        budget=budget,
        stateful={"learner": learner, "selection": selection, "budget": budget},
    )
    run = StageRun(folder, "grpo", seed=0, checkpoint_every=100, progress=Progress(Console(), Verbosity.QUIET))
    logged = []
    original = Journal.append

    def keep(self, row):
        logged.append(dict(row))
        original(self, row)

    Journal.append = keep
    try:
        train_grpo(
            parts,
            run,
            steps=steps,
            prompts_per_step=4,
            minibatch_size=minibatch_size,
            epochs=epochs,
            sampling=SAMPLING,
            rollouts_every=100,
        )
    finally:
        Journal.append = original
    return [row for row in logged if "wall_seconds" in row]


def kept(capacity, *, unit=single_samples, leaving=oldest_first, advantages=None):
    """The Selective Sample Buffer."""
    limits = BufferLimits(capacity=capacity, exponent=1.0, max_age=10, max_uses=10, target=1.0)
    return SampleBuffer(limits, unit, leaving, advantages or StaleAdvantages())


@pytest.fixture
def fresh_policy(world, tmp_path):  # noqa: F811
    policy, problems = world
    save_policy(policy, tmp_path / "policy", example_question="sum?")
    return load_policy(tmp_path / "policy", CPU), problems


def in_order(samples, count, rng):
    """Minibatches without a shuffle."""
    return [tuple(samples[part::count]) for part in range(count)]


@pytest.mark.parametrize("level", [per_token, per_sequence])
def test_with_an_unchanged_policy_a_replayed_sample_has_ratio_exactly_one(fresh_policy, tmp_path, level):
    """From the second step on every group ties, so the update is made of replayed samples alone, in one minibatch and
    in the order in which the correction computed them: the same arithmetic twice. Then the ratio to the recomputed
    policy is 1 to the last bit. What sampling stored comes from another arithmetic, so the weights are 1 but for
    rounding."""
    policy, problems = fresh_policy
    options = {"learning_rate": 0.0, "blind_after": 1, "level": level, "minibatch_size": 16, "deal": in_order}
    rows = train(policy, problems, tmp_path, steps=3, selection=kept(64), **options)
    for row in rows[1:]:
        assert row["buffer/replay_share"] == 1.0
        assert row["loss/ratio_mean_replay"] == 1.0
        assert row["loss/ratio_max"] == 1.0
        assert row["loss/clip_fraction"] == 0.0
        assert row["buffer/weight_mean"] == pytest.approx(1.0, abs=1e-5)
        assert row["buffer/weight_max"] == pytest.approx(1.0, abs=1e-5)
        assert row["buffer/weight_truncated"] == 0.0


@pytest.mark.parametrize("correction", ["decoupled", "clip"])
def test_in_other_company_the_ratio_is_one_but_for_rounding(fresh_policy, tmp_path, correction):
    """Shuffled into minibatches with fresh samples, sums are taken in another order."""
    policy, problems = fresh_policy
    rows = train(policy, problems, tmp_path, steps=4, selection=kept(64), learning_rate=0.0, correction=correction)
    replaying = [row for row in rows if row["buffer/replay_share"] > 0]
    assert len(replaying) >= 2
    for row in replaying:
        assert row["loss/ratio_mean_replay"] == pytest.approx(1.0, abs=1e-5)
        assert row["loss/ratio_max"] == pytest.approx(1.0, abs=1e-5)
        assert row["buffer/weight_mean"] == pytest.approx(1.0, abs=1e-5)


def test_the_buffer_fills_the_batch_and_replay_moves_the_weights_when_nothing_fresh_can(fresh_policy, tmp_path):
    """From the third step on every group ties. Without a buffer nothing is learnt; with one the weights still move."""
    policy, problems = fresh_policy
    buffer = kept(64)
    rows = train(policy, problems, tmp_path, steps=4, selection=buffer, blind_after=2)
    assert rows[0]["buffer/replay_share"] == 0
    assert [row["effective/fresh"] for row in rows[2:]] == [0.0, 0.0]
    assert [row["effective/fresh_samples"] for row in rows[2:]] == [0.0, 0.0]
    assert [row["buffer/replay_share"] for row in rows[2:]] == [1.0, 1.0]
    assert rows[2]["effective/batch"] > 0
    assert rows[2]["updates"] > 0
    assert rows[2]["gradient_norm"] > 0
    assert rows[3]["buffer/age_max"] == 3
    assert rows[3]["buffer/uses_1"] < 1.0
    assert len(buffer) > 0


@pytest.mark.parametrize("selection", [kept(0), PlainGrpo(), DropDead(), DynamicSampling(groups=4, max_batches=2)])
def test_without_past_samples_a_step_of_ties_makes_no_update(fresh_policy, tmp_path, selection):
    policy, problems = fresh_policy
    before = {name: value.clone() for name, value in policy.model.state_dict().items()}
    rows = train(policy, problems, tmp_path, steps=2, selection=selection, blind_after=0)
    assert [row["updates"] for row in rows] == [0.0, 0.0]
    assert [row["buffer/size"] for row in rows] == [0.0, 0.0]
    assert all(torch.equal(before[name], value) for name, value in policy.model.state_dict().items())


def test_capacity_zero_and_plain_grpo_train_the_same_weights(fresh_policy, tmp_path, world):  # noqa: F811
    policy, problems = fresh_policy
    train(policy, problems, tmp_path / "zero", steps=2, selection=kept(0))
    again = load_policy(tmp_path / "policy", CPU)
    train(again, problems, tmp_path / "none", steps=2, selection=PlainGrpo())
    ours, theirs = policy.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


@pytest.mark.parametrize(
    ("selection", "surrogate"),
    [
        (kept(64, unit=whole_groups, leaving=lowest_first), CLIP),
        (kept(64, advantages=MixedAdvantages(group_normalised, 10)), CLIP),
        (kept(64), by_origin(CLIP, shaped(0.1))),
        (EpisodeBuffer(exponent=1.0, episode=1000), CLIP),
    ],
)
def test_every_way_to_replay_goes_through_the_training_step(fresh_policy, tmp_path, selection, surrogate):
    policy, problems = fresh_policy
    correction = "decoupled" if surrogate is CLIP else "stored"
    rows = train(
        policy,
        problems,
        tmp_path,
        steps=4,
        selection=selection,
        surrogate=surrogate,
        correction=correction,
        blind_after=2,
    )
    assert all(row["buffer/replay_share"] == 1.0 and row["gradient_norm"] > 0 for row in rows[2:])
    assert all(row["effective/batch"] <= 1.0 and np.isfinite(row["loss"]) for row in rows)


def test_dynamic_sampling_asks_for_fresh_groups_until_the_batch_is_full(fresh_policy, tmp_path):
    policy, problems = fresh_policy
    selection = DynamicSampling(groups=4, max_batches=6)
    rows = train(policy, problems, tmp_path, steps=3, selection=selection)
    for row in rows:
        assert row["rollout/groups"] == 4 * row["rollout/batches"]
        assert row["rollout/groups_used"] == 4 or row["rollout/batches"] == 6
        assert row["buffer/replay_share"] == 0.0
    assert sum(row["rollout/batches"] for row in rows) == selection.state_dict()["asked"]


def test_the_vision_tower_is_trained_only_where_it_is_not_frozen(fresh_policy, tmp_path):
    policy, problems = fresh_policy
    for live, folder in ((False, "frozen"), (True, "live")):
        before = {name: value.clone() for name, value in policy.model.named_parameters()}
        train(policy, problems, tmp_path / folder, steps=1, selection=kept(16), live=live)
        moved = {name for name, value in policy.model.named_parameters() if not torch.equal(before[name], value)}
        assert any("multi_modal_projector" in name for name in moved)
        assert any("vision_tower" in name for name in moved) is live


def test_reinforcement_raises_what_is_rewarded(fresh_policy, tmp_path):
    policy, problems = fresh_policy
    rows = train(policy, problems, tmp_path, steps=25, selection=kept(64), learning_rate=3e-3)
    rewards = [row["reward/accuracy"] for row in rows]
    assert np.mean(rewards[-5:]) > np.mean(rewards[:5]) + 0.15


def test_one_update_has_the_gradient_of_the_formula_written_out_plainly(fresh_policy):
    """Sequence mean, fresh samples: R1V2 Eq. 8 by a loop over sequences and tokens."""
    from vergence.types import Draw, Origin, Sample, TrainingSample
    from vergence.update.minibatch import Minibatch

    policy, problems = fresh_policy
    tower = CachedTower(policy)
    groups = LocalGenerator(policy, tower).generate(problems[:2], SAMPLING, seed=1, version=0)
    policy.model.requires_grad_(True)
    advantages = [0.7, -1.1, 0.4, 0.0, -0.3, 1.2, -0.9, 0.5]
    members = [(group.prompt, one) for group in groups for one in group.completions]
    samples = tuple(
        TrainingSample(
            Draw(Sample(prompt, one, advantage, 0.0), Origin.FRESH, 0),
            one.sampler_logprobs - np.float32(0.1),
            np.ones_like(one.sampler_logprobs),
        )
        for (prompt, one), advantage in zip(members, advantages, strict=True)
    )
    objective = surrogate_objective(
        policy,
        tower,
        temperature=1.0,
        surrogate=CLIP,
        reduce=sequence_mean,
        penalty=NoPenalty(),
        microbatch_tokens=10_000,
        check=lambda members: None,
    )
    (part,) = [evaluate() for evaluate in objective(Minibatch(samples, 1, len(samples)))]

    total = torch.zeros(())
    for (prompt, one), advantage, sample in zip(members, advantages, samples, strict=True):
        scores = token_scores(policy, collate([(prompt, one)], CPU), temperature=1.0, tower=tower).logprobs[0]
        for place in range(len(one.token_ids)):
            ratio = torch.exp(scores[place] - float(sample.old_logprobs[place]))
            bounded = min(max(float(ratio.detach()), 0.8), 1.2)
            unclipped = float(ratio.detach()) * advantage <= bounded * advantage
            term = ratio * advantage if unclipped else torch.tensor(bounded * advantage)
            total = total - term / len(one.token_ids) / len(members)
    assert part.loss.item() == pytest.approx(total.item(), abs=1e-6)
    weight = policy.model.model.multi_modal_projector.linear_2.weight
    ours, theirs = (torch.autograd.grad(value, weight)[0] for value in (part.loss, total))
    assert torch.allclose(ours, theirs, atol=1e-6, rtol=1e-4)


class Heard:
    """A generator whose groups are kept, and whose log-probs are shifted: a sampler that computes otherwise."""

    def __init__(self, within, shift=0.0):
        self.groups = []
        self._within = within
        self._shift = np.float32(shift)

    def generate(self, problems, sampling, *, seed, version):
        groups = self._within.generate(problems, sampling, seed=seed, version=version)
        groups = [
            replace(
                group,
                completions=tuple(
                    replace(one, sampler_logprobs=one.sampler_logprobs + self._shift) for one in group.completions
                ),
            )
            for group in groups
        ]
        self.groups += groups
        return groups


def listening(heard, shift=0.0):
    """For `generate` of `train`: what was generated is in `heard` afterwards."""

    def around(made):
        heard.append(Heard(made, shift))
        return heard[0]

    return around


@pytest.fixture
def reference(fresh_policy, tmp_path):
    """Another policy than the one that is trained, so that there is a divergence."""
    other = load_policy(tmp_path / "policy", CPU)
    with torch.no_grad():
        other.model.get_output_embeddings().weight.mul_(0.9)
    return other


def held_by(reference, weight):
    return KlPenalty(
        reference, CachedTower(reference), weight=weight, estimator=k3, temperature=1.0, microbatch_tokens=10_000
    )


def one_by_one(policy, groups):
    """Log-probs and entropies of every completion, each by itself."""
    tower = CachedTower(policy)
    for group in groups:
        for one in group.completions:
            with torch.no_grad():
                scores = token_scores(policy, collate([(group.prompt, one)], CPU), temperature=1.0, tower=tower)
            yield scores.logprobs[0].double(), scores.entropy[0].double()


@pytest.mark.parametrize("selection", [PlainGrpo(), kept(64), EpisodeBuffer(exponent=1.0, episode=99)])
def test_dead_groups_hold_the_policy_from_the_step_on_in_which_a_weight_is_turned_up(
    fresh_policy, reference, tmp_path, selection
):
    """Every group is dead. Nothing is computed while the weight is 0; turned up to 0.5 behind the first step, the loss
    of the second is 0.5 times the mean of k3 over the tokens of all 16 completions."""
    policy, problems = fresh_policy
    weights, heard = [0.0], []
    rows = train(
        policy,
        problems,
        tmp_path,
        steps=2,
        selection=selection,
        blind_after=0,
        learning_rate=0.0,
        minibatch_size=16,
        generate=listening(heard),
        penalty=held_by(reference, lambda step: weights[-1]),
        between=lambda step: weights.append(0.5),
    )
    assert [row["updates"] for row in rows] == [0.0, 1.0]
    assert [row["effective/batch"] for row in rows] == [0.0, 0.0]
    groups = heard[0].groups[4:]
    ours, theirs = (torch.cat([one for one, _ in one_by_one(model, groups)]) for model in (policy, reference))
    difference = theirs - ours
    expected = 0.5 * float((difference.exp() - difference - 1).mean())
    assert expected > 1e-4
    assert rows[1]["loss"] == pytest.approx(expected, rel=1e-3)
    assert rows[1]["loss/penalty"] == pytest.approx(expected, rel=1e-3)
    assert rows[1]["gradient_norm"] > 0
    assert "loss/clip_fraction" not in rows[1]


@pytest.mark.parametrize("selection", [DropDead(), DynamicSampling(groups=4, max_batches=2)])
def test_what_is_dropped_out_of_the_batch_is_in_no_term(fresh_policy, reference, tmp_path, selection):
    policy, problems = fresh_policy
    penalty = held_by(reference, lambda step: 0.5)
    rows = train(policy, problems, tmp_path, steps=1, selection=selection, blind_after=0, penalty=penalty)
    assert rows[0]["updates"] == 0.0


def test_an_entropy_bonus_is_paid_for_dead_groups_too(fresh_policy, tmp_path):
    policy, problems = fresh_policy
    heard = []
    rows = train(
        policy,
        problems,
        tmp_path,
        steps=1,
        selection=PlainGrpo(),
        blind_after=0,
        learning_rate=0.0,
        minibatch_size=16,
        generate=listening(heard),
        bonus=FixedEntropy(0.1),
    )
    entropies = torch.cat([entropy for _, entropy in one_by_one(policy, heard[0].groups)])
    assert rows[0]["loss"] == pytest.approx(-0.1 * float(entropies.mean()), rel=1e-4)
    assert rows[0]["gradient_norm"] > 0


def test_kl_in_the_reward_teaches_in_dead_groups(fresh_policy, reference, tmp_path):
    """An unmoved policy has ratio 1, so the loss is minus the mean over tokens of the advantages; those are what the
    whole completion's log-ratio takes off, against the mean of its group."""
    policy, problems = fresh_policy
    heard = []
    rows = train(
        policy,
        problems,
        tmp_path,
        steps=1,
        selection=PlainGrpo(),
        blind_after=0,
        learning_rate=0.0,
        minibatch_size=16,
        generate=listening(heard),
        penalty=KlInReward(held_by(reference, lambda step: 0.5).reference_logprobs, lambda step: 0.5),
    )
    groups = heard[0].groups
    rows_of = [[one for one, _ in one_by_one(model, groups)] for model in (policy, reference)]
    taken = [0.5 * float((ours - theirs).sum()) for ours, theirs in zip(*rows_of, strict=True)]
    lengths = [len(one) for one in rows_of[0]]
    advantages = [sum(taken[place // 4 * 4 :][:4]) / 4 - value for place, value in enumerate(taken)]
    expected = -sum(one * length for one, length in zip(advantages, lengths, strict=True)) / sum(lengths)
    assert max(map(abs, advantages)) > 1e-2
    assert rows[0]["loss"] == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert rows[0]["reward/kl_penalty"] == pytest.approx(sum(taken) / 16, rel=1e-3)
    assert rows[0]["gradient_norm"] > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("epochs", [1, 2])
def test_before_any_update_no_sequence_lies_outside_the_bounds_of_gspo(fresh_policy, tmp_path, dtype, epochs):
    """With weights that stand still no update has been made, and nothing may be clipped, in no minibatch of no epoch.
    The sampler is shifted by 1e-3 a token on purpose, three times the bounds: against its log-probs all are outside."""
    policy, problems = fresh_policy
    policy = replace(policy, compute_dtype=dtype)
    shares = {}
    for own in (True, False):
        rows = train(
            policy,
            problems,
            tmp_path / str(own),
            steps=2,
            selection=kept(64),
            learning_rate=0.0,
            surrogate=gspo(3e-4, 4e-4),
            reduce=sequence_mean,
            epochs=epochs,
            own=own,
            generate=listening([], -1e-3),
        )
        shares[own] = max(row["loss/clip_fraction"] for row in rows)
    assert rows[1]["buffer/replay_share"] > 0
    assert shares[True] == 0.0
    assert shares[False] > 0.2


def test_in_the_first_update_of_a_step_the_ratio_is_exactly_one(fresh_policy, tmp_path):
    """Its denominators are its numerators, whatever the sampler says; no pass is made for them."""
    policy, problems = fresh_policy
    rows = train(
        policy,
        problems,
        tmp_path,
        steps=2,
        selection=PlainGrpo(),
        minibatch_size=16,
        surrogate=gspo(3e-4, 4e-4),
        reduce=sequence_mean,
        own=True,
        generate=listening([], 0.04),
    )
    assert [row["loss/ratio_mean"] for row in rows] == [1.0, 1.0]
    assert [row["loss/ratio_max"] for row in rows] == [1.0, 1.0]
    assert [row["loss/clip_fraction"] for row in rows] == [0.0, 0.0]


def test_the_gap_between_sampler_and_learner_is_logged_and_has_a_limit(fresh_policy, tmp_path):
    """Shifted by 0.02 nats, the gap is 0.02 in the first update; later ones, which have moved, do not count."""
    policy, problems = fresh_policy
    options = {"selection": PlainGrpo(), "generate": listening([], 0.02), "learning_rate": 1e-2}
    rows = train(policy, problems, tmp_path / "below", steps=1, red_line=0.03, **options)
    assert rows[0]["updates"] == 2.0
    assert rows[0]["integrity/sampler_gap"] == pytest.approx(0.02, abs=1e-4)
    assert rows[0]["integrity/sampler_gap_max"] == pytest.approx(0.02, abs=1e-4)

    before = {name: value.clone() for name, value in policy.model.state_dict().items()}
    options["generate"] = listening([], 0.05)
    with pytest.raises(IntegrityError, match=r"differ by 0\.05 nats .* most in problem train-\d") as error:
        train(policy, problems, tmp_path / "above", steps=1, red_line=0.03, **options)
    assert "\n" not in str(error.value)
    assert all(torch.equal(before[name], value) for name, value in policy.model.state_dict().items()), "nothing learnt"


def test_computing_in_bfloat16_stays_close_and_still_learns(fresh_policy, tmp_path):
    """What a GPU does by default, made to run on a CPU."""
    policy, problems = fresh_policy
    half = replace(policy, compute_dtype=torch.bfloat16)
    members = [
        (group.prompt, one)
        for group in LocalGenerator(half, CachedTower(half)).generate(problems, SAMPLING, seed=0, version=0)
        for one in group.completions
    ]
    batch = collate(members, CPU)
    with torch.no_grad():
        exact = token_scores(policy, batch, temperature=1.0, tower=CachedTower(policy)).logprobs
        rough = token_scores(half, batch, temperature=1.0, tower=CachedTower(half)).logprobs
    assert rough.dtype == torch.float32
    assert 0 < float((exact - rough).abs().max()) < 0.3
    rows = train(half, problems, tmp_path, steps=2, selection=kept(16))
    assert all(np.isfinite(row["loss"]) for row in rows)
    assert all(parameter.dtype == torch.float32 for parameter in half.model.parameters())


def test_a_reward_model_scores_the_same_after_saving_and_equal_completions_once(fresh_policy, tmp_path):
    policy, problems = fresh_policy
    head = fresh_head(policy, 0)
    model = RewardModel(policy, head, CachedTower(policy), Calibration(0.5, 2.0))
    groups = LocalGenerator(policy, CachedTower(policy)).generate(problems[:3], SAMPLING, seed=0, version=0)
    doubled = replace(groups[0], completions=groups[0].completions * 2)
    save_reward_model(model, tmp_path / "rm", example_question="sum?")
    again = load_reward_model(tmp_path / "rm", CPU)
    scorer, restored = (PreferenceScorer(one, one.calibration) for one in (model, again))
    for ours, theirs in zip(scorer.scores(groups), restored.scores(groups), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    np.testing.assert_allclose(scorer.scores([doubled])[0], np.tile(scorer.scores(groups)[0], 2), atol=1e-5)
    raw = scorer.uncalibrated().scores(groups)[0]
    np.testing.assert_allclose(scorer.scores(groups)[0], (raw - 0.5) / 2.0, atol=1e-6)
