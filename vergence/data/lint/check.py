"""Every row of a set, checked one by one: what is wrong with which sample.

Nothing is kept of a row but its findings and three hashes, so a set may be larger than memory.
"""

import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from vergence.data.columns import never_there
from vergence.data.identities import Identities
from vergence.data.layout import Draft
from vergence.data.lint.finding import NOTES, Fault, Finding
from vergence.data.lint.pictures import Look, look
from vergence.data.lint.prompts import Prompts, measure
from vergence.data.marks import named
from vergence.data.raw_images import picture_of
from vergence.data.rows import Rows
from vergence.data.source import Keep, Source
from vergence.errors import DataError
from vergence.types import IMAGE_MARK, Problem

CHUNK = 256
"""Rows that are checked together."""
GoldFaults = Callable[[Sequence[Problem]], Sequence[tuple[int, str]]]
"""(problems) -> (place, reason) of those whose right answer cannot be graded."""


@dataclass(frozen=True, slots=True, eq=False)
class Checks:
    """What is asked of a set beside what every set is asked."""

    pairs: bool
    """Whether rows are preference pairs, which need no answer."""
    gold: GoldFaults
    keep: Keep
    """What is done with pictures that come as bytes."""
    prompts: Prompts | None = None
    """How prompts are made and counted; None leaves them alone."""


@dataclass(slots=True, eq=False)
class Outcome:
    """What was found in a set."""

    rows: int = 0
    pictures: int = 0
    findings: list[Finding] = field(default_factory=list)
    types: Counter[str] = field(default_factory=Counter)
    """Answer type to number of samples."""
    tokens: array = field(default_factory=lambda: array("L"))
    """Prompt lengths, of the samples whose prompts could be counted."""

    @property
    def left_out(self) -> frozenset[int]:
        """Rows that are not in the clean set."""
        return frozenset(one.index for one in self.findings if one.drops)

    @property
    def faults(self) -> list[Finding]:
        """The findings that are no mere notes."""
        return [one for one in self.findings if not one.is_note]

    def counts(self) -> dict[Fault, int]:
        """Fault to the number of its findings, in the order of `Fault`."""
        counted = Counter(one.fault for one in self.findings)
        return {fault: counted[fault] for fault in Fault if counted[fault]}


