"""A warm-buffer file: effective groups whole, from the same policy at the same temperature only."""

from pathlib import Path

import numpy as np
import pytest
import torch

from vergence.advantage.scaling import group_centred
from vergence.buffer.entries import Unit, single_samples, whole_groups
from vergence.buffer.mixed import KeptAdvantages, MixedAdvantages, StaleAdvantages
from vergence.buffer.selective import BufferLimits, SampleBuffer, oldest_first
from vergence.errors import DataError, ModelError
from vergence.pool.warm import read_warm, warm_bytes
from vergence.types import JudgedGroup

from ..builders import completion, doubles, scored

HEAD = {"model": "f" * 64, "temperature": 1.0}


def judged(effective: bool, *texts: str) -> JudgedGroup:
    rewards = [1.0] + [0.0] * (len(texts) - 1)
    group = scored(rewards, texts=[completion(text, logprobs=[-0.1, -0.7]) for text in texts])
    return JudgedGroup(group, doubles(rewards), effective)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "warm"
    file.write_bytes(warm_bytes([judged(True, "a", "b"), judged(False, "c", "d"), judged(True, "e", "f")], HEAD))
    return file


def test_effective_groups_come_back_whole_and_as_sampled_by_the_first_policy(path: Path) -> None:
    groups = read_warm(path, fingerprint="f" * 64, temperature=1.0)
    assert [["a", "b"], ["e", "f"]] == [[one.text for one in group.completions] for group in groups]
    for group in groups:
        assert "p" == group.prompt.problem.id
        for one in group.completions:
            assert 0 == one.policy_version
            assert pytest.approx([-0.1, -0.7]) == one.sampler_logprobs.tolist()


def test_rewards_and_advantages_stand_in_the_file_for_whoever_looks(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    assert [[1.0, 0.0], [1.0, 0.0]] == [row["advantages"] for row in content["groups"]]
    assert [[1.0, 0.0], [1.0, 0.0]] == [row["rewards"] for row in content["groups"]]


def test_another_model_is_refused(path: Path) -> None:
    with pytest.raises(ModelError, match="sampled by another model"):
        read_warm(path, fingerprint="e" * 64, temperature=1.0)


def test_another_temperature_is_refused(path: Path) -> None:
    with pytest.raises(DataError, match=r"temperature 1\.0, this stage samples at 0\.7"):
        read_warm(path, fingerprint="f" * 64, temperature=0.7)


def test_what_is_no_warm_buffer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_warm(tmp_path / "none", fingerprint="f", temperature=1.0)
    (tmp_path / "text").write_text("hello")
    torch.save({"vergence": "something"}, tmp_path / "other")
    torch.save([1, 2], tmp_path / "list")
    for name, said in (("text", "cannot be read"), ("other", "expected a warm buffer"), ("list", "cannot be read")):
        with pytest.raises(DataError, match=said):
            read_warm(tmp_path / name, fingerprint="f", temperature=1.0)


def buffer_of(unit: Unit, *, capacity: int = 99, advantages: KeptAdvantages | None = None) -> SampleBuffer:
    limits = BufferLimits(capacity=capacity, exponent=1.0, max_age=2, max_uses=9, target=1.0)
    return SampleBuffer(limits, unit, oldest_first, advantages or StaleAdvantages())


def drawn(buffer: SampleBuffer, version: int) -> list[tuple[str, int]]:
    """(text, age) of what fills a batch without any fresh sample."""
    selected = buffer.select([], 99, version=version, rng=np.random.default_rng(0))
    return sorted((draw.sample.completion.text, draw.age) for draw in selected.draws)


@pytest.mark.parametrize("unit", [single_samples, whole_groups])
def test_a_warm_buffer_gives_its_samples_to_the_first_batch_and_they_age(unit: Unit) -> None:
    """Rewards 1 and 0: advantage 0 teaches nothing, so only "a" and "e" are samples."""
    buffer = buffer_of(unit)
    buffer.warm([judged(True, "a", "b"), judged(True, "e", "f")])
    assert 2 == len(buffer)
    assert [("a", 0), ("e", 0)] == drawn(buffer, 0)
    assert [("a", 2), ("e", 2)] == drawn(buffer, 2)
    assert [] == drawn(buffer, 3), "older than max_age"


def test_a_warm_buffer_keeps_its_capacity() -> None:
    buffer = buffer_of(single_samples, capacity=1)
    buffer.warm([judged(True, "a", "b"), judged(True, "e", "f")])
    assert [("e", 0)] == drawn(buffer, 0)


def test_advantages_made_anew_know_the_warm_groups() -> None:
    """One warm group with rewards 1 and 0, then one of the same prompt with 0 and 0: the mean falls from 1/2 to 1/4."""
    buffer = buffer_of(single_samples, advantages=MixedAdvantages(group_centred, max_age=5))
    buffer.warm([judged(True, "a", "b")])
    later = scored([0.0, 0.0], texts=[completion("g"), completion("h")])
    fresh = JudgedGroup(later, doubles([0.0, 0.0]), False)
    selected = buffer.select([fresh], 99, version=1, rng=np.random.default_rng(0))
    assert [("a", 0.75)] == [(draw.sample.completion.text, draw.sample.advantage) for draw in selected.draws]
