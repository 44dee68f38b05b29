"""Questions and responses for reward models that read text themselves: classifiers, and those behind HTTP."""

import hashlib
from collections.abc import Sequence

import numpy as np

from vergence.types import Completion, Finish, ImageRef, Problem, Prompt


def question_key(question: str, images: Sequence[bytes]) -> str:
    """32 hexadecimal digits; equal for equal questions about equal pictures."""
    digest = hashlib.blake2b(question.encode(), digest_size=16)
    for image in images:
        digest.update(hashlib.sha256(image).digest())
    return digest.hexdigest()


def asked_problem(name: str, question: str, images: tuple[ImageRef, ...]) -> Problem:
    """A question whose answer nobody knows."""
    return Problem(name, question, images, "", "all", frozenset(), "")


def plain_prompt(problem: Problem) -> Prompt:
    """A prompt without tokens."""
    return Prompt(problem, np.empty(0, dtype=np.int64), np.empty((1, 0), dtype=np.int64))


def plain_completion(text: str, finish: Finish = Finish.STOP) -> Completion:
    """A completion with a letter where a token would be, so that its length is that of the text."""
    letters = np.array([ord(letter) for letter in text], dtype=np.int64)
    return Completion(letters, np.zeros(len(letters), dtype=np.float32), finish, 0, text)
