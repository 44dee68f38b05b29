"""The house rules that a reader may rely on: who imports whom, and no room without a purpose."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import vergence

HOUSE = Path(vergence.__file__).parent
FILES = sorted(HOUSE.rglob("*.py"))


def module_of(path: Path) -> str:
    """vergence/loss/kl.py -> vergence.loss.kl; a package's __init__ is the package."""
    parts = path.relative_to(HOUSE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Every module of ours that a file imports anywhere: at its top, in a function, or relatively."""
    package = path.relative_to(HOUSE.parent).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "vergence")
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            origin = ".".join([*above, *([node.module] if node.module else [])])
            if origin.split(".")[0] == "vergence":
                yield origin
                # "from vergence import digits" names a room too
                yield from (f"{origin}.{alias.name}" for alias in node.names if is_module(f"{origin}.{alias.name}"))


def is_module(name: str) -> bool:
    place = HOUSE.parent.joinpath(*name.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def test_there_is_a_house_to_inspect() -> None:
    """Against rules that hold because nothing was found: a few imports that are known to be there."""
    assert len(FILES) > 50
    assert {"vergence.types", "vergence.records"} <= set(imports(HOUSE / "buffer" / "entries.py"))
    assert "vergence.digits.files" in set(imports(HOUSE / "stages" / "run_recipe.py"))  # inside a function


@pytest.mark.parametrize("name", ["types", "errors", "seeds"])
def test_the_ground_floor_stands_on_nothing_else_of_ours(name: str) -> None:
    ground = {"vergence", "vergence.types", "vergence.errors", "vergence.seeds"}
    assert set(imports(HOUSE / f"{name}.py")) <= ground


METHOD = ["loss", "reward", "pairs", "advantage", "buffer", "correction.py", "monitor/mentions.py", "monitor/bands.py"]
MACHINERY = ["vergence.stages", "vergence.run", "vergence.recipe", "vergence.model", "vergence.digits"]


@pytest.mark.parametrize("place", METHOD)
def test_the_method_knows_nothing_of_runs_recipes_models_or_tasks(place: str) -> None:
    """What the paper's equations became can be read, tested and taken away by itself."""
    files = [path for path in FILES if path == HOUSE / place or path.is_relative_to(HOUSE / place)]
    assert files
    found = {
        (module_of(path), module)
        for path in files
        for module in imports(path)
        if any(within(module, room) for room in MACHINERY)
    }
    assert set() == found


def test_the_digits_are_one_task_among_others() -> None:
    """Nothing but the stages that run a built-in task may know it."""
    allowed = {"vergence.stages.parents", "vergence.stages.run_recipe"}
    found = {
        module_of(path)
        for path in FILES
        if not within(module_of(path), "vergence.digits")
        and any(within(module, "vergence.digits") for module in imports(path))
    }
    assert found <= allowed


def test_no_room_is_called_utils_or_misc() -> None:
    names = {part for path in HOUSE.rglob("*") for part in (path.name, path.stem)}
    assert set() == names & {"utils", "misc"}
