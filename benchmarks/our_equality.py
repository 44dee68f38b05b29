"""Our half of lane N: the product's objective, losses and learner on the very completions that the peer trained on.

Two definitions are set to the peer's, from outside: the distribution of a token is over the whole vocabulary (the
product leaves image placeholders out, as its sampler does), and the advantage has the unbiased standard deviation.
BCO's shift is held at 0 by a plain mean that already counts 10^18 rewards.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from safetensors.torch import load_file

from benchmarks.configs import MAX_GRAD_NORM
from benchmarks.ours_grpo import objective_of
from benchmarks.ours_mpo import completion, objective_of_pairs, pair_of, referenced
from benchmarks.ours_rounds import BETAS, CPU
from benchmarks.peer import read_lines
from vergence.advantage.judging import judge
from vergence.buffer.fresh import fresh_draws, zero_advantage_draws
from vergence.correction import stored_clip
from vergence.data.problems import read_problems
from vergence.loss.kl import k3
from vergence.loss.preference import RewardShift
from vergence.model.batch import MICROBATCH_TOKENS, pad
from vergence.model.families.family import ROLES
from vergence.model.logprobs import Head
from vergence.model.parameters import Training, trainable_groups
from vergence.model.policy import Policy, encode, load_policy
from vergence.model.vision import ADAPTER_OUTPUT, CachedTower, LiveTower, Tower
from vergence.stages.grpo.logged import idle_length
from vergence.stages.grpo.penalty import KlPenalty, NoPenalty, Penalty
from vergence.stages.mpo.objective import Quality
from vergence.stages.parts import logprobs_of
from vergence.types import Completion, Doubles, JudgedGroup, Prompt, RolloutGroup, ScoredGroup, TrainingSample
from vergence.update.learner import Learner
from vergence.update.minibatch import deal_groups, minibatches
from vergence.update.schedule import constant

Members = Sequence[tuple[Prompt, Completion]]


@dataclass(frozen=True, slots=True)
class Setting:
    """One case of lane N, as the peer ran it."""

    kind: str
    name: str
    """Folder of the model and of its data, e.g. `tiny-llava`."""
    mu: int
    beta: float
    optimizer: str
    learning_rate: float
    completions: str
    """File of the fixed completions, in the folder of the data; "" for pairs."""


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """What a half leaves behind, in the peer's names (benchmarks/peer_equality.py)."""

    losses: list[float] = field(default_factory=list)
    advantages: list[list[float]] = field(default_factory=list)
    prompt_ids: list[list[int]] = field(default_factory=list)
    logprobs: dict[str, torch.Tensor] = field(default_factory=dict)
    gradient: dict[str, torch.Tensor] = field(default_factory=dict)
    parameters: dict[str, torch.Tensor] = field(default_factory=dict)


def peer_record(folder: Path) -> Record:
    """The peer's half, from its files."""
    result = json.loads((folder / "result.json").read_text())
    prompts = result["prompt_ids"]
    flat = [row for group in prompts for row in group] if result["kind"] == "grpo" else prompts
    tensors = {name: load_file(folder / f"{name}.safetensors") for name in ("logprobs", "gradient", "parameters")}
    return Record(result["losses"], result["advantages"], flat, **tensors)


def whole_vocabulary(policy: Policy, temperature: float) -> Head:
    """The head with no id left out, as the peer has it."""
    none = torch.zeros(0, dtype=torch.long)
    return Head(policy.model.get_output_embeddings(), none, temperature, policy.compute_dtype)


def unbiased(scored: Sequence[ScoredGroup]) -> list[Doubles]:
    """TRL's advantage: (r - mean) / (std + 1e-4) with the unbiased standard deviation."""
    return [(one.rewards - one.rewards.mean()) / (one.rewards.std(ddof=1) + 1e-4) for one in scored]


def our_record(setting: Setting, models: Path) -> Record:
    """Train as the peer did, through the product."""
    record = Record()
    with mock.patch("vergence.model.forward.head_of", whole_vocabulary):
        policy = load_policy(models / setting.name, CPU)
        learner = _learner(policy, setting)
        train = _train_grpo if setting.kind == "grpo" else _train_mpo
        train(policy, learner, setting, models, record)
    record.parameters.update({name: value.detach() for name, value in policy.model.named_parameters()})
    return record


def _learner(policy: Policy, setting: Setting) -> Learner:
    rate = setting.learning_rate
    learner = Learner(
        trainable_groups(policy, {role: Training(False, rate, 0.0) for role in ROLES}),
        betas=BETAS,
        clip_norm=MAX_GRAD_NORM,
        schedule=constant(),
    )
    if setting.optimizer == "sgd":  # the product has AdamW alone; everything else of the step stays its own
        groups = [{"params": group["params"], "lr": rate} for group in learner._optimizer.param_groups]
        learner._optimizer = torch.optim.SGD(groups)  # type: ignore[assignment]
    return learner


