"""Frozen weights in bfloat16: half the memory, and the same numbers where passes compute in it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from families import DISTINCT, picture_problems, tiny_policy
from rich.console import Console
from torch import Tensor

from vergence.errors import RecipeError
from vergence.model.batch import collate
from vergence.model.bfloat16 import hold_in_bfloat16
from vergence.model.families.family import ROLES, Role
from vergence.model.forward import token_scores
from vergence.model.lora import LowRank, attach
from vergence.model.parameters import Training, trainable_groups
from vergence.model.policy import Policy, load_policy
from vergence.model.vision import LiveTower
from vergence.recipe.load import load_recipe
from vergence.rollout.local import LocalGenerator
from vergence.run.progress import Progress, Verbosity
from vergence.stages.run_recipe import run_recipe
from vergence.types import Problem, RolloutGroup, Sampling

CPU = torch.device("cpu")


def stored_in_bfloat16(family: str, folder: Path) -> Policy:
    """A policy that computes in bfloat16, as it is read from a checkpoint of that type: float32, each of 16 bits."""
    policy = replace(tiny_policy(family, folder), compute_dtype=torch.bfloat16)
    with torch.no_grad():
        for one in policy.model.parameters():
            one.copy_(one.to(torch.bfloat16))
    return policy


def drawn(policy: Policy, problems: Sequence[Problem]) -> list[RolloutGroup]:
    sampling = Sampling(num_completions=2, max_new_tokens=5, temperature=1.0)
    return LocalGenerator(policy, LiveTower(policy)).generate(problems, sampling, seed=0, version=0)


def scores_and_gradients(policy: Policy, groups: Sequence[RolloutGroup], trained: Sequence[str]) -> list[Tensor]:
    members = [(group.prompt, one) for group in groups for one in group.completions]
    parameters = dict(policy.model.named_parameters())
    logprobs = token_scores(policy, collate(members, CPU), temperature=1.0, tower=LiveTower(policy)).logprobs
    return [logprobs.detach(), *torch.autograd.grad(logprobs.square().sum(), [parameters[name] for name in trained])]


def training(*trained: Role) -> dict[Role, Training]:
    return {role: Training(role not in trained, 0.1, 0.0) for role in ROLES}


@pytest.mark.parametrize("family", DISTINCT)
def test_what_is_sampled_scored_and_learnt_is_the_same_to_the_bit(family: str, tmp_path: Path) -> None:
    problems = picture_problems(tmp_path / "pictures", 3)
    full, short = stored_in_bfloat16(family, tmp_path), stored_in_bfloat16(family, tmp_path)
    names = [
        name
        for policy in (full, short)
        for group in trainable_groups(policy, training("adapter"))
        for name in group.parameters
    ]
    trained = names[: len(names) // 2]
    hold_in_bfloat16(short, trained)
    groups = drawn(full, problems)
    for ours, theirs in zip(drawn(short, problems), groups, strict=True):
        for one, other in zip(ours.completions, theirs.completions, strict=True):
            assert one.token_ids.tolist() == other.token_ids.tolist()
            assert one.sampler_logprobs.tolist() == other.sampler_logprobs.tolist()
    pairs = zip(scores_and_gradients(full, groups, trained), scores_and_gradients(short, groups, trained), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_products_embeddings_and_nothing_else_take_half(tmp_path: Path) -> None:
    policy = stored_in_bfloat16("llava", tmp_path)
    groups = trainable_groups(policy, training("adapter"))
    hold_in_bfloat16(policy, list(groups[0].parameters))
    dtypes = {name: one.dtype for name, one in policy.model.named_parameters()}
    short = {name for name, dtype in dtypes.items() if dtype == torch.bfloat16}
    assert {torch.bfloat16, torch.float32} == set(dtypes.values())
    assert not short & groups[0].parameters.keys()
    layer = "model.language_model.layers.0"
    assert {"lm_head.weight", f"{layer}.mlp.up_proj.weight", "model.language_model.embed_tokens.weight"} <= short
    assert {f"{layer}.input_layernorm.weight", "model.vision_tower.embeddings.position_embedding.weight"}.isdisjoint(
        short
    )
    embedded = policy.model.get_input_embeddings()(torch.tensor([3]))
    assert embedded.dtype == torch.float32


def test_low_rank_updates_of_frozen_weights_stay_in_full(tmp_path: Path) -> None:
    problems = picture_problems(tmp_path / "pictures", 3)
    policies = [stored_in_bfloat16("llava", tmp_path) for _ in range(2)]
    for policy in policies:
        attach(policy, {"language": LowRank(rank=2, alpha=8.0, dora=False)}, seed=3)
        names = list(trainable_groups(policy, training("language"))[0].parameters)
    hold_in_bfloat16(policies[1], names)
    parameters = dict(policies[1].model.named_parameters())
    assert {torch.float32} == {parameters[name].dtype for name in names}
    assert torch.bfloat16 == parameters["model.language_model.layers.0.mlp.up_proj.base_layer.weight"].dtype
    groups = drawn(policies[0], problems)
    full, short = [scores_and_gradients(policy, groups, names) for policy in policies]
    assert all(torch.equal(one, other) for one, other in zip(full, short, strict=True))


RECIPE = """
name = "frozen"
device = "cpu"
threads = 1
[compute]
dtype = "bfloat16"
frozen_weights = "{held}"
[data]
type = "files"
train = "{folder}/data.jsonl"
tuning = "{folder}/data.jsonl"
test = "{folder}/data.jsonl"
[[stage]]
type = "load"
path = "{folder}/llava-0"
[[stage]]
type = "grpo"
steps = 2
prompts_per_step = 4
minibatch_size = 8
sampling = {{ num_completions = 4, max_new_tokens = 4 }}
reward = {{ preset = "rules", overlong = 1.0, overlong_margin = 1.0 }}
buffer = {{ effective_on = "total" }}
evaluation = {{ every = 10, problems = 2, blank_problems = 0 }}
monitor = {{ mode = "off" }}
[stage.train]
language = {{ freeze = true, learning_rate = 0.0 }}
"""


def trained_weights(tmp_path: Path, held: str) -> dict[str, Tensor]:
    """Of what a run leaves behind."""
    path, out = tmp_path / f"{held}.toml", tmp_path / held
    path.write_text(RECIPE.format(folder=tmp_path, held=held))
    run_recipe(load_recipe(str(path)), out, Progress(Console(quiet=True), Verbosity.QUIET), stop_after=None)
    return dict(load_policy(out / "final", CPU).model.named_parameters())


def test_a_run_leaves_the_same_checkpoint_and_full_weights(tmp_path: Path) -> None:
    """The checkpoint is of float32, and what is saved has none of the rounding.

    Its embeddings have 16 bits, so that nothing of the run is rounded either.
    """
    policy = tiny_policy("llava", tmp_path)
    with torch.no_grad():
        table = policy.model.get_input_embeddings().weight
        table.copy_(table.to(torch.bfloat16))
    policy.model.save_pretrained(tmp_path / "llava-0")
    rows = [
        {"id": one.id, "question": one.question, "images": [image.path for image in one.images], "answer": one.answer}
        for one in picture_problems(tmp_path / "pictures", 4)
    ]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    before, full, short = (
        dict(policy.model.named_parameters()),
        *(trained_weights(tmp_path, held) for held in ("full", "bfloat16")),
    )
    assert all(torch.equal(one, short[name]) for name, one in full.items())
    changed = {name for name, one in before.items() if not torch.equal(one, short[name])}
    assert changed
    assert all("multi_modal_projector" in name for name in changed)


@pytest.mark.parametrize(
    "compute", ['dtype = "float32"\nfrozen_weights = "bfloat16"', 'frozen_weights = "bfloat16"'], ids=["said", "cpu"]
)
def test_passes_in_float32_refuse_it_in_one_line(compute: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(
        RECIPE.format(folder=tmp_path, held="full").replace('dtype = "bfloat16"\nfrozen_weights = "full"', compute)
    )
    with pytest.raises(RecipeError, match=r'frozen_weights = "bfloat16" needs passes that compute in bfloat16'):
        load_recipe(str(path))
    if "dtype" not in compute:  # a device that is chosen when the run begins
        path.write_text(path.read_text().replace('device = "cpu"', 'device = "auto"'))
        if not torch.cuda.is_available():
            with pytest.raises(RecipeError, match=r'these compute in float32 \(dtype = "auto"\)'):
                run_recipe(
                    load_recipe(str(path)),
                    tmp_path / "out",
                    Progress(Console(quiet=True), Verbosity.QUIET),
                    stop_after=None,
                )
            assert not (tmp_path / "out").exists()
