"""A user's own reward: a function, named in a recipe as `module:function`.

    def brevity(problem: Problem, response: str) -> float: ...                      one response
    def brevity(responses: Sequence[tuple[Problem, str]]) -> Sequence[float]: ...   all of a step (`batch = true`)

It must give a finite number. Where it raises or gives anything else, the response could not be judged: it is counted as
such, is in no mean and teaches nothing. `sys.exit` is such an error as well; only Ctrl-C ends the run. A function
should depend on its arguments alone, or a resumed run is another run.
"""

import asyncio
import importlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from types import ModuleType
from typing import Any

from vergence.errors import RecipeError
from vergence.types import Problem

Response = tuple[Problem, str]
"""A problem and what was answered."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A response that a function could not judge."""

    reason: str


Values = Callable[[Sequence[Response]], list[float | Failure]]
"""Responses -> what each is worth, in order."""


@dataclass(frozen=True, slots=True)
class UserReward:
    """A further component of the reward."""

    name: str
    weight: float
    rule: bool
    """Whether it counts as a rule: then responses that it tells apart make their group effective."""
    values: Values


def one_by_one(function: Callable[[Problem, str], Any]) -> Values:
    """A function of one response, asked for each by itself."""

    def values(responses: Sequence[Response]) -> list[float | Failure]:
        found: list[float | Failure] = []
        for problem, text in responses:
            try:
                found.append(_number(_awaited(function(problem, text))))
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # whatever a user's code raises must not end a run of days
                found.append(Failure(_spoken(error)))
        return found

    return values


def all_at_once(function: Callable[[Sequence[Response]], Any]) -> Values:
    """A function of all responses of a step; if it raises, or does not give one value for each, none is judged."""

    def values(responses: Sequence[Response]) -> list[float | Failure]:
        try:
            given = _in_order(_awaited(function(responses)))
            if isinstance(given, list) and len(given) == len(responses):
                return [_number(value) for value in given]
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            given = Failure(_spoken(error))
        if isinstance(given, list):
            given = Failure(f"gave {len(given)} values for {len(responses)} responses")
        return [given] * len(responses)

    return values


def load_function(named: str, folder: Path, *, batch: bool) -> Values:
    """The function `module:function`, its module from `folder` or else from the Python path.

    Raises RecipeError if there is no such module or function, or it does not take the arguments that it would be given.
    """
    module_name, colon, name = named.partition(":")
    if not colon or not module_name or not name:
        raise RecipeError(f'{named}: expected "module:function", for instance "my_rewards:brevity"')
    module = _module(module_name, folder, named)
    try:
        function: Any = reduce(getattr, name.split("."), module)
    except AttributeError:
        raise RecipeError(f"{named}: {module.__file__} has no {name}; correct the name, or define it there") from None
    if not callable(function):
        raise RecipeError(f"{named}: expected a function, found {type(function).__name__}; name a function")
    _check_arguments(function, named, batch=batch)
    return all_at_once(function) if batch else one_by_one(function)


def _module(name: str, folder: Path, named: str) -> ModuleType:
    file = folder.joinpath(*name.split(".")).with_suffix(".py")
    sys.path.insert(0, str(folder))  # while it is imported, so that it finds what lies beside it
    try:
        if not file.is_file():
            return importlib.import_module(name)
        # under a name of its own: a file called like a module that is imported already is another module
        spec = importlib.util.spec_from_file_location(f"vergence_user_{name.replace('.', '_')}", file)
        assert spec is not None, "a .py file has a loader"
        assert spec.loader is not None, "a .py file has a loader"
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        return module
    except ModuleNotFoundError as error:
        missing = f"no module {error.name}" if error.name else str(error)
        raise RecipeError(
            f"{named}: {missing} in {folder} or on the Python path; put the file beside the recipe, or set PYTHONPATH"
        ) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also `sys.exit`, which would otherwise end the command as if all were well
        raise RecipeError(f"{named}: its module cannot be imported ({_spoken(error)}); correct it") from error
    finally:
        sys.path.remove(str(folder))


def _check_arguments(function: Callable[..., Any], named: str, *, batch: bool) -> None:
    arguments = ("responses",) if batch else ("problem", "response")
    code = _called(function)
    if inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code):
        raise RecipeError(f"{named}: expected a plain function, found an async one; wrap it in asyncio.run")
    if inspect.isgeneratorfunction(code) and not batch:
        raise RecipeError(f"{named}: expected a function that returns a number, found one that yields; use return")
    try:
        signature = inspect.signature(function)
    except ValueError:
        return  # written in C, and silent about its arguments
    try:
        signature.bind(*arguments)
    except TypeError as error:
        wanted = "one argument, a list of (problem, response)" if batch else "two arguments, problem and response"
        raise RecipeError(
            f"{named}{signature}: is called with {wanted} ({error}); change it, or set batch = {str(not batch).lower()}"
        ) from None


def _called(function: Any) -> Any:
    """What runs when it is called: behind `functools.partial`, and the `__call__` of an object."""
    while isinstance(function, partial):
        function = function.func
    plain = inspect.isroutine(function) or inspect.isclass(function)
    return function if plain else _called(type(function).__call__)


def _awaited(value: Any) -> Any:
    """The result of what is awaitable: a plain function may hand on what an async one gave it."""

    async def result(awaitable: Awaitable[Any]) -> Any:
        return await awaitable

    return asyncio.run(result(value)) if inspect.isawaitable(value) else value


def _in_order(given: Any) -> list[Any] | Failure:
    """The values of a batch. A mapping would give its keys, a set no order, and a text its letters."""
    if isinstance(given, Mapping | Set | str | bytes | bytearray) or not isinstance(given, Iterable):
        return Failure(f"gave {type(given).__name__} {given!r:.40}, expected a list with one number for each response")
    return list(given)


def _number(value: Any) -> float | Failure:
    if not isinstance(value, str | bytes | bytearray):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number):
            return number
    return Failure(f"gave {type(value).__name__} {value!r:.40}, expected a finite number")


def _spoken(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error).strip() else 'without a message'}"
