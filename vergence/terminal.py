"""What is printed: the one way to a terminal, on which text of data, models and file names commands nothing.

A control character (ESC, and what else may move the cursor, set the title or clear the screen), a character that turns
the direction of writing round, and half a character are shown as JSON writes them: "\\u001b".
"""

import re
import sys

_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 without tab and newline, DEL, C1; embeddings, overrides and isolates of direction; surrogates."""


def escaped(text: str) -> str:
    """The text with nothing in it that a terminal would obey."""
    return _COMMANDS.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def say(text: object, *, end: str = "\n", error: bool = False) -> None:
    """Print something at once, to standard error if it is one."""
    print(escaped(str(text)), end=end, file=sys.stderr if error else sys.stdout, flush=True)
