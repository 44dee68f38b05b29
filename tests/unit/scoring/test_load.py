"""From what lies somewhere to a scorer: every kind, kept scores, another process, and clear words for anything else."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from families import picture_problems, tiny_policy

from vergence.errors import ModelError
from vergence.model.reward_head import Calibration, RewardModel, fresh_head, save_reward_model
from vergence.model.vision import CachedTower
from vergence.scoring.client import HttpScorer, Patience
from vergence.scoring.load import Keeping, Source, fingerprint, named, scorer_for, source_of
from vergence.scoring.wording import wording_of
from vergence.types import RolloutGroup

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rm")
    policy = tiny_policy("internvl", folder / "policy")
    model = RewardModel(policy, fresh_head(policy, 0), CachedTower(policy), Calibration(0.25, 0.5))
    save_reward_model(model, folder / "run" / "reward_model", example_question="what?")
    wording = wording_of(policy)
    groups = [
        RolloutGroup(wording.prompt(one), tuple(wording.completion(text) for text in ("yes", "no", "no no")))
        for one in picture_problems(folder / "pictures", 4)
    ]
    return folder / "run" / "reward_model", model, groups


def test_a_directory_of_ours_is_found_also_one_level_up(reward_model) -> None:
    folder, model, groups = reward_model
    for place in (folder, folder.parent):
        scorer = scorer_for(place, CPU)
        assert Calibration(0.25, 0.5) == scorer.calibration
        expected = [(row - 0.25) / 0.5 for row in scorer.uncalibrated().scores(groups)]
        np.testing.assert_allclose(expected, scorer.scores(groups))
        members = [(group.prompt, one) for group in groups for one in group.completions]
        np.testing.assert_allclose(model.raw(members), scorer.raw(members), atol=1e-6)


def test_a_child_gives_the_same_scores_to_the_bit(reward_model) -> None:
    folder, _, groups = reward_model
    here, child = scorer_for(folder, CPU), scorer_for(folder, CPU, place="child")
    try:
        np.testing.assert_array_equal(here.scores(groups), child.scores(groups))
        assert here.calibration == child.calibration
    finally:
        child.close()


def test_scores_can_be_kept_in_memory_or_on_disk(reward_model, tmp_path: Path) -> None:
    folder, _, groups = reward_model
    plain = scorer_for(folder, CPU).scores(groups)
    for keeping in (Keeping(remembered=100), Keeping(disk=tmp_path / "scores.jsonl")):
        scorer = scorer_for(folder, CPU, keeping=keeping)
        for _ in range(2):
            np.testing.assert_array_equal(plain, scorer.scores(groups))
    lines = (tmp_path / "scores.jsonl").read_text().splitlines()
    assert [fingerprint(folder)] == [json.loads(line)["model"] for line in lines]
    assert 12 == len(json.loads(lines[0])["scores"])


def test_another_weight_is_another_fingerprint(reward_model, tmp_path: Path) -> None:
    folder, model, _ = reward_model
    save_reward_model(model, tmp_path / "same", example_question="what?")
    assert fingerprint(folder) == fingerprint(tmp_path / "same")
    other = fresh_head(model.backbone, 1)
    save_reward_model(
        RewardModel(model.backbone, other, model.tower, model.calibration), tmp_path / "other", example_question="what?"
    )
    assert fingerprint(folder) != fingerprint(tmp_path / "other")


def test_a_source_is_written_and_read_back(tmp_path: Path) -> None:
    source = Source(
        kind="http",
        place="http://127.0.0.1:9",
        calibration=Calibration(1.0, 3.0),
        model="m",
        patience=Patience(timeout=5.0, retries=1),
    )
    source.save(tmp_path / "elsewhere")
    assert source == source_of(tmp_path / "elsewhere")
    scorer = scorer_for(tmp_path / "elsewhere", CPU)
    assert isinstance(scorer.model, HttpScorer)
    assert Calibration(1.0, 3.0) == scorer.calibration


def test_an_address_is_a_source_too(reward_model) -> None:
    assert Source(kind="http", place="http://h:1") == named("http://h:1")
    assert "vergence" == named(str(reward_model[0])).kind


def test_what_is_no_reward_model_is_named(tmp_path: Path, reward_model) -> None:
    with pytest.raises(ModelError, match="no such directory; expected a reward model"):
        named(str(tmp_path / "gone"))
    with pytest.raises(ModelError, match=r"no config\.json"):
        named(str(tmp_path))
    policy = reward_model[0].parents[1] / "policy" / "internvl-0"
    with pytest.raises(ModelError, match=r"no reward model; .* found InternVLForConditionalGeneration"):
        named(str(policy))
    (tmp_path / "source.json").write_text('{"kind": "http"}')
    with pytest.raises(ModelError, match=r"source\.json: cannot be read"):
        named(str(tmp_path))
    (tmp_path / "reward.json").write_text("{}")
    (tmp_path / "source.json").unlink()
    with pytest.raises(ModelError, match=r"reward\.json: cannot be read"):
        named(str(tmp_path))
