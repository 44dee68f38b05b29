"""From a TOML file (or a built-in recipe's name) and overrides to a checked `Recipe`, and back to TOML."""

import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vergence.errors import RecipeError
from vergence.recipe.schema import Recipe, plain


def load_recipe(source: str, overrides: Sequence[str] = (), without: Sequence[str] = ()) -> Recipe:
    """Read a recipe file, or the built-in recipe of that name, and apply `key=value` overrides.

    The stages named in `without` are then left out. Paths in a recipe file are relative to that file. Raises
    RecipeError naming the file, the key, what was expected and what was found.
    """
    text, base = _source(source)
    raw = read_toml(text, source)
    for override in overrides:
        _apply(raw, override)
    for label in without:
        _leave_out(raw, label)
    _absolute_paths(raw, base)
    return parse_recipe(raw, source)


def parse_recipe(raw: Mapping[str, Any], source: str) -> Recipe:
    """Check plain values. Raises RecipeError for the first thing that is wrong."""
    try:
        return Recipe.model_validate(_tuples(raw))
    except ValidationError as error:
        raise RecipeError(f"{source}: {_first_problem(error)}") from None
    except RecursionError:
        raise RecipeError(f"{source}: {TOO_DEEP}") from None


def read_toml(text: str, source: object) -> dict[str, Any]:
    """TOML as plain values. Raises RecipeError if it is none, if it is nested too deeply, or has an endless number."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise RecipeError(f"{source}: {TOO_DEEP}") from None
    except ValueError as error:  # TOMLDecodeError is one, and so is what a number of thousands of digits raises
        raise RecipeError(f"{source}: not valid TOML: {error}") from None


TOO_DEEP = "nested too deeply to be read; a recipe has sections, and sections in these"


def builtin_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(
        path.name[:-5] for path in resources.files("vergence.recipes").iterdir() if path.name.endswith(".toml")
    )


def to_toml(recipe: Recipe) -> str:
    """The resolved recipe as TOML; reading it gives an equal recipe."""
    return toml_text(plain(recipe))


def toml_text(values: Mapping[str, Any]) -> str:
    """Plain values (numbers, strings, lists, dictionaries, lists of dictionaries) as TOML."""
    return _table(values, "")


def toml_value(value: Any) -> str:
    """A number, a string, a truth value or a list of them as it stands behind `key =`."""
    return _scalar(value)


def first_difference(left: Recipe, right: Recipe) -> str | None:
    """The first key in which two recipes differ, with both values; None if they are equal."""
    ours, theirs = _flat(plain(left), ""), _flat(plain(right), "")
    for key in [*ours, *theirs]:
        if ours.get(key) != theirs.get(key):
            return f"{key} = {ours.get(key, 'absent')!r} there, {theirs.get(key, 'absent')!r} here"
    return None


def _source(source: str) -> tuple[str, Path]:
    path = Path(source)
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8"), path.parent.resolve()
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"{source}: cannot be read as UTF-8 text ({error})") from None
    if source in builtin_names():
        return resources.files("vergence.recipes").joinpath(f"{source}.toml").read_text("utf-8"), Path.cwd()
    raise RecipeError(
        f"{source}: no such recipe file; give a path to a TOML file, or a built-in name ({', '.join(builtin_names())})"
    )


def _apply(raw: dict[str, Any], override: str) -> None:
    """One `key=value`: the key is dotted, `stage.NAME` or `stage.NUMBER` picks a stage, the value is TOML."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {override}: expected key=value, for instance --set stage.grpo.steps=50")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value  # a bare word is a string
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"--set {override:.80}: cannot be read ({error})") from None
    parts = key.strip().split(".")
    here: Any = raw
    for depth, part in enumerate(parts[:-1]):
        if isinstance(here, list):
            here = _stage(here, part, f"--set {override}")
        elif isinstance(here, dict):
            here = here.setdefault(part, {})
        else:
            raise RecipeError(f"--set {override}: {'.'.join(parts[:depth])} is a value and has no keys of its own")
    if not isinstance(here, dict):
        raise RecipeError(f"--set {override}: {'.'.join(parts[:-1])} is not a section; name a key inside it")
    here[parts[-1]] = parsed


def _leave_out(raw: dict[str, Any], label: str) -> None:
    stages = raw.get("stage")
    if isinstance(stages, list):  # whatever else it is, the schema will say so
        stages.remove(_stage(stages, label, f"without {label}"))


