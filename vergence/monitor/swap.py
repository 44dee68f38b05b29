"""Whether answers change with the picture: the flip rate under another problem's picture.

    flip rate   share of problems whose greedy answer differs once their picture is that of another problem

A model that looks cannot answer two different pictures alike, except by chance; a low rate says that it does not look.
Two greedy answers for each problem.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import final

from vergence.reward.form import TAGS, Form
from vergence.types import Generator, Metrics, Problem, Sampling, ScoredGroup


def swapped(problems: Sequence[Problem]) -> list[tuple[Problem, Problem]]:
    """(problem, the same with the pictures of the next one that has as many and not the same); without such, left out.

    What a picture is, is said by its bytes.
    """
    found = []
    for place, problem in enumerate(problems):
        for other in (*problems[place + 1 :], *problems[:place]):
            if len(other.images) == len(problem.images) and _bytes(other) != _bytes(problem):
                changed = replace(problem, id=f"{problem.id} with the picture of {other.id}", images=other.images)
                found.append((problem, changed))
                break
    return found


def answer_of(text: str, form: Form = TAGS) -> str:
    """What a response answers; all of it where no answer can be read."""
    found = form.answer(text)
    return text.strip() if found is None else found


@final
class Swap:
    """Asks some of a step's problems twice."""

    def __init__(
        self,
        generator: Callable[[], Generator],
        *,
        problems: int,
        max_new_tokens: int,
        seed: int,
        form: Form = TAGS,
    ) -> None:
        """`generator` makes a fresh one for each measurement, so that it does not remember swapped prompts."""
        self._generator = generator
        self._problems = problems
        self._sampling = Sampling(num_completions=1, max_new_tokens=max_new_tokens, temperature=0.0)
        self._seed = seed
        self._form = form

    def __call__(self, step: int, scored: Sequence[ScoredGroup]) -> Metrics:
        """Nothing where no two problems have different pictures."""
        distinct = {one.group.prompt.problem.id: one.group.prompt.problem for one in scored}
        asked = [problem for problem in distinct.values() if problem.images][: self._problems]
        pairs = swapped(asked)
        if not pairs:
            return {}
        both = [own for own, _ in pairs] + [other for _, other in pairs]
        groups = self._generator().generate(both, self._sampling, seed=self._seed, version=0)
        answers = [answer_of(group.responses[0], self._form) for group in groups]
        flips = [one != other for one, other in zip(answers[: len(pairs)], answers[len(pairs) :], strict=True)]
        return {"perception/flip_rate": sum(flips) / len(flips)}


def _bytes(problem: Problem) -> list[str]:
    return [image.sha256 for image in problem.images]
