r"""The content of `\boxed{...}`: of the last one, or of the list that it ends."""

import re

from vergence.grading.markup import closing_brace

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s{0,20}")


def last_boxed(text: str) -> str | None:
    r"""The content of the last `\boxed{...}`; "" where it is not closed; None where there is no box."""
    commands = list(_BOX.finditer(text))
    return _content(text, commands[-1].end())[0] if commands else None


def answer_boxed(text: str) -> str | None:
    r"""The same, of the whole list where the last box ends one: `\boxed{3}, \boxed{5}` -> `3, 5`.

    A list are boxes with nothing but commas, "and", "or" and names such as "x =" between them.
    """
    commands = list(_BOX.finditer(text))
    if not commands:
        return None
    last, _ = _content(text, commands[-1].end())
    if not last or len(commands) == 1:
        return last
    contents, begin = [last], commands[-1].start()
    names: list[str] = []
    for command in reversed(commands[-_MOST_BOXES:-1]):
        content, end = _content(text, command.end(), begin)
        gap = _BETWEEN_BOXES.fullmatch(text, end, begin) if content and begin - end <= _LONGEST_GAP else None
        if gap is None or gap.group().count("\n") > bool(gap["sign"].strip()):  # on one line, or behind a comma
            break
        names.append(gap["name"] or "")
        contents.append(content)
        begin = command.start()
    named = _NAME_BEFORE_BOX.search(text, max(0, begin - _LONGEST_GAP), begin)
    names.append(named["name"] if named else "")
    parts = [content if "=" in content else name + content for name, content in zip(names, contents, strict=True)]
    several = list(dict.fromkeys(reversed(parts)))
    return ", ".join(several) if len(several) > 1 else last


_MOST_BOXES = 65
_LONGEST_GAP = 60
_NAME = r"(?P<name>(?:[A-Za-z]|\\[a-z]{2,8})(?:_\{?[A-Za-z0-9]{1,3}\}?)?\s*=)?"
_BETWEEN_BOXES = re.compile(
    r"[\s$]*(?:\\[)\]])?(?P<sign>[,;]?\s*(?:\\text\s*\{)?\s*(?:and|or|und|oder|et|ou|和|与|或者?|以?及)?\s*\}?)"
    r"[\s$]*(?:\\[(\[])?[\s$]*" + _NAME + r"[\s$]*"
)
_NAME_BEFORE_BOX = re.compile(r"(?<![A-Za-z\\])" + _NAME.removesuffix("?") + r"[\s$]*$")


def _content(text: str, begin: int, stop: int | None = None) -> tuple[str, int]:
    """What a box holds, and where it ends; "" where it is not closed before `stop`."""
    if text[begin : begin + 1] == "{":
        end = closing_brace(text, begin, stop)
        return (text[begin + 1 : end].strip(), end + 1) if end > 0 else ("", begin)
    word = re.match(r"[^\s$\\{}]{1,100}", text[begin : min(begin + 100, len(text) if stop is None else stop)])
    return (word.group().rstrip(".,;"), begin + word.end()) if word else ("", begin)  # \boxed 5
