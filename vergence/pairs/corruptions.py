"""Worse versions of a good response, made without a model: what a reward model must learn to tell apart.

change_number   one digit of the response is replaced by another
cut_short       the end is missing
drop_thought    the thought is missing
"""

import re
from collections.abc import Callable

import numpy as np

_NUMBER = re.compile(r"\d")
_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)

Corruption = Callable[[str, np.random.Generator], str]


def change_number(text: str, rng: np.random.Generator) -> str:
    """Replace one digit by a different one; the text itself where there is none."""
    places = [match.start() for match in _NUMBER.finditer(text)]
    if not places:
        return text
    place = places[int(rng.integers(len(places)))]
    other = (int(text[place]) + int(rng.integers(1, 10))) % 10
    return f"{text[:place]}{other}{text[place + 1 :]}"


def cut_short(text: str, rng: np.random.Generator) -> str:
    """Drop the last quarter to three quarters."""
    return text[: max(1, int(len(text) * rng.uniform(0.25, 0.75)))]


def drop_thought(text: str, rng: np.random.Generator) -> str:
    """Answer without thinking."""
    return _THOUGHT.sub("", text)


CORRUPTIONS: tuple[Corruption, ...] = (change_number, change_number, cut_short, drop_thought)
"""Changing a number is listed twice: it is the mistake that matters most."""


def corrupt(text: str, rng: np.random.Generator) -> str:
    """One corruption chosen at random."""
    return CORRUPTIONS[int(rng.integers(len(CORRUPTIONS)))](text, rng)
