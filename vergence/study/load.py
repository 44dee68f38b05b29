"""From a study file to a checked `Study`, and back to TOML."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vergence.errors import RecipeError
from vergence.recipe.load import TOO_DEEP, read_toml, toml_text
from vergence.study.schema import Study


def load_study(path: Path) -> Study:
    """Read a study file. Its base becomes an absolute path where it is a file, else it stays a built-in name.

    Raises RecipeError naming the file, the key, what was expected and what was found.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read as UTF-8 text ({error}); give a study file (TOML)") from None
    raw = read_toml(text, path)
    base = raw.get("base")
    if isinstance(base, str) and (path.parent / base).is_file():
        raw["base"] = str((path.parent / base).resolve())
    try:
        return Study.model_validate(raw)
    except ValidationError as error:
        raise RecipeError(f"{path}: {_first_problem(error)}") from None
    except RecursionError:
        raise RecipeError(f"{path}: {TOO_DEEP}") from None


def study_toml(study: Study) -> str:
    """The resolved study, every default written out; reading it gives an equal study."""
    return toml_text(study.model_dump(mode="json", exclude_none=True))


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    found: Any = problem["input"]
    match problem["type"]:
        case "extra_forbidden":
            return f"{place}: unknown key; remove it or correct its spelling (docs/studies.md lists all keys)"
        case "missing":
            return f"{place}: this key is required"
        case "value_error":
            message = problem["msg"].removeprefix("Value error, ")
            return f"{place}: {message}" if place else message
        case _:
            return f"{place}: {problem['msg']}; found {str(found)[:60]!r}"
