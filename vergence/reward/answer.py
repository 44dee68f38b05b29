"""Reading a response: the answer it gives, and whether it has the form it was asked for."""

import re

ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_FORM = re.compile(r"<think>(.+?)</think>\s*<answer>(.+?)</answer>", re.DOTALL)
_TAGS = ("<think>", "</think>", "<answer>", "</answer>")


def extract_answer(text: str) -> str | None:
    """The content of the first pair of answer tags, or None where there is none."""
    found = ANSWER.search(text)
    return found.group(1).strip() if found else None


def thought(text: str) -> str:
    """What stands between the thinking tags, or "" where there is none."""
    begin, end = text.find("<think>"), text.find("</think>")
    return text[begin + len("<think>") : end] if 0 <= begin < end else ""


def is_well_formed(text: str) -> bool:
    """Thought, then answer, each tag exactly once, nothing before, between or after (DeepSeek-R1's template)."""
    return all(text.count(tag) == 1 for tag in _TAGS) and _FORM.fullmatch(text.strip()) is not None
