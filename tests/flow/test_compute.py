"""How passes are computed changes no result: micro-batches, checkpointing and self-check through the real command."""

import tomllib

import numpy as np
import pytest
import torch
from families import picture_problems, tiny_policy

from flow.conftest import overrides, rows, vergence
from vergence.errors import SelfCheckError
from vergence.model.batch import collate
from vergence.model.checkpointing import checkpoint_layers
from vergence.model.forward import token_scores
from vergence.model.plain import compare_with_plain
from vergence.model.policy import encode
from vergence.model.shared_prefix import SharedPrefix
from vergence.model.short_prefix import ShortPrefix
from vergence.model.vision import LiveTower
from vergence.types import Completion, Finish

RECIPE = """\
name = "compute"
[data]
type = "digits"
train = 32
captions = 8
tuning = 8
test = 8
[[stage]]
type = "load"
path = "{model}"
[[stage]]
type = "grpo"
steps = 2
prompts_per_step = 8
minibatch_size = 32
epochs = 2
kl_weight = 0.05
sampling.num_completions = 4
sampling.max_new_tokens = 12
reward.preset = "rules"
buffer.capacity = 32
train.vision = {{ freeze = false, learning_rate = 1e-4 }}
evaluation = {{ every = 2, problems = 8, blank_problems = 4 }}
monitor.every = 1
"""
CPU = torch.device("cpu")


def test_micro_batches_checkpointing_and_the_self_check_leave_the_numbers_as_they_are(small_run, tmp_path):
    """A trained tower, a KL term, two epochs. The self-check would stop the run if anything were computed wrongly."""
    (tmp_path / "recipe.toml").write_text(RECIPE.format(model=small_run / "checkpoints" / "align" / "policy"))
    plain, other = tmp_path / "plain", tmp_path / "other"
    vergence("run", tmp_path / "recipe.toml", "--out", plain, "--quiet")
    settings = ("compute.microbatch_tokens=60", "compute.gradient_checkpointing=true", "compute.self_check=true")
    vergence("run", tmp_path / "recipe.toml", "--out", other, "--quiet", *overrides(*settings))
    assert tomllib.loads((other / "recipe.toml").read_text())["compute"]["microbatch_tokens"] == 60
    left, right = ([row for row in rows(path / "metrics.jsonl") if row["stage"] == "grpo"] for path in (plain, other))
    assert len(left) == len(right) == 2
    assert left[0]["updates"] == 2.0, "one minibatch, twice"
    for name in ("loss", "gradient_norm", "loss/entropy", "loss/ratio_mean", "loss/ratio_max", "loss/clip_fraction"):
        assert left[0][name] == pytest.approx(right[0][name], rel=1e-3, abs=1e-5), name
    assert left[0]["work/needed_share"] > 0.85
    assert left[0]["work/pictures_preprocessed"] == 8.0, "policy and reference read the same pixels"
    for phase in ("generate", "reward", "old", "reference", "monitor", "forward", "backward", "optimizer"):
        assert left[0][f"seconds/{phase}"] >= 0


@pytest.mark.parametrize("pattern", [SharedPrefix, ShortPrefix])
def test_the_self_check_fails_loudly_where_attention_is_wrong(pattern, tmp_path, monkeypatch):
    """Completions that do not see their prompt: finite numbers, plausible losses, and wrong."""
    policy = tiny_policy("internvl", tmp_path)
    policy.model.requires_grad_(True)
    lengths = (3, 5) if pattern is ShortPrefix else (70, 3)
    members = [
        (prompt, Completion(np.arange(10, 10 + length) % 30 + 8, np.zeros(length, np.float32), Finish.LENGTH, 0, ""))
        for prompt in [encode(policy, picture_problems(tmp_path / "pictures", 1)[0])]
        for length in lengths
    ]
    tower = LiveTower(policy)
    compare_with_plain(policy, tower, members, temperature=1.0)
    right = pattern.attend

    def blind(self, layer, query, key, value, scale):
        split = self.packing.num_prompt_tokens
        return right(self, layer, query, torch.cat([key[:split] * 0, key[split:]]), value, scale)

    monkeypatch.setattr(pattern, "attend", blind)
    with pytest.raises(SelfCheckError, match="log-probs of the shared computation differ"):
        compare_with_plain(policy, tower, members, temperature=1.0)


def test_checkpointed_layers_keep_less_and_give_the_same_gradient(tmp_path):
    policy = tiny_policy("llava", tmp_path)
    policy.model.requires_grad_(True)
    prompt = encode(policy, picture_problems(tmp_path / "pictures", 1)[0])
    one = Completion(np.arange(10, 30), np.zeros(20, np.float32), Finish.LENGTH, 0, "")
    batch, tower = collate([(prompt, one)], CPU), LiveTower(policy)

    def gradient() -> tuple[int, torch.Tensor]:
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: (kept.append(tensor.numel()), tensor)[1], lambda tensor: tensor
        ):
            loss = token_scores(policy, batch, temperature=1.0, tower=tower).logprobs.sum()
        grads = torch.autograd.grad(loss, list(policy.model.parameters()), allow_unused=True)
        return sum(kept), torch.cat([one.flatten() for one in grads if one is not None])

    whole, expected = gradient()
    checkpoint_layers(policy)
    less, found = gradient()
    assert less < whole
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    dropout = [module for module in policy.model.modules() if isinstance(module, torch.nn.Dropout)]
    assert not any(module.training for module in dropout)