def check_set(source: Source, checks: Checks, watch: Callable[[int, int], None] = lambda done, of: None) -> Outcome:
    """Check every row; `watch` is told (rows done, rows in all). Raises DataError if the set cannot be opened.

    Nothing that is wrong with a row ends the check, whatever it raises.
    """
    rows = source.rows()
    inspector = Inspector(source, rows, checks)
    inspector.find_columns()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:  # decoding does not hold the interpreter's lock
        for first in range(0, len(rows), CHUNK):
            places = range(first, min(first + CHUNK, len(rows)))
            inspector.add(list(threads.map(inspector.sample, places)))
            watch(places.stop, len(rows))
    inspector.find_repeats()
    inspector.outcome.findings.sort(key=lambda one: one.index)
    return inspector.outcome


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a row turned out to be."""

    index: int
    findings: tuple[Finding, ...]
    pictures: int = 0
    problem: Problem | None = None
    """None where no problem could be made of it."""
    asked: str = ""
    """Equal for rows that ask the same about the same pictures, and for pairs have the same responses."""
    responses: tuple[str, ...] = ()
    """That the row itself gives."""


@final
class Inspector:
    """One check of one set."""

    def __init__(self, source: Source, rows: Rows, checks: Checks) -> None:
        self._source = source
        self._rows = rows
        self._checks = checks
        self._places = array("Q")
        self._ids, self._asked = Identities(), Identities()
        self.outcome = Outcome()

    def sample(self, index: int) -> Seen:
        """One row by itself; may be called in any thread."""
        where = self._rows.where(index)
        try:
            return self._sample(index, where)
        except DataError as error:
            text = str(error).removeprefix(f"{where}: ")
        except Exception as error:  # of a library that met what it did not expect
            text = _reason(error)
        return Seen(index, (Finding(index, where, "", Fault.ROW, text),))

    def _sample(self, index: int, where: str) -> Seen:
        draft = self._source.draft(self._rows, index)
        question, _ = self._source.question(draft)
        pictures = [self._picture(draft, index, place) for place in range(len(draft.images))]
        shown = tuple(path for _, path in pictures if path)
        broken = [(*one.fault, True) for one, _ in pictures if one.fault is not None]
        faults = [*broken, *self._text_faults(draft, question), *self._mark_faults(draft, question)]
        findings = [
            Finding(index, where, draft.id, fault, text, question, shown, drops) for fault, text, drops in faults
        ]
        for one, path in pictures:  # a set may have as many of these as pictures, so they are kept short
            name = Path(path).name
            findings += [
                Finding(index, where, draft.id, NOTES[kind], name, "", (path,), False) for kind in one.conversions
            ]
        if any(drops and fault not in (Fault.ANSWER, Fault.PAIR) for fault, _, drops in faults):
            return Seen(index, tuple(findings), len(pictures))
        problem = self._source.finished(draft, self._rows, index, self._checks.keep)
        given = (draft.target, draft.chosen, draft.rejected)
        return Seen(index, tuple(findings), len(pictures), problem, _asked(draft, problem), given)

    def find_columns(self) -> None:
        """Columns that the layout names and no row has: misspelt, or of another file."""
        for name in never_there(self._rows, self._source.layout.optional):
            where, text = str(self._source.path), f'"{name}"'
            self.outcome.findings.append(Finding(0, where, "", Fault.COLUMN, text, drops=False))

    def add(self, some: Sequence[Seen]) -> None:
        """Rows in their order: what they add up to, and what is asked of several at once."""
        for one in some:
            self.outcome.rows += 1
            self.outcome.pictures += one.pictures
            self.outcome.findings += one.findings
            if one.problem is not None:
                self.outcome.types[str(one.problem.grading.type)] += 1
                self._places.append(one.index)
                self._ids.add(one.problem.id)
                self._asked.add(one.asked)
                if not any(finding.drops for finding in one.findings):
                    self._measure(one.index, one.problem, one.responses)
        answered = [(one.index, one.problem) for one in some if one.problem is not None and one.problem.answer.strip()]
        for index, problem, reason in [] if self._checks.pairs else self._gold_faults(answered):
            self._find(index, problem, Fault.GOLD, f"{problem.answer!r:.60}: {reason}")

    def _gold_faults(self, answered: Sequence[tuple[int, Problem]]) -> list[tuple[int, Problem, str]]:
        try:
            found = self._checks.gold([problem for _, problem in answered])
        except Exception as error:  # asked one by one, so that only the one that did it is named
            if len(answered) == 1:
                return [(*answered[0], _reason(error))]
            return [fault for one in answered for fault in self._gold_faults([one])]
        return [(*answered[place], reason) for place, reason in found]

    def find_repeats(self) -> None:
        """Ids and questions that occur again; asked last, when the hashes of all rows are there."""
        if not self._checks.pairs:
            for first, place in self._ids.repeats(lambda place: self._again(place)[1].id):
                index, problem = self._again(place)
                self._find(index, problem, Fault.SAME_ID, f"also {self._rows.where(self._places[first])}")
        for first, place in self._asked.repeats(self._asked_at):
            (_, earlier), (index, problem) = self._again(first), self._again(place)
            same = earlier.answer.strip() == problem.answer.strip()
            answers = "" if same else f": {earlier.answer!r:.40} there, {problem.answer!r:.40} here"
            fault = Fault.SAME if same else Fault.CONTRADICTION
            self._find(index, problem, fault, f"asked by {self._rows.where(self._places[first])}{answers}")

    def _picture(self, draft: Draft, index: int, place: int) -> tuple[Look, str]:
        """What one picture is like, and the file that shows it, if there is one."""
        source, where = self._source, self._rows.where(index)
        folder = source.images or self._rows.folder(index)
        try:
            picture = picture_of(draft.images[place], folder, source.fetch, where)
        except DataError as error:
            fault = Fault.MISSING if "://" in str(draft.images[place])[:9] else Fault.BROKEN
            return Look((fault, str(error).removeprefix(f"{where}: "))), ""
        found = look(picture)
        path = str(picture) if isinstance(picture, Path) else "" if found.fault else self._checks.keep(picture).path
        return found, path

    def _text_faults(self, draft: Draft, question: str) -> Iterator[tuple[Fault, str, bool]]:
        if not question.replace(IMAGE_MARK, "").strip():
            yield Fault.QUESTION, "the question is empty", True
        if self._checks.pairs:
            if not draft.chosen.strip() or not draft.rejected.strip():
                yield Fault.PAIR, "chosen or rejected is empty", True
            elif draft.chosen == draft.rejected:
                yield Fault.PAIR, "chosen and rejected are equal", True
        elif not draft.answer.strip() and not draft.target:
            yield Fault.ANSWER, "the answer is empty", True

    def _mark_faults(self, draft: Draft, question: str) -> Iterator[tuple[Fault, str, bool]]:
        """A layout with marks puts them right; in our own, marks that do not fit would be read as text."""
        count, marks = len(draft.images), self._source.layout.marks
        told = question.count(IMAGE_MARK) if marks is None else named(draft.question, marks)
        if told not in (0, count):
            yield Fault.MARKS, f"the question names {told}, the row has {count}", marks is None

    def _measure(self, index: int, problem: Problem, responses: Sequence[str]) -> None:
        """The length of the prompt, where there is a model to measure it."""
        if self._checks.prompts is None:
            return
        found = measure(self._checks.prompts, problem, responses)
        if found.tokens is not None:
            self.outcome.tokens.append(found.tokens)
        if found.fault is not None:
            self._find(index, problem, *found.fault)

    def _find(self, index: int, problem: Problem, fault: Fault, text: str) -> None:
        images = tuple(image.path for image in problem.images)
        where = self._rows.where(index)
        self.outcome.findings.append(Finding(index, where, problem.id, fault, text, problem.question, images))

    def _again(self, place: int) -> tuple[int, Problem]:
        """A row that was seen before, by its place among those that problems were made of."""
        index = self._places[place]
        return index, self._source.problem(self._rows, index, self._checks.keep)

    def _asked_at(self, place: int) -> str:
        index, problem = self._again(place)
        return _asked(self._source.draft(self._rows, index), problem)


def _asked(draft: Draft, problem: Problem) -> str:
    pictures = (image.sha256 for image in problem.images)
    return "\x1f".join([problem.question.strip(), *pictures, draft.chosen, draft.rejected])


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
