"""Rounds of preference optimisation on a tiny model: what a round's reference is, at every sampling temperature, and
what the vision integrity guard says to it. Only the verdicts are made up; the rest of the stage is the real one.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from families import model_inputs, never_written, picture_problems, tiny_policy
from rich.console import Console

from vergence.errors import IntegrityError
from vergence.model.policy import Policy
from vergence.pairs.pool import PairPool
from vergence.pairs.rules import rules_only
from vergence.recipe.load import load_recipe
from vergence.rollout.local import LocalGenerator
from vergence.run.progress import Progress, Verbosity
from vergence.stages.mpo import pairing
from vergence.stages.mpo.blind import unmeasured
from vergence.stages.mpo.judging import PairJudge
from vergence.stages.run_recipe import run_recipe
from vergence.types import Completion, Doubles, Grade, Prompt, RolloutGroup, ScoredGroup, TrainingPair, Verdict

RECIPE = """
name = "rounds"
device = "cpu"
threads = 1
[integrity]
prompts = 6
[data]
type = "files"
train = "{folder}/data.jsonl"
tuning = "{folder}/data.jsonl"
test = "{folder}/data.jsonl"
[[stage]]
type = "load"
path = "{model}"
[[stage]]
type = "mpo"
rounds = 2
steps_per_round = 2
prompts_per_round = 6
batch_size = 4
sampling = {{ num_completions = 2, max_new_tokens = 6, temperature = {temperature} }}
pairs = {{ judge = "rules", sources = ["rules", "dropout"], max_length_ratio = 99 }}
evaluation = {{ every = 10, problems = 2, blank_problems = 0 }}
monitor = {{ mode = "off" }}
"""


def alternating(groups: Sequence[RolloutGroup]) -> list[ScoredGroup]:
    """The first response of a group of two is right, the second wrong; a single one, a continuation, is wrong."""

    def judged(group: RolloutGroup) -> ScoredGroup:
        count = len(group.completions)
        right: Doubles = np.array([float(count > 1 and place == 0) for place in range(count)])
        components: Mapping[str, Doubles] = {"accuracy": right, "format": np.ones(count)}
        grades = tuple(Grade(Verdict.CORRECT if one else Verdict.WRONG, None, "scripted") for one in right)
        return ScoredGroup(group, components, components, right, right, grades)

    return [judged(group) for group in groups]


class Ran:
    """What a run went through."""

    def __init__(self, folder: Path, policy: Policy, temperature: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log = folder / "run" / "metrics.jsonl"
        self.sampled: list[list[RolloutGroup]] = []
        self.pools: list[list[TrainingPair]] = []
        refill, generate = PairPool.refill, LocalGenerator.generate

        def kept(pool: PairPool, pairs: Sequence[TrainingPair]) -> None:
            self.pools.append(list(pairs))
            refill(pool, pairs)

        def drawn(generator, problems, sampling, *, seed, version):  # type: ignore[no-untyped-def]
            groups = generate(generator, problems, sampling, seed=seed, version=version)
            if sampling.temperature > 0:
                self.sampled.append(groups)
            return groups

        judge = PairJudge(alternating, rules_only, unmeasured)
        monkeypatch.setattr(PairPool, "refill", kept)
        monkeypatch.setattr(LocalGenerator, "generate", drawn)
        monkeypatch.setattr(pairing, "judge_for", lambda section, context, models: (judge, {}))
        (folder / "recipe.toml").write_text(
            RECIPE.format(folder=folder, model=policy.model.name_or_path, temperature=temperature)
        )
        self.recipe = folder / "recipe.toml"

    def go(self) -> list[dict[str, float]]:
        """The lines of the stage."""
        progress = Progress(Console(quiet=True), Verbosity.QUIET)
        run_recipe(load_recipe(str(self.recipe), []), self.recipe.parent / "run", progress, stop_after=None)
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line["stage"] == "mpo"]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return tiny_policy("llava", tmp_path_factory.mktemp("models"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [
        {"id": one.id, "question": one.question, "images": [image.path for image in one.images], "answer": one.answer}
        for one in picture_problems(tmp_path / "pictures", 6)
    ]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@torch.no_grad()
def plain(policy: Policy, prompt: Prompt, completion: Completion, temperature: float) -> np.ndarray:
    """[T] by the model's own forward pass, with the pictures, one sequence alone."""
    ids = torch.from_numpy(np.concatenate([prompt.token_ids, completion.token_ids]))[None]
    logits = policy.model(**model_inputs(policy, prompt, ids)).logits[0, len(prompt.token_ids) - 1 : -1].float()
    logits[:, never_written("llava")] = float("-inf")
    return (logits / temperature).log_softmax(-1).gather(1, ids[0, len(prompt.token_ids) :, None])[:, 0].numpy()


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.3])
def test_a_pairs_reference_is_the_policy_at_temperature_1_and_sampling_keeps_its_own_log_probs(
    policy: Policy, folder: Path, monkeypatch: pytest.MonkeyPatch, temperature: float
) -> None:
    """The guard, which compares sampling with the model's own forward pass, finds rounding alone in every round."""
    ran = Ran(folder, policy, temperature, monkeypatch)
    lines = ran.go()
    begun = [line for line in lines if "pairs/kept" in line]
    assert len(begun) == len(ran.pools) == 2
    assert all(line["integrity/gap_max"] < 1e-4 for line in begun)
    assert all(abs(line["mpo/chosen_reward"]) < 1e-5 > abs(line["mpo/rejected_reward"]) for line in begun)
    first = ran.pools[0]  # by the policy as it was loaded
    assert {one.pair.source for one in first} == {"correctness", "dropout"}
    for one in first:
        for side, reference in ((one.pair.chosen, one.chosen_reference), (one.pair.rejected, one.rejected_reference)):
            np.testing.assert_allclose(reference, plain(policy, one.pair.prompt, side, 1.0), atol=1e-4)
    for group in ran.sampled[0]:
        for one in group.completions:
            expected = plain(policy, group.prompt, one, temperature)
            np.testing.assert_allclose(one.sampler_logprobs, expected, atol=1e-4)


@pytest.mark.parametrize("temperature", [1.3])
def test_log_probs_of_another_temperature_than_samplings_still_stop_the_run(
    policy: Policy, folder: Path, monkeypatch: pytest.MonkeyPatch, temperature: float
) -> None:
    """Planted: from the second round on sampling draws at another temperature than it is asked for."""
    ran = Ran(folder, policy, temperature, monkeypatch)
    honest = LocalGenerator.generate

    def drawn(generator, problems, sampling, *, seed, version):  # type: ignore[no-untyped-def]
        wrong = type(sampling)(num_completions=2, max_new_tokens=6, temperature=2 * temperature)
        asked = wrong if version and sampling.temperature > 0 else sampling
        return honest(generator, problems, asked, seed=seed, version=version)

    monkeypatch.setattr(LocalGenerator, "generate", drawn)
    with pytest.raises(IntegrityError, match="log-probs of sampling and of training differ by"):
        ran.go()
    assert len(ran.log.read_text().splitlines()) == 2, "the first round is healthy"
