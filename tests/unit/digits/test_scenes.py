"""Scenes: three disjoint sets of handwriting, equal keys, and digits where the labels say they are."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from vergence.digits.scenes import Scenes, Split, draw_scenes, normalised

SPLITS: list[Split] = ["train", "tuning", "test"]


def quarters(scenes: Scenes) -> torch.Tensor:
    """[N, 4, 16, 16] in reading order, cut out by hand."""
    p = scenes.pixels
    return torch.stack([p[:, :16, :16], p[:, :16, 16:], p[:, 16:, :16], p[:, 16:, 16:]], dim=1)


@pytest.mark.parametrize("split", SPLITS)
def test_shapes_types_and_ranges(split: Split) -> None:
    scenes = draw_scenes(split, 5, "shapes")
    assert (torch.Size([5, 32, 32]), torch.uint8) == (scenes.pixels.shape, scenes.pixels.dtype)
    assert (torch.Size([5, 4]), torch.int64) == (scenes.digits.shape, scenes.digits.dtype)
    assert 0 <= int(scenes.digits.min()) <= int(scenes.digits.max()) <= 9


def test_equal_keys_give_equal_scenes_and_other_keys_others() -> None:
    one, same = draw_scenes("train", 6, 3, "a"), draw_scenes("train", 6, 3, "a")
    assert torch.equal(one.pixels, same.pixels)
    assert torch.equal(one.digits, same.digits)
    for other in (draw_scenes("train", 6, 4, "a"), draw_scenes("train", 6, 3, "b"), draw_scenes("tuning", 6, 3, "a")):
        assert not torch.equal(one.pixels, other.pixels)


def test_scenes_of_one_draw_differ() -> None:
    assert 50 == len({row.numpy().tobytes() for row in draw_scenes("test", 50, "distinct").pixels})


def test_splits_share_no_picture_and_leave_none_out() -> None:
    from vergence.digits.scenes import _pictures

    drawn = {split: [image.numpy().tobytes() for image in _pictures(split)[0]] for split in SPLITS}
    assert [1077, 360, 360] == [len(drawn[split]) for split in SPLITS]
    everything = [(image / 16.0).astype(np.float32).tobytes() for image in load_digits().images]
    assert sorted(everything) == sorted(drawn["train"] + drawn["tuning"] + drawn["test"])
    assert not set(drawn["train"]) & set(drawn["tuning"])
    assert not set(drawn["train"]) & set(drawn["test"])
    assert not set(drawn["tuning"]) & set(drawn["test"])


def test_every_quarter_shows_the_digit_that_its_label_names() -> None:
    """Nearest mean picture, in reading order: most are recognised. In any other order it would be one in ten."""
    data = load_digits()
    means = torch.stack([torch.from_numpy(data.images[data.target == digit]).float().mean(0) for digit in range(10)])
    means = torch.nn.functional.interpolate(means[:, None], size=16, mode="bilinear").flatten(1)
    scenes = draw_scenes("test", 150, "reading order")
    cells = quarters(scenes).float().flatten(2)
    similar = torch.nn.functional.cosine_similarity(cells[:, :, None], means[None, None], dim=-1).argmax(-1)
    right = (similar == scenes.digits).float().mean(0)
    assert float(right.min()) > 0.6


def test_all_digits_occur_about_equally_often() -> None:
    """4,000 digits: 400 +- 20 % each, the pictures themselves being nearly even."""
    counts = torch.bincount(draw_scenes("train", 1000, "counts").digits.flatten(), minlength=10)
    assert all(320 < count < 480 for count in counts.tolist())


def test_normalised_is_minus_one_to_one_in_three_equal_channels() -> None:
    pixels = torch.zeros(2, 32, 32, dtype=torch.uint8)
    pixels[0, 0, 0], pixels[1, 31, 31] = 255, 51
    values = normalised(pixels)
    assert torch.Size([2, 3, 32, 32]) == values.shape
    assert pytest.approx([1.0, -0.6, -1.0]) == [
        values[0, 0, 0, 0].item(),
        values[1, 2, 31, 31].item(),
        values[0, 1, 5, 5].item(),
    ]
    assert torch.equal(values[:, 0], values[:, 1])
    assert torch.equal(values[:, 0], values[:, 2])
