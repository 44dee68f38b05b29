"""A warm-buffer file: effective groups whole, from the same policy at the same temperature only."""

from pathlib import Path

import pytest
import torch

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
