"""Inside a confinement, in the interpreter of the program that is judged: runs it, or calls functions of it.

Run as a script beside `program.py`; nothing of Vergence can be imported here. What a right result would be never comes
here.

    caller.py run      the program as a script, with its own standard input and output
    caller.py call     one call; standard input says which, as JSON, and standard output gets the result, as JSON
    caller.py serve    any number of calls, asked for by `checker.py` through standard input and output
"""

import contextlib
import functools
import json
import operator
import os
import sys
import types
from collections import deque
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import IO, Any, final

RECURSION_LIMIT = 50_000
"""LiveCodeBench's, for programs of every kind."""
_PLAIN: dict[str, tuple[type, Callable[[Any], list[Any]], Callable[[list[Any]], Any]]] = {
    "list": (list, list, list),
    "tuple": (tuple, list, tuple),
    "dict": (dict, lambda value: list(value.items()), dict),
    "set": (set, list, set),
    "frozenset": (frozenset, list, frozenset),
    "bytes": (bytes, list, bytes),
    "bytearray": (bytearray, list, bytearray),
    "range": (range, lambda value: [value.start, value.stop, value.step], lambda parts: range(*parts)),
    "complex": (complex, lambda value: [value.real, value.imag], lambda parts: complex(*parts)),
    "Decimal": (Decimal, lambda value: [str(value)], lambda parts: Decimal(*parts)),
    "Fraction": (Fraction, lambda value: [value.numerator, value.denominator], lambda parts: Fraction(*parts)),
    "deque": (deque, lambda value: [list(value), value.maxlen], lambda parts: deque(*parts)),
    "datetime": (datetime, lambda value: [value.isoformat()], lambda parts: datetime.fromisoformat(*parts)),
    "date": (date, lambda value: [value.isoformat()], lambda parts: date.fromisoformat(*parts)),
    "timedelta": (
        timedelta,
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda parts: timedelta(*parts),
    ),
}
"""Values that travel: how each is taken apart, and made anew. A subclass arrives as the first of these that it is."""
_NAMES = {kind: name for name, (kind, _, _) in _PLAIN.items()}
_SMALL = 1 << 53
OPERATIONS: dict[str, Callable[..., Any]] = {
    "__call__": lambda function, *arguments, **named: function(*arguments, **named),
    "__getattr__": getattr,
    "__len__": len,
    "__iter__": iter,
    "__next__": next,
    "__getitem__": operator.getitem,
    "__contains__": operator.contains,
    "__bool__": bool,
    "__str__": str,
}
"""What one side may ask of an object that stays on the other. No comparison and no arithmetic is among them."""


ENDED = "it has ended"


class GoneError(BaseException):
    """The other side ended, or says what cannot be understood. No `except Exception` of a test hides it."""


class Remote:
    """An object of the other side: it can be called and looked into, and equals nothing but itself."""

    def __init__(self, peer: "Peer", number: int) -> None:
        self.__dict__.update(_peer=peer, _number=number)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._peer.ask(self._number, "__getattr__", (name,), {})


def _forwarded(operation: str) -> Callable[..., Any]:
    def forward(self: Remote, *arguments: Any, **named: Any) -> Any:
        return self._peer.ask(self._number, operation, arguments, named)

    return forward


for _operation in OPERATIONS.keys() - {"__getattr__"}:
    setattr(Remote, _operation, _forwarded(_operation))