def _stage(stages: list[Any], part: str, spoken: str) -> Any:
    if part.isdigit() and int(part) < len(stages):
        return stages[int(part)]
    sections = [stage for stage in stages if isinstance(stage, dict)]
    called = [stage for stage in sections if part == stage.get("name", stage.get("type"))]
    matching = called or [stage for stage in sections if part == stage.get("type")]
    if matching:
        return matching[0]
    names = ", ".join(str(stage.get("name", stage.get("type"))) for stage in sections)
    raise RecipeError(f'{spoken}: no stage "{part}"; the stages are {names}')


_PATH_KEYS = {
    "data": ("train", "captions", "tuning", "test", "probe", "images"),
    "features": ("disk",),
    "scores": ("disk",),
    "stage": ("path", "vision", "language", "adapter", "pairs_file", "held_out_file"),
    "pairs": ("file",),
    "buffer": ("warm",),
    "functions": ("folder",),
}
"""Keys that are paths, by the kind of section; the last three are sections of a stage, or of its reward."""


def _absolute_paths(raw: dict[str, Any], base: Path) -> None:
    sections: list[tuple[str, Any]] = [(kind, raw.get(kind)) for kind in ("data", "features", "scores")]
    stages = raw.get("stage")
    for stage in stages if isinstance(stages, list) else []:
        below = [(kind, stage.get(kind)) for kind in ("pairs", "buffer")] if isinstance(stage, dict) else []
        sections += [("stage", stage), *below, *(("functions", one) for one in _functions(stage))]
    for kind, section in sections:
        if not isinstance(section, dict):
            continue
        for key in _PATH_KEYS[kind]:
            if isinstance(section.get(key), str):
                section[key] = str((base / section[key]).resolve())


def _functions(stage: Any) -> list[dict[str, Any]]:
    """The functions of a stage's reward, each with a folder: the recipe's own unless it names another."""
    reward = stage.get("reward") if isinstance(stage, dict) else None
    named = reward.get("functions") if isinstance(reward, dict) else None
    functions = [one for one in named if isinstance(one, dict)] if isinstance(named, list) else []
    for one in functions:
        one.setdefault("folder", ".")
    return functions


def _tuples(value: Any, key: str = "", kind: str = "") -> Any:
    """Strict validation takes tuples and paths as such, and TOML knows neither.

    `key` is how a value is called, `kind` how the section is called that it stands in.
    """
    if isinstance(value, Mapping):
        return {name: _tuples(item, name, key) for name, item in value.items()}
    if isinstance(value, list):
        return tuple(_tuples(item, key, kind) for item in value)
    return Path(value) if isinstance(value, str) and key in _PATH_KEYS.get(kind, ()) else value


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    place = ".".join(str(part) for part in _keys(problem["loc"]))
    found = problem["input"]
    match problem["type"]:
        case "extra_forbidden":
            return f"{place}: unknown key; remove it or correct its spelling (`vergence show` prints every key)"
        case "missing":
            return f"{place}: this key is required"
        case "union_tag_invalid":
            return f"{place}.type: {problem['msg']}; found {_short(found.get('type'))}"
        case "union_tag_not_found":
            return f'{place}: the key "type" is missing'
        case "value_error":
            message = problem["msg"].removeprefix("Value error, ")
            return f"{place}: {message}" if place else message
        case _:
            return f"{place}: {problem['msg']}; found {_short(found)}"


def _keys(place: tuple[int | str, ...]) -> list[int | str]:
    """A place without what pydantic adds: after `data` and after a stage's number comes the chosen variant's name."""
    keys = list(place)
    if len(keys) > 1 and keys[0] == "data" and keys[1] in ("digits", "files"):
        del keys[1]
    if len(keys) > 2 and keys[0] == "stage":
        del keys[2]
    return keys


def _short(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:60]!r}" if not isinstance(value, (int, float)) else repr(value)


def _flat(value: Any, prefix: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return {
            k: v for key, item in value.items() for k, v in _flat(item, f"{prefix}.{key}" if prefix else key).items()
        }
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {k: v for n, item in enumerate(value) for k, v in _flat(item, f"{prefix}.{n}").items()}
    return {prefix: value}


def _table(values: Mapping[str, Any], prefix: str) -> str:
    own = [f"{_quoted(key)} = {_scalar(value)}" for key, value in values.items() if not _is_section(value)]
    text = "\n".join(own) + ("\n" if own else "")
    for key, value in values.items():
        name = f"{prefix}.{_quoted(key)}" if prefix else _quoted(key)
        if isinstance(value, dict):
            text += f"\n[{name}]\n{_table(value, name)}"
        elif _is_section(value):
            text += "".join(f"\n[[{name}]]\n{_table(item, name)}" for item in value)
    return text


def _quoted(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _is_section(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_scalar(item) for item in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps(value, ensure_ascii=False)
