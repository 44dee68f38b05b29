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


PRETRAINED = HOUSE / "model" / "pretrained.py"
LOADERS = {"from_pretrained", "from_config", "get_class_from_dynamic_module", "load_custom_generate"}


def attributes(path: Path) -> set[str]:
    return {node.attr for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Attribute)}


def test_what_lies_in_model_directories_is_loaded_in_one_place() -> None:
    """That place never lets a directory run code of its own, so it must be the only one."""
    assert {"from_pretrained", "from_config"} <= attributes(PRETRAINED)
    found = {module_of(path): LOADERS & attributes(path) for path in FILES if path != PRETRAINED}
    assert {} == {module: names for module, names in found.items() if names}


def test_every_load_of_that_place_refuses_code() -> None:
    """Each automatic class is called with the settings that say so."""
    text = PRETRAINED.read_text("utf-8")
    assert '_LOCAL = {"trust_remote_code": False, "local_files_only": True}' in text
    calls = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {"load", *LOADERS}
    ]
    lazy = {"load()"}  # inside the wrapper, where the call itself is handed in
    direct = {
        "kind.from_pretrained",
        "GenerationConfig.from_pretrained",
        "PreTrainedTokenizerFast.from_pretrained",
    }  # a class by name has no code to choose
    for call in calls:
        written = ast.unparse(call)
        if written not in lazy and ast.unparse(call.func) not in direct:
            assert "**_LOCAL" in written or "trust_remote_code=False" in written, written


def test_nothing_says_that_code_of_a_model_directory_may_run_and_nothing_is_unpickled() -> None:
    wrong = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                wrong += [path] if ast.unparse(node.value) != "False" else []
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                wrong += [path] if "weights_only=True" not in ast.unparse(node) else []
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"pickle.load", "pickle.loads"}:
                wrong += [path]
    assert [] == wrong