@final
class Peer:
    """One end of a pair of pipes, over which two interpreters use each other's objects.

    Plain values are taken apart and made anew on the other side, so that no method of theirs comes along. Objects of
    `shared` classes, which both sides have by themselves, travel as what they hold. Everything else stays where it is.
    """

    def __init__(self, receive: IO[bytes], send: IO[bytes], operations: frozenset[str], longest: int) -> None:
        """`operations`: those that the other side may ask for; `longest`: bytes of one message."""
        self._receive, self._send, self._operations, self._longest = receive, send, operations, longest
        self._kept: list[Any] = []
        self.shared: Mapping[str, type] = {}
        self.broken = ""
        """Why nothing can be asked any more; "" while it can."""

    def keep(self, value: Any) -> int:
        """The number by which the other side may use an object of this one."""
        self._kept.append(value)
        return len(self._kept) - 1

    def ask(self, number: int, operation: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """What comes of an operation on an object of the other side; raises what was raised there, or GoneError.

        A function that returns nothing is taken to work by changing its arguments: changes of lists, dictionaries, sets
        and shared objects are then made here as well.
        """
        if self.broken:
            raise GoneError(self.broken)
        self._say({"ask": number, "do": operation, "with": self._coded([list(arguments), named])})
        while True:
            heard = self._hear()
            if "ask" in heard:
                self._answer(heard)
            elif "raised" in heard:
                raise self._error(*heard["raised"])
            else:
                break
        try:
            if "changed" in heard:
                for old, new in zip((*arguments, *named.values()), self._made(heard["changed"]), strict=True):
                    _take_over(old, new)
            return self._made(heard["value"])
        except Exception as error:
            raise self._gone(f"its answer cannot be read ({type(error).__name__}: {error})") from None

    def serve(self) -> None:
        """Answer until nobody asks any more."""
        with contextlib.suppress(GoneError):
            while True:
                self._answer(self._hear())

    def _answer(self, asked: dict[str, Any]) -> None:
        try:
            operation = asked["do"]
            if operation not in self._operations:
                raise PermissionError(f"{operation} is not offered")
            arguments, named = self._made(asked["with"])
            value = OPERATIONS[operation](self._object(asked["ask"]), *arguments, **named)
            reply: dict[str, Any] = {"value": self._coded(value)}
            if value is None and operation == "__call__":
                reply["changed"] = self._coded([*arguments, *named.values()])
        except Exception as error:
            reply = {"raised": [[one.__name__ for one in type(error).__mro__], str(error)[:1000]]}
        self._say(reply)

    def _error(self, names: list[str], text: str) -> Exception:
        """The error that was raised there: of a shared class, or of the nearest built-in one."""
        known = vars(sys.modules["builtins"]) | dict(self.shared)
        for name in names:
            kind = known.get(name)
            if isinstance(kind, type) and issubclass(kind, Exception):
                with contextlib.suppress(Exception):
                    return kind(text)
        return RuntimeError(text)

    def _say(self, message: dict[str, Any]) -> None:
        try:
            self._send.write(json.dumps(message).encode() + b"\n")
            self._send.flush()
        except OSError:
            raise self._gone(ENDED) from None

    def _hear(self) -> dict[str, Any]:
        line = self._receive.readline(self._longest + 1)
        if len(line) > self._longest:
            raise self._gone(f"it gave more than {self._longest:,} bytes")
        if not line.endswith(b"\n"):
            raise self._gone(ENDED)
        try:
            return dict(json.loads(line))
        except (ValueError, TypeError, RecursionError):
            raise self._gone("its answer cannot be read") from None

    def _gone(self, reason: str) -> GoneError:
        self.broken = reason
        return GoneError(reason)

    def _object(self, number: Any) -> Any:
        if not isinstance(number, int) or not 0 <= number < len(self._kept):
            raise LookupError("there is no such object")
        return self._kept[number]

    def _coded(self, value: Any) -> Any:
        """A value as JSON: numbers, texts and None as they are, all others as ["kind", ...]."""
        seen: dict[int, int] = {}

        def coded(value: Any) -> Any:
            if value is None or isinstance(value, bool | float | str):
                return str(value) if isinstance(value, str) else float(value) if isinstance(value, float) else value
            if isinstance(value, Enum) and type(value).__name__ in self.shared:
                return ["member", type(value).__name__, value.name]
            if isinstance(value, int):
                return int(value) if abs(value) < _SMALL else ["int", hex(value)]
            if isinstance(value, Remote):
                return ["yours", value._number]
            near = (name for name, (kind, _, _) in _PLAIN.items() if isinstance(value, kind))
            name = _NAMES.get(type(value)) or next(near, "")
            if name:
                return [name, *map(coded, _PLAIN[name][1](value))]
            if self.shared.get(type(value).__name__) is not type(value):
                return ["kept", self.keep(value)]
            if id(value) in seen:
                return ["seen", seen[id(value)]]
            seen[id(value)] = len(seen)
            return ["object", type(value).__name__, [[name, coded(held)] for name, held in _held(value).items()]]

        return coded(value)

    def _made(self, code: Any) -> Any:
        """The value that `_coded` took apart."""
        seen: list[Any] = []

        def made(code: Any) -> Any:
            if not isinstance(code, list):
                return code
            match code:
                case ["int", text]:
                    return int(text, 16)
                case ["yours", number]:
                    return self._object(number)
                case ["kept", int(number)]:
                    return Remote(self, number)
                case ["seen", int(number)]:
                    return seen[number]
                case ["member", name, member]:
                    return self.shared[name][member]  # type: ignore[index]
                case ["object", name, held]:
                    value: Any = object.__new__(self.shared[name])
                    seen.append(value)
                    for key, part in held:
                        object.__setattr__(value, key, made(part))
                    return value
                case [name, *parts]:
                    return _PLAIN[name][2]([made(part) for part in parts])
            raise ValueError("an empty list")

        return made(code)


def _held(value: Any) -> dict[str, Any]:
    """What an object holds, in slots and in its dictionary."""
    slots = [name for kind in type(value).__mro__ for name in vars(kind).get("__slots__", ())]
    return {name: getattr(value, name) for name in slots if hasattr(value, name)} | getattr(value, "__dict__", {})


def _take_over(old: Any, new: Any) -> None:
    if new is old:
        return
    if isinstance(old, list | bytearray):
        old[:] = new
    elif isinstance(old, dict | set):
        old.clear()
        old.update(new)
    elif type(old) is type(new) and not isinstance(old, Remote):
        for name, value in _held(new).items():
            object.__setattr__(old, name, value)


def load(source: str, preface: str, name: str, function: str = "") -> dict[str, Any]:
    """The names of a program that runs as a module called `name`; those of `preface` are there before.

    But for the function that is asked for, which the program has to define.
    """
    module = types.ModuleType(name)
    sys.modules[name] = module  # dataclasses and pickles look their module up
    sys.setrecursionlimit(RECURSION_LIMIT)
    exec(compile(preface, "preface.py", "exec"), module.__dict__)
    module.__dict__.pop(function, None)
    exec(compile(source, "program.py", "exec"), module.__dict__)
    return module.__dict__


def found(names: Mapping[str, Any], function: str) -> Any:
    """The function itself, or the method of a class called Solution. Raises NameError."""
    solution = names.get("Solution")
    if solution is not None and hasattr(solution, function):
        return getattr(solution(), function)
    if function not in names:
        raise NameError(f"no function {function}")
    return names[function]


def _serve(peer: Peer, begin: Callable[[str], dict[str, Any]]) -> None:
    """Offer one function to begin with: it loads the program, and gives the function that is asked for and others."""

    def loaded(function: str, classes: list[str], others: list[str]) -> list[Any]:
        names = begin(function)
        peer.shared = {name: names[name] for name in classes if isinstance(names.get(name), type)}
        return [found(names, function), {name: names[name] for name in others if name in names}]

    peer.keep(loaded)
    peer.serve()


def main() -> None:
    """What the first argument says; results go to a descriptor that the program does not know."""
    with open("program.py", encoding="utf-8") as file:
        source = file.read()
    with open("preface.py", encoding="utf-8") as file:
        preface = file.read()
    kind, *settings = sys.argv[1:]
    sys.argv = ["program.py"]
    if kind == "run":
        load(source, preface, "__main__")
        return
    given, results = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY)):
        os.dup2(os.open(os.devnull, mode), descriptor)
    begin = functools.partial(load, source, preface, "program")
    if kind == "serve":
        _serve(Peer(given, results, frozenset(OPERATIONS), int(settings[0])), begin)
        return
    asked = json.load(given)
    function = found(begin(asked["function"]), asked["function"])
    results.write(json.dumps(function(*asked["arguments"])).encode())
    results.flush()


if __name__ == "__main__":
    main()