def _train_grpo(policy: Policy, learner: Learner, setting: Setting, models: Path, record: Record) -> None:
    tower = LiveTower(policy)
    reference = load_policy(models / setting.name, CPU)
    seen_by_reference = CachedTower(reference, remembered=ADAPTER_OUTPUT)
    penalty: Penalty = NoPenalty()
    if setting.beta > 0:
        penalty = KlPenalty(
            reference,
            seen_by_reference,
            weight=lambda step: setting.beta,
            estimator=k3,
            temperature=1.0,
            microbatch_tokens=MICROBATCH_TOKENS,
        )
    objective = objective_of(policy, tower, penalty)
    for number, lines in enumerate(rounds_of(models / "data" / setting.name / setting.completions)):
        prompts = _prompts(policy, models, setting.name, [line["id"] for line in lines])
        record.prompt_ids.extend(prompt.token_ids.tolist() for prompt in prompts)
        judged = _judged(policy, tower, prompts, lines)
        record.advantages.append([float(value) for group in judged for value in group.advantages])
        samples = _samples(judged, whole=setting.beta > 0)
        places = sum(len(group.advantages) for group in judged)
        members = [(one.draw.sample.prompt, one.draw.sample.completion) for one in samples]
        if number == 0 and setting.mu > 1:
            record.logprobs["old.0"] = pad([one.old_logprobs for one in samples])
        if number == 0 and setting.beta > 0:
            record.logprobs["ref.0"] = _logprobs(reference, seen_by_reference, members)
        penalty.prepare(samples, number)
        for _ in range(setting.mu):
            (whole,) = minibatches(
                samples,
                places=places,
                minibatch_size=places,
                idle_tokens=idle_length(judged),
                deal=deal_groups,
                rng=np.random.default_rng(0),
            )
            step = len(record.losses)
            record.logprobs[f"policy.{step}"] = _logprobs(policy, tower, members)
            if step == 0:
                _keep_gradient(policy, objective(whole), record)
            record.losses.append(learner.update(objective(whole))["loss"])


def _train_mpo(policy: Policy, learner: Learner, setting: Setting, models: Path, record: Record) -> None:
    rows = read_lines(models / "data" / setting.name / "pairs.jsonl")
    prompts = _prompts(policy, models, setting.name, [row["id"] for row in rows])
    record.prompt_ids.extend(prompt.token_ids.tolist() for prompt in prompts)
    tower = LiveTower(policy)
    fresh = [
        pair_of(prompt, completion(row["chosen_ids"]), completion(row["rejected_ids"]))
        for prompt, row in zip(prompts, rows, strict=True)
    ]
    pairs = referenced(fresh, policy, tower)
    quality = Quality(1.0)
    quality.shift = RewardShift(0.0, 10**18, 1.0)
    objective = objective_of_pairs(policy, tower, quality, setting.beta)
    for step in range(4):
        for side in ("chosen", "rejected"):
            responses = [getattr(one.pair, side) for one in pairs]
            now = _logprobs(policy, tower, list(zip(prompts, responses, strict=True)))
            record.logprobs[f"{side}.{step}"] = now
            record.logprobs[f"ref_{side}.{step}"] = pad([getattr(one, f"{side}_reference") for one in pairs])
        if step == 0:
            _keep_gradient(policy, objective(pairs), record)
        record.losses.append(learner.update(objective(pairs))["loss"])


def rounds_of(file: Path) -> list[list[Mapping[str, Any]]]:
    """The lines of a file of completions, round by round."""
    lines = read_lines(file)
    return [list(group) for _, group in groupby(lines, key=lambda line: line["round"])]


def _prompts(policy: Policy, models: Path, name: str, ids: Sequence[str]) -> list[Prompt]:
    problems = {one.id: one for one in read_problems(models / "data" / name / "problems.jsonl", decode=False)}
    return [encode(policy, problems[key]) for key in ids]


def _judged(
    policy: Policy, tower: Tower, prompts: Sequence[Prompt], lines: Sequence[Mapping[str, Any]]
) -> list[JudgedGroup]:
    """The round's completions as if they had just been sampled and judged."""
    groups = []
    for prompt, line in zip(prompts, lines, strict=True):
        bare = [completion(ids) for ids in line["completion_ids"]]
        rows = logprobs_of(
            policy, tower, [(prompt, one) for one in bare], temperature=1.0, microbatch_tokens=MICROBATCH_TOKENS
        )
        known = tuple(completion(one.token_ids, row) for one, row in zip(bare, rows, strict=True))
        rewards = np.asarray(line["rewards"])
        components = {"accuracy": rewards}
        groups.append(ScoredGroup(RolloutGroup(prompt, known), components, components, rewards, rewards))
    return judge(groups, unbiased)


def _samples(judged: Sequence[JudgedGroup], *, whole: bool) -> list[TrainingSample]:
    """What is drawn of them, in the order of the file: with a KL term all of them."""
    draws = fresh_draws(judged) + (zero_advantage_draws(judged) if whole else [])
    drawn = {id(draw.sample.completion): draw for draw in draws}
    every = [one for group in judged for one in group.scored.group.completions]
    return stored_clip()([drawn[id(one)] for one in every if id(one) in drawn])


def _logprobs(policy: Policy, tower: Tower, members: Members) -> torch.Tensor:
    return pad(logprobs_of(policy, tower, members, temperature=1.0, microbatch_tokens=MICROBATCH_TOKENS))


def _keep_gradient(policy: Policy, parts: Sequence[Any], record: Record) -> None:
    for part in parts:
        part().loss.backward()
    for name, parameter in policy.model.named_parameters():
        if parameter.grad is not None:
            record.gradient[name] = parameter.grad.clone()
    policy.model.zero_grad(set_to_none=True)
