"""The state of a batch that is decoded, and one completion at a time for a person who watches."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from families import DISTINCT, IMAGE_TOKEN, picture_problems, tiny_policy
from torch.utils._python_dispatch import TorchDispatchMode

from vergence.model.policy import encode
from vergence.model.vision import CachedTower
from vergence.rollout.decoder import GroupDecoder, few_threads
from vergence.rollout.local import LocalGenerator
from vergence.rollout.stream import stream_tokens
from vergence.types import Sampling


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("decoder")


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@torch.no_grad()
def test_rows_of_a_group_begin_alike_and_part_with_their_tokens(folder: Path) -> None:
    """Two prompts with two rows each; rows that get the same token stay equal, and dropping rows moves no other."""
    policy = tiny_policy("qwen2_5_vl", folder)
    prompts = [encode(policy, problem) for problem in picture_problems(folder / "pictures", 2)]
    sampling = Sampling(num_completions=2, max_new_tokens=4, temperature=0.5)
    decoder = GroupDecoder(policy, prompts, CachedTower(policy), sampling)
    first = decoder.logits()
    assert first.shape == (4, decoder.vocabulary)
    assert decoder.vocabulary == policy.model.get_output_embeddings().weight.shape[0]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[1], first[2])
    assert bool((first[:, IMAGE_TOKEN] == float("-inf")).all())
    decoder.append(torch.tensor([10, 10, 10, 11]))
    second = decoder.logits()
    torch.testing.assert_close(second[0], second[1])
    assert not torch.allclose(second[2], second[3])
    decoder.keep(torch.tensor([1, 3]))
    torch.testing.assert_close(decoder.logits(), second[[1, 3]])


class Casts(TorchDispatchMode):
    """How often each of some tensors, by address, was copied into another type."""

    def __init__(self, weights: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self._names = {one.data_ptr(): name for name, one in weights.items()}
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._to_copy.default and args[0].data_ptr() in self._names:
            self.counts[self._names[args[0].data_ptr()]] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("trained", [False, True])
def test_a_weight_is_cast_once_for_the_prompts_and_once_for_all_tokens(trained: bool, folder: Path) -> None:
    """Ten tokens in bfloat16; every product of a token would cast its weight anew otherwise."""
    policy = replace(tiny_policy("llava", folder), compute_dtype=torch.bfloat16)
    policy.model.model.language_model.requires_grad_(trained)
    weights = {
        name: one for name, one in policy.model.named_parameters() if "_proj.weight" in name and "language" in name
    }
    sampling = Sampling(num_completions=2, max_new_tokens=10, temperature=1.0)
    generator = LocalGenerator(policy, CachedTower(policy))
    problems = picture_problems(folder / "pictures", 2)
    with Casts(weights) as casts:
        groups = generator.generate(problems, sampling, seed=0, version=0)
    assert max(len(one.token_ids) for group in groups for one in group.completions) > 3
    assert weights.keys() == casts.counts.keys()
    assert {2} == set(casts.counts.values())
    assert {trained} == {one.requires_grad for one in weights.values()}
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("name", DISTINCT)
def test_a_stream_is_the_first_completion_of_a_group(name: str, folder: Path) -> None:
    """Text after every token, without the end token."""
    policy = tiny_policy(name, folder)
    tower = CachedTower(policy)
    sampling = Sampling(num_completions=2, max_new_tokens=12, temperature=1.0)
    for problem in picture_problems(folder / "pictures", 4):
        group = LocalGenerator(policy, tower).generate([problem], sampling, seed=5, version=0)[0]
        texts = list(stream_tokens(policy, group.prompt, tower, max_new_tokens=12, temperature=1.0, seed=5))
        expected = group.completions[0]
        words = len(expected.token_ids) - (expected.finish == "stop")
        assert len(texts) == words
        assert all(later.startswith(text) for text, later in pairwise(texts))
        assert (texts or [""])[-1] == expected.text


def test_small_products_run_on_one_thread(folder: Path, two_threads: None) -> None:
    """And the threads come back, also when something goes wrong."""
    policy = tiny_policy("internvl", folder)  # 64 x 2 x 128 multiplications for each row
    limit = (1 << 25) // (64 * 2 * 128)
    with few_threads(policy, limit):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with few_threads(policy, limit + 1):
        assert torch.get_num_threads() == 2
    with pytest.raises(KeyError), few_threads(policy, 1):
        raise KeyError
    assert torch.get_num_threads() == 2


def test_problems_are_encoded_once_a_generator(folder: Path) -> None:
    """The same object again, so that samples of later steps share it; an equal id is the same problem."""
    policy = tiny_policy("llava", folder)
    problems = picture_problems(folder / "pictures", 2)
    generator = LocalGenerator(policy, CachedTower(policy))
    sampling = Sampling(num_completions=1, max_new_tokens=1, temperature=1.0)
    first = generator.generate(problems, sampling, seed=0, version=0)
    again = generator.generate([replace(problems[1]), problems[0]], sampling, seed=1, version=1)
    assert again[0].prompt is first[1].prompt
    assert again[1].prompt is first[0].prompt
