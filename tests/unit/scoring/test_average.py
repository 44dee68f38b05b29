"""The mean of weights, against arithmetic; members that do not fit together are refused by what differs."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from families import picture_problems, tiny_policy
from torch import nn

from vergence.errors import ModelError
from vergence.model.reward_head import Calibration, RewardModel, fresh_head, load_reward_model, save_reward_model
from vergence.model.vision import CachedTower
from vergence.scoring.average import average, named_tensors
from vergence.scoring.wording import wording_of

CPU = torch.device("cpu")
MEMBER = Calibration(1.0, 2.0)


def saved(tmp_path, name: str, *, seed: int = 0, family: str = "llava", calibration=MEMBER, width: int = 0):
    folder = tmp_path / name
    policy = tiny_policy(family, tmp_path / "policies", seed=seed)
    head = nn.Linear(width, 1, bias=False) if width else fresh_head(policy, seed)
    save_reward_model(RewardModel(policy, head, CachedTower(policy), calibration), folder, example_question="what?")
    return folder


def weights(folder) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in named_tensors(load_reward_model(folder, CPU)).items()}


def test_a_model_with_itself_is_itself(tmp_path) -> None:
    folder = saved(tmp_path, "one")
    mean = average([folder, folder, folder], CPU)
    assert Calibration(1.0, 2.0) == mean.calibration
    for name, value in weights(folder).items():
        assert torch.equal(value, named_tensors(mean)[name]), name


def test_of_two_it_is_the_mean_of_every_weight_and_can_be_saved_and_loaded(tmp_path) -> None:
    folders = [saved(tmp_path, "one"), saved(tmp_path, "two", seed=1, calibration=Calibration(-3.0, 1.0))]
    mean = average(folders, CPU)
    ours, theirs = map(weights, folders)
    for name, value in named_tensors(mean).items():
        torch.testing.assert_close(value, (ours[name].double() + theirs[name].double()).div(2).float())
    assert Calibration(-1.0, 1.5) == mean.calibration
    save_reward_model(mean, tmp_path / "mean", example_question="what?")
    problems = picture_problems(tmp_path / "pictures", 4)
    wording = wording_of(mean.backbone)
    members = [(wording.prompt(problem), wording.completion("yes")) for problem in problems]
    again = load_reward_model(tmp_path / "mean", CPU)
    np.testing.assert_allclose(mean.raw(members), again.raw(members), atol=1e-5)
    assert not np.allclose(mean.raw(members), load_reward_model(folders[0], CPU).raw(members), atol=1e-3)


def test_scores_of_the_mean_of_heads_are_the_mean_of_scores(tmp_path) -> None:
    """With one backbone the score is linear in the weights that differ."""
    first = saved(tmp_path, "one")
    model = load_reward_model(first, CPU)
    other = replace(model, head=fresh_head(model.backbone, 7))
    save_reward_model(other, tmp_path / "two", example_question="what?")
    wording = wording_of(model.backbone)
    members = [(wording.prompt(one), wording.completion("no")) for one in picture_problems(tmp_path / "pictures", 3)]
    expected = (model.raw(members) + other.raw(members)) / 2
    np.testing.assert_allclose(expected, average([first, tmp_path / "two"], CPU).raw(members), atol=1e-5)


def test_models_of_different_families_are_refused(tmp_path) -> None:
    folders = [saved(tmp_path, "one"), saved(tmp_path, "two", family="internvl")]
    with pytest.raises(ModelError, match=r"one and .*two cannot be averaged: model_type llava and internvl"):
        average(folders, CPU)


def test_models_of_different_shapes_are_refused_by_the_first_difference(tmp_path) -> None:
    folders = [saved(tmp_path, "one"), saved(tmp_path, "two", width=7)]
    with pytest.raises(ModelError, match=r"head\.weight has shape \(1, 64\) and \(1, 7\)"):
        average(folders, CPU)


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("tokenizer.json", '"a":', '"â":', "the tokenizer's vocabulary differs"),
        ("chat_template.jinja", "<bos>", "<bos> ", "the chat template differs"),
        ("preprocessor_config.json", '"do_normalize": true', '"do_normalize": false', "the image processor differs"),
    ],
)
def test_models_that_read_differently_are_refused(tmp_path, file: str, old: str, new: str, said: str) -> None:
    folders = [saved(tmp_path, "one"), saved(tmp_path, "two")]
    path = folders[1] / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ModelError, match=said):
        average(folders, CPU)


def test_one_model_is_no_average(tmp_path) -> None:
    with pytest.raises(ModelError, match="name two or more"):
        average([saved(tmp_path, "one")], CPU)


def test_the_calibration_on_disk_is_that_of_the_mean(tmp_path) -> None:
    folder = saved(tmp_path, "one")
    save_reward_model(average([folder, folder], CPU), tmp_path / "mean", example_question="what?")
    assert {"median": 1.0, "spread": 2.0} == json.loads((tmp_path / "mean" / "reward.json").read_text())["calibration"]
