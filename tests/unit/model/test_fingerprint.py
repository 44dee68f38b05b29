"""What features, samples and scores are kept by: another way of decoding pictures is another key."""

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
from families import tiny_policy

from vergence.model.fingerprint import policy_fingerprint, vision_fingerprint
from vergence.scoring.load import fingerprint

KEYS: dict[str, Callable[[Path], str]] = {
    "features on disk": lambda folder: vision_fingerprint(tiny_policy("internvl", folder), ("vision", "adapter")),
    "samples, warm groups and benchmark results": lambda folder: policy_fingerprint(tiny_policy("internvl", folder)),
    "scores": lambda folder: fingerprint(folder / "internvl-0"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_policy("internvl", folder)
    return folder


@pytest.mark.parametrize("what", KEYS)
def test_another_decoding_is_another_key(what: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = KEYS[what](folder)
    assert before == KEYS[what](folder)
    for module in ("vergence.model.fingerprint", "vergence.scoring.load"):
        monkeypatch.setattr(importlib.import_module(module), "DECODING", 10**6)
    assert before != KEYS[what](folder)
