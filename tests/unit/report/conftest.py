"""A complete run, and its page."""

import json
from pathlib import Path

import pytest

from .pages import METRICS, RECIPE, SUMMARY, Element, png, report, rollouts, write_lines


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A complete run with a real picture and a missing one."""
    path = tmp_path / "run"
    images = path / "data" / "images"
    images.mkdir(parents=True)
    (images / "there.png").write_bytes(png())
    (path / "recipe.toml").write_text(RECIPE)
    (path / "summary.json").write_text(json.dumps(SUMMARY))
    write_lines(path / "metrics.jsonl", METRICS)
    write_lines(path / "rollouts" / "grpo.jsonl", rollouts(images))
    return path


@pytest.fixture
def page(run: Path) -> Element:
    return report(run)
