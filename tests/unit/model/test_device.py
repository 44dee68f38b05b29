"""What the process asks of its allocator."""

import ctypes
import sys
from types import SimpleNamespace

import pytest

from vergence.model.device import keep_freed_memory


@pytest.mark.parametrize(("platform", "asked"), [("linux", {-3, -1, -2}), ("darwin", set())])
def test_freed_memory_is_kept_where_the_allocator_can_be_asked(
    platform: str, asked: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: dict[int, int] = {}
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=said.__setitem__))
    keep_freed_memory()
    assert set(said) == asked
    assert all(0 < value < 1 << 31 for value in said.values()), "mallopt takes an int"


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    keep_freed_memory()
