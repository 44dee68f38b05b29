"""LoRA, DoRA and 4-bit weights: what is trained, what is left behind, and who can read it."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from families import picture_problems, tiny_policy
from rich.console import Console
from torch import Tensor

from vergence.errors import ModelError, RecipeError
from vergence.loss.preference import MpoWeights
from vergence.model.batch import collate, pad
from vergence.model.families.family import ROLES, Role
from vergence.model.forward import token_scores
from vergence.model.lora import LowRank, attach, low_rank_state, merge, products_of
from vergence.model.parameters import Training, trainable_groups
from vergence.model.plain import compare_with_plain
from vergence.model.policy import Policy, load_policy
from vergence.model.quantized import quantize
from vergence.model.vision import CachedTower
from vergence.model.weights_copy import WeightsCopy
from vergence.recipe.load import load_recipe
from vergence.rollout.local import LocalGenerator
from vergence.run.progress import Progress, Verbosity
from vergence.stages.mpo.objective import Quality, preference_objective
from vergence.stages.run_recipe import run_recipe
from vergence.types import PreferencePair, Problem, RolloutGroup, Sampling, TrainingPair
from vergence.update.learner import Learner
from vergence.update.schedule import constant

CPU = torch.device("cpu")
BOTH = {"vision": Training(True, 0.0, 0.0), "adapter": Training(True, 0.0, 0.0), "language": Training(False, 1.0, 0.0)}


def sampled(policy: Policy, problems: Sequence[Problem]) -> list[RolloutGroup]:
    sampling = Sampling(num_completions=2, max_new_tokens=5, temperature=1.0)
    return LocalGenerator(policy, CachedTower(policy)).generate(problems, sampling, seed=0, version=0)


def logprobs(policy: Policy, groups: Sequence[RolloutGroup]) -> Tensor:
    members = [(group.prompt, one) for group in groups for one in group.completions]
    with torch.no_grad():
        return token_scores(policy, collate(members, CPU), temperature=1.0, tower=CachedTower(policy)).logprobs


def enlarge(policy: Policy) -> None:
    """Updates that are trained, so to speak: B begins at zero, and then there is nothing to see."""
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if ".lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=rng) * 0.1)


@pytest.mark.parametrize(
    ("family", "dora"), [("internvl", False), ("qwen2_5_vl", False), ("gemma3", False), ("llava", True)]
)
def test_updates_begin_as_nothing_train_alone_and_merge(family: str, dora: bool, tmp_path: Path) -> None:
    policy = tiny_policy(family, tmp_path)
    groups = sampled(policy, picture_problems(tmp_path / "pictures", 3))
    before = logprobs(policy, groups)
    attach(policy, {"language": LowRank(rank=4, alpha=8.0, dora=dora, targets=("q_proj", "v_proj"))}, seed=3)
    torch.testing.assert_close(logprobs(policy, groups), before, atol=1e-5, rtol=0)

    (group,) = trainable_groups(policy, BOTH)
    trained = {name for name, one in policy.model.named_parameters() if one.requires_grad}
    assert trained == set(group.parameters)
    assert {name.split(".lora_")[1].split(".")[0] for name in trained} == {"A", "B"} | (
        {"magnitude_vector"} if dora else set()
    )
    members = [(one.prompt, completion) for one in groups for completion in one.completions]
    enlarge(policy)
    compare_with_plain(policy, CachedTower(policy), members, temperature=1.0)  # log-probs and gradients of A and B

    changed = logprobs(policy, groups)
    assert float((changed - before).abs().max()) > 1e-3
    merge(policy)
    assert not low_rank_state(policy)
    torch.testing.assert_close(logprobs(policy, groups), changed, atol=1e-4, rtol=0)


def test_a_rank_of_one_by_hand(tmp_path: Path) -> None:
    """W x + (alpha / r) B A x, with a matrix that is written down here."""
    policy = tiny_policy("llava", tmp_path)
    attach(policy, {"language": LowRank(rank=1, alpha=3.0, dora=False, targets=("o_proj",))}, seed=0)
    layer = policy.model.model.language_model.layers[0].self_attn.o_proj
    state = {name.rsplit("lora_", 1)[1]: one for name, one in low_rank_state(policy).items() if "layers.0." in name}
    enlarge(policy)
    x = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    a, b = state["A.default.weight"], state["B.default.weight"]
    assert (a.shape, b.shape) == ((1, 64), (64, 1))
    expected = x @ layer.get_base_layer().weight.T + 3.0 * torch.outer((x * a[0]).sum(1), b[:, 0])
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


def test_roles_have_ranks_of_their_own(tmp_path: Path) -> None:
    policy = tiny_policy("qwen2_5_vl", tmp_path)
    wanted = {"vision": LowRank(rank=2, alpha=2.0, dora=False), "language": LowRank(rank=6, alpha=3.0, dora=False)}
    attach(policy, wanted, seed=0)
    ranks = {name: one.shape[0] for name, one in low_rank_state(policy).items() if ".lora_A." in name}
    assert {rank for name, rank in ranks.items() if ".visual." in name} == {2}
    assert {rank for name, rank in ranks.items() if ".language_model." in name} == {6}
    assert not any(".merger." in name or "lm_head" in name for name in ranks)  # the adapter lies inside the tower


def test_the_seed_decides_and_a_target_that_is_nowhere_is_named(tmp_path: Path) -> None:
    def drawn(seed: int) -> Tensor:
        policy = tiny_policy("llava", tmp_path)
        attach(policy, {"language": LowRank(rank=2, alpha=2.0, dora=False)}, seed=seed)
        return torch.cat([one.flatten() for one in low_rank_state(policy).values()])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    with pytest.raises(ModelError, match=r"no product is called w_pack; this model's are down_proj, gate_proj"):
        products_of(tiny_policy("llava", tmp_path), "language", ("q_proj", "w_pack"))


RECIPE = """
name = "updated"
device = "cpu"
[compute]
frozen_weights = "{weights}"
[data]
type = "files"
train = "{folder}/data.jsonl"
tuning = "{folder}/data.jsonl"
test = "{folder}/data.jsonl"
[[stage]]
type = "load"
path = "{model}"
[[stage]]
type = "grpo"
name = "first"
steps = 2
prompts_per_step = 4
minibatch_size = {minibatch}
sampling = {{ num_completions = 4, max_new_tokens = 4 }}
reward = {{ preset = "rules", overlong = 1.0, overlong_margin = 1.0 }}
buffer = {{ effective_on = "total" }}
evaluation = {{ every = 10, problems = 2, blank_problems = 0 }}
monitor = {{ mode = "off" }}
{more}
[stage.train]
save = "{save}"
adapter = {{ freeze = true, learning_rate = 0.0 }}
[stage.train.language]
learning_rate = 0.05
lora = {{ rank = 2, alpha = 4, dora = {dora} }}
[[stage]]
type = "grpo"
name = "second"
steps = 1
prompts_per_step = 4
minibatch_size = 8
sampling = {{ num_completions = 4, max_new_tokens = 4 }}
reward = {{ preset = "rules", overlong = 1.0, overlong_margin = 1.0 }}
buffer = {{ effective_on = "total" }}
evaluation = {{ every = 10, problems = 2, blank_problems = 0 }}
monitor = {{ mode = "off" }}
[stage.train]
save = "{save}"
adapter = {{ freeze = true, learning_rate = 0.0 }}
[stage.train.language]
learning_rate = 0.05
lora = {{ rank = 2, alpha = 4, dora = {dora} }}
"""


def run(
    tmp_path: Path,
    *,
    save: str,
    weights: str = "full",
    dora: bool = False,
    more: str = "",
    minibatch: int = 8,
    stop_after: str | None = None,
) -> Path:
    tiny_policy("llava", tmp_path)
    problems = picture_problems(tmp_path / "pictures", 4)
    rows = [{"id": one.id, "question": one.question, "images": [], "answer": one.answer} for one in problems]
    for row, one in zip(rows, problems, strict=True):
        row["images"] = [image.path for image in one.images]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "recipe.toml"
    path.write_text(
        RECIPE.format(
            folder=tmp_path,
            model=tmp_path / "llava-0",
            save=save,
            weights=weights,
            dora=str(dora).lower(),
            more=more,
            minibatch=minibatch,
        )
    )
    out = tmp_path / "run"
    run_recipe(load_recipe(str(path)), out, Progress(Console(quiet=True), Verbosity.QUIET), stop_after=stop_after)
    return out


def weights_of(directory: Path) -> dict[str, Tensor]:
    return dict(load_policy(directory, CPU).model.named_parameters())


def test_a_merged_stage_leaves_an_ordinary_checkpoint(tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText

    out = run(tmp_path, save="merged")
    before, after = weights_of(tmp_path / "llava-0"), weights_of(out / "final")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert before.keys() == after.keys()
    assert changed
    assert all(".language_model." in name and "_proj" in name for name in changed)
    plain = AutoModelForImageTextToText.from_pretrained(out / "final", dtype=torch.float32)
    assert all(torch.equal(one, after[name]) for name, one in plain.named_parameters())


def test_updates_alone_are_read_by_peft_and_by_us(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    out = run(tmp_path, save="updates", dora=True)
    folder = out / "checkpoints" / "first" / "policy"
    assert not list(folder.glob("model*.safetensors"))
    ours = load_policy(folder, CPU)
    base = AutoModelForImageTextToText.from_pretrained(tmp_path / "llava-0", dtype=torch.float32)
    theirs = PeftModel.from_pretrained(base, folder).eval()
    ids = torch.arange(10, 40)[None]
    with torch.no_grad():
        torch.testing.assert_close(ours.model(ids).logits, theirs(ids).logits, atol=1e-4, rtol=0)
        assert not torch.allclose(ours.model(ids).logits, tiny_policy("llava", tmp_path).model(ids).logits, atol=1e-3)
    # the second stage's updates belong to the first stage's model, which is updates itself
    config = json.loads((out / "final" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(folder)
    assert not torch.equal(
        weights_of(out / "final")["model.language_model.layers.0.self_attn.q_proj.weight"],
        dict(ours.model.named_parameters())["model.language_model.layers.0.self_attn.q_proj.weight"],
    )


def test_updates_whose_model_is_gone_say_so(tmp_path: Path) -> None:
    out = run(tmp_path, save="updates", stop_after="first")
    folder = out / "checkpoints" / "first" / "policy"
    (tmp_path / "llava-0" / "config.json").rename(tmp_path / "elsewhere.json")
    with pytest.raises(ModelError, match=r"holds low-rank updates of .*llava-0, where no checkpoint is"):
        load_policy(folder, CPU)


def test_what_is_trained_in_four_bits_is_saved_in_full(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="4-bit weights need bitsandbytes")
    out = run(tmp_path, save="merged", weights="4bit", stop_after="first")
    before, after = weights_of(tmp_path / "llava-0"), weights_of(out / "checkpoints" / "first" / "policy")
    assert before.keys() == after.keys()
    for name, one in before.items():
        difference = after[name] - one
        if ".language_model." in name and "_proj" in name:
            assert torch.linalg.matrix_rank(difference, atol=1e-5) <= 2, name  # nothing of the rounding to 4 bits
        else:
            assert torch.equal(one, after[name]), name
    assert any(not torch.equal(one, after[name]) for name, one in before.items())


def test_four_bits_are_near_the_weights_and_hold_a_fraction_of_their_memory(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="4-bit weights need bitsandbytes")
    policy = tiny_policy("llava", tmp_path)
    names = products_of(policy, "language")
    linear = policy.model.get_submodule(names[0])
    x = torch.randn(8, linear.in_features, generator=torch.Generator().manual_seed(0))
    exact, bytes_before = linear(x), linear.weight.nbytes
    quantize(policy, names)
    packed = policy.model.get_submodule(names[0])
    error = float((packed(x) - exact).norm() / exact.norm())
    assert 0.005 < error < 0.2
    assert packed.weight.nbytes * 7 < bytes_before
    assert not any(parameter.requires_grad for parameter in policy.model.parameters())


def frozen(*roles: Role) -> dict[Role, Training]:
    return {role: Training(role in roles, 0.0 if role in roles else 0.05, 0.0) for role in ROLES}


@pytest.mark.parametrize(
    "full", [frozen("vision", "adapter"), frozen("vision")], ids=["updates", "updates-and-adapter"]
)
@pytest.mark.parametrize("bits", [32, 4])
def test_a_reference_is_the_policy_before_its_first_update_and_costs_what_is_trained(
    bits: int, full: dict[Role, Training], tmp_path: Path
) -> None:
    """Exactly so at first; later it is the model without updates, with the adapter that it had."""
    policy = tiny_policy("llava", tmp_path)
    groups = sampled(policy, picture_problems(tmp_path / "pictures", 3))
    if bits == 4:
        pytest.importorskip("bitsandbytes", reason="4-bit weights need bitsandbytes")
        quantize(policy, products_of(policy, "language"))
    without = logprobs(policy, groups)  # the same products, and nothing attached
    attach(policy, {"language": LowRank(rank=2, alpha=8.0, dora=False, targets=("q_proj",))}, seed=3)
    trained = [one for group in trainable_groups(policy, full) for one in group.parameters.values()]
    reference = WeightsCopy.of_trained(policy, full)
    # 2 layers x 2 x (64 + 64); the adapter: 32 x 64 + 64, then 64 x 64 + 64
    assert 512 + (0 if full["adapter"].freeze else 6272) == reference.num_parameters
    with reference.in_place():
        assert torch.equal(logprobs(policy, groups), without)
    assert torch.equal(logprobs(policy, groups), without)

    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for one in trained:
            one.add_(torch.randn(one.shape, generator=rng) * 0.1)
    now = logprobs(policy, groups)
    assert float((now - without).abs().max()) > 1e-3
    with reference.in_place():
        assert torch.equal(logprobs(policy, groups), without)
    assert torch.equal(logprobs(policy, groups), now)


@pytest.mark.parametrize("weights", ["full", "4bit"])
def test_the_kl_of_the_first_update_is_nothing(weights: str, tmp_path: Path) -> None:
    """The first update finds the policy where its reference is, rounding to 4 bits included; the second does not."""
    if weights == "4bit":
        pytest.importorskip("bitsandbytes", reason="4-bit weights need bitsandbytes")
    more = "kl_weight = 1.0"
    out = run(tmp_path, save="merged", weights=weights, more=more, minibatch=16, stop_after="first")
    first, second = [json.loads(line)["loss/penalty"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert 0.0 <= first < 1e-10
    assert second > 1e-3


def test_the_reference_of_a_round_of_pairs_is_the_policy_that_begins_it(tmp_path: Path) -> None:
    """Implicit rewards are zero again in the second round, where updates that are switched off would be another one."""
    policy = tiny_policy("llava", tmp_path)
    problems, tower = picture_problems(tmp_path / "pictures", 3), CachedTower(policy)
    attach(policy, {"language": LowRank(rank=2, alpha=8.0, dora=False)}, seed=3)
    trained = frozen("vision", "adapter")
    learner = Learner(trainable_groups(policy, trained), betas=(0.9, 0.99), clip_norm=1.0, schedule=constant())
    begun = WeightsCopy.of_trained(policy, trained)
    objective = preference_objective(
        policy,
        tower,
        quality=Quality(0.9),
        beta=0.1,
        weights=MpoWeights(1.0, 0.0, 0.0),
        microbatch_tokens=10_000,
        check=lambda members: None,
    )
    for round_ in range(2):
        groups = sampled(policy, problems)
        pairs = [
            TrainingPair(
                PreferencePair(one.prompt, *one.completions, 1.0, "correctness"),
                *(each.sampler_logprobs for each in one.completions),
            )
            for one in groups
        ]
        first, second = [learner.update(objective(pairs)) for _ in range(2)]
        assert abs(first["mpo/chosen_reward"]) < 1e-5
        assert abs(second["mpo/chosen_reward"]) > 1e-3
        with begun.in_place():
            off = logprobs(policy, groups)
        drawn = pad([one.sampler_logprobs for group in groups for one in group.completions])
        assert (round_ == 0) is torch.allclose(off, drawn, atol=1e-4)


@pytest.mark.parametrize(
    ("train", "told"),
    [
        ("language = { freeze = true, learning_rate = 0.0, lora = { rank = 2 } }", "frozen, and lora is given"),
        ('save = "updates"\nlanguage = { lora = { rank = 2 } }', 'save = "updates" keeps low-rank updates alone'),
        ("language = { lora = { rank = 0 } }", "greater than 0"),
        ("adapter = { lora = { dora = true } }\nlanguage = { lora = { rank = 2 } }", "use the same for both"),
    ],
)
def test_recipes_that_do_not_go_together_are_refused(train: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    head = RECIPE.split("[stage.train]")[0].format(
        folder=tmp_path, model=tmp_path, weights="full", more="", minibatch=8
    )
    path.write_text(f"{head}[stage.train]\n{train}\n")
    with pytest.raises(RecipeError, match=told):
        load_recipe(str(path))
