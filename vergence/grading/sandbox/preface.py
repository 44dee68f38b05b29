"""What programs find before they begin, as in LiveCodeBench's harness: its problems are answered without imports."""

_EVERYTHING_OF = (
    *("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics"),
    *("itertools", "functools", "operator", "io", "sys", "json", "builtins", "typing"),
)
"""In that order: of two things with one name the later is meant, so that `pow` is again the built-in one."""
_BY_NAME = tuple(name for name in _EVERYTHING_OF if name not in ("builtins", "typing"))

PREFACE = "".join([*(f"from {name} import *\n" for name in _EVERYTHING_OF), *(f"import {name}\n" for name in _BY_NAME)])
"""Lines of Python. Its recursion limit is set by `caller.py`."""
