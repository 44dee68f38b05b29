"""What a reward model learns from: two responses that need not belong to one prompt, the first better.

Sources, each with its share of the good (right and well-formed) responses:

    rule          against another response of its group that is wrong or in bad form
    reasoning     against another response of its group that is well-formed and wrong: form does not tell them apart
    corruption    against a damaged version of itself
    elsewhere     against a good response to another problem with another answer (RRM: contextual beats non-contextual)
    wrong_image   the same response, once with its own picture and once with that of another problem

Two responses that both belong elsewhere tie (RRM), and ties teach nothing, so none is made.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, final, runtime_checkable

import numpy as np

from vergence.pairs.corruptions import corrupt
from vergence.pairs.rules import is_formed, is_good
from vergence.types import Completion, Finish, Problem, Prompt, ScoredGroup

Member = tuple[Prompt, Completion]
"""A response together with the prompt that it is judged for."""
SOURCES = ("rule", "reasoning", "corruption", "elsewhere", "wrong_image")
TEXT = "text"
"""The source of pairs without pictures that came from a file."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two members of which the first deserves the higher score."""

    better: Member
    worse: Member
    source: str
    """One of `SOURCES`, or what a file of pairs calls it."""

    @property
    def has_images(self) -> bool:
        """Whether either prompt has a picture."""
        return bool(self.better[0].problem.images or self.worse[0].problem.images)


@runtime_checkable
class Complete(Protocol):
    """Makes a completion of a text."""

    def __call__(self, text: str, finish: Finish = Finish.STOP) -> Completion:
        """A text as if it had been sampled and had ended like that; its log-probs are never read."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Wording:
    """How text becomes tokens: the model's business, handed in."""

    prompt: Callable[[Problem], Prompt]
    completion: Complete


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Of the responses for which a comparison of a source can be made, the share for which it is made; all 0..1."""

    rule: float = 1.0
    reasoning: float = 1.0
    corruption: float = 1.0
    elsewhere: float = 1.0
    wrong_image: float = 1.0


def compared_groups(
    scored: Sequence[ScoredGroup], shares: Shares, wording: Wording, rng: np.random.Generator
) -> list[Comparison]:
    """One good response of each group, where it has one, against something worse out of each source.

    Groups have the components accuracy and format. A response that could not be judged is in no comparison.
    """
    groups = [one.graded() for one in scored]
    good = [_chosen(group, is_good(group)) for group in groups]
    solved = [index for index, completions in enumerate(good) if completions]
    chosen = {index: good[index][int(rng.integers(len(good[index])))] for index in solved}
    rows = [(groups[index].group.prompt, chosen[index]) for index in solved]
    made: list[Comparison] = []
    for place, index in enumerate(solved):
        member = rows[place]
        for source, worse in (
            ("rule", _chosen(groups[index], ~is_good(groups[index]))),
            ("reasoning", _chosen(groups[index], is_formed(groups[index]) & ~is_good(groups[index]))),
        ):
            if worse and rng.random() < getattr(shares, source):
                made.append(Comparison(member, (member[0], worse[int(rng.integers(len(worse)))]), source))
        if rng.random() < shares.corruption:
            made += _corrupted(member, wording, rng)
    return made + augmented(rows, shares, wording, rng)


def augmented(rows: Sequence[Member], shares: Shares, wording: Wording, rng: np.random.Generator) -> list[Comparison]:
    """Good responses against responses to other problems, and against themselves with another problem's pictures."""
    made: list[Comparison] = []
    shown = ShownProblems([prompt.problem for prompt, _ in rows])
    for prompt, completion in rows:
        if rng.random() < shares.elsewhere:
            other, text = rows[int(rng.integers(len(rows)))]
            if differ(other.problem, prompt.problem) and text.text != completion.text:
                made.append(Comparison((prompt, completion), (prompt, text), "elsewhere"))
        if rng.random() < shares.wrong_image:
            stranger = shown.stranger(prompt.problem, rng)
            if stranger is not None:
                swapped = wording.prompt(with_images_of(prompt.problem, stranger))
                made.append(Comparison((prompt, completion), (swapped, completion), "wrong_image"))
    return made


def image_swaps(rows: Sequence[Member], wording: Wording, rng: np.random.Generator) -> list[Comparison]:
    """Every response with its own picture against itself with a wrong one: what the image-swap drop is measured on."""
    return augmented(rows, Shares(rule=0.0, reasoning=0.0, corruption=0.0, elsewhere=0.0), wording, rng)


def apart(comparisons: Sequence[Comparison]) -> tuple[list[Comparison], list[Comparison]]:
    """Those that compare two responses to one prompt, and those that compare two pictures."""
    swaps = [one for one in comparisons if one.source == "wrong_image"]
    return [one for one in comparisons if one.source != "wrong_image"], swaps


@final
class ShownProblems:
    """Problems with pictures, to be asked for one whose pictures do not fit another problem."""

    TRIES = 32
    """Random candidates that are looked at, so that asking costs the same among ten problems and among a million."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self._all = [problem for problem in problems if problem.images]
        self._by_question: dict[str, list[Problem]] = {}
        for problem in self._all:
            self._by_question.setdefault(problem.question, []).append(problem)

    def stranger(self, problem: Problem, rng: np.random.Generator) -> Problem | None:
        """A problem with as many pictures, none of them shared, and another answer; None where none was found.

        One that asks the same question is preferred: about its pictures the response is certainly wrong.
        """
        if not problem.images:
            return None
        own = {image.sha256 for image in problem.images}
        for candidates in (self._by_question.get(problem.question, []), self._all):
            for place in rng.integers(len(candidates), size=self.TRIES) if candidates else ():
                other = candidates[int(place)]
                theirs = {image.sha256 for image in other.images}
                if len(other.images) == len(problem.images) and differ(other, problem) and not own & theirs:
                    return other
        return None


def with_images_of(problem: Problem, other: Problem) -> Problem:
    """The question of one problem about the pictures of another, with an id of its own.

    Prompts with equal ids and tokens count as one prompt, and these two differ in neither.
    """
    return replace(problem, id=f"{problem.id} shown {other.id}", images=other.images)


def differ(one: Problem, other: Problem) -> bool:
    """Whether two problems differ: in their answers or, where none is known, in what they ask or show."""
    if one.answer or other.answer:
        return one.answer != other.answer
    return (one.question, one.images) != (other.question, other.images)


def _corrupted(member: Member, wording: Wording, rng: np.random.Generator) -> list[Comparison]:
    """A response against a damaged version of itself, if there is one.

    Both texts are cut into tokens in the same way and end as the response did, so that nothing but the damage tells
    them apart.
    """
    prompt, completion = member
    text = corrupt(completion.text, rng)
    if text == completion.text:
        return []
    better, worse = (wording.completion(one, completion.finish) for one in (completion.text, text))
    return [Comparison((prompt, better), (prompt, worse), "corruption")]


def _chosen(scored: ScoredGroup, which: np.ndarray) -> list[Completion]:
    """The completions for which it holds; `which` is [G]."""
    return [scored.group.completions[place] for place in np.flatnonzero(which)]
