"""Items -> rows of predictions: asked, graded, read officially, and shown to a judge where nothing could be read."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from vergence.evaluation.benchmarks.benchmark import Benchmark, Draw, Item, Template
from vergence.evaluation.benchmarks.judge import Judge
from vergence.evaluation.benchmarks.said import is_read, said
from vergence.seeds import generator
from vergence.types import AnswerType, Completion, Generator, Grade, Grader, Problem, Sampling, Verdict

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Everything that decides what is predicted and how it is judged."""

    benchmark: Benchmark
    template: Template
    sampling: Sampling
    seed: int
    generator: Generator
    grader: Grader
    judge: Judge | None

    def asked(self, item: Item) -> Problem:
        """The problem as the model is asked it."""
        return replace(item.problem, question=self.template.write(item))


def answer(asking: Asking, items: Sequence[Item]) -> list[Row]:
    """K rows for each of N items, item by item."""
    problems = [asking.asked(item) for item in items]
    groups = asking.generator.generate(problems, asking.sampling, seed=asking.seed, version=0)
    responses = [
        (item, sample, completion, text)
        for item, group in zip(items, groups, strict=True)
        for sample, (completion, text) in enumerate(zip(group.completions, group.responses, strict=True))
    ]
    graded = {item.problem.id: asking.benchmark.graded(item) for item in items}
    grades = asking.grader.grade([(graded[item.problem.id], text) for item, _, _, text in responses])
    return [
        _row(asking, graded[item.problem.id], item, sample, one, text, grade)
        for (item, sample, one, text), grade in zip(responses, grades, strict=True)
    ]


def _row(
    asking: Asking, problem: Problem, item: Item, sample: int, completion: Completion, text: str, grade: Grade
) -> Row:
    draw = _draw(asking.seed, item.problem.id, sample)
    official = asking.benchmark.official
    reading = official.read(item, said(text), draw) if official else None
    read = is_read(problem, text)
    row: Row = {
        "id": item.problem.id,
        "sample": sample,
        "answer": item.problem.answer,
        "response": text,
        "tokens": len(completion.token_ids),
        "finish": str(completion.finish),
    }
    unread = not read or (reading is not None and reading.extracted is None)
    # a program is found by its fences, or there is none: nobody could copy it out
    if asking.judge is not None and unread and problem.grading.type is not AnswerType.CODE:
        found = asking.judge.extract(item.problem, text)
        row["judge"] = {"answer": found.answer, "error": found.error}
        if found.error:
            grade, reading = Grade(Verdict.FAILED, None, f"the judge failed: {found.error}"), None
        elif found.answer is not None:
            if not read:
                (grade,) = asking.grader.grade([(problem, rf"\boxed{{{found.answer}}}")])
                read = is_read(problem, rf"\boxed{{{found.answer}}}")
            if official and reading and reading.extracted is None:
                reading = official.read(item, found.answer, draw)
    return row | {
        "read": read,
        "extracted": grade.extracted,
        "verdict": str(grade.verdict),
        "reason": grade.reason,
        "official": None if reading is None else asdict(reading),
    }


def _draw(seed: int, name: str, sample: int) -> Draw:
    """Chance that belongs to this answer alone, so that neither order nor interruption changes it."""
    return lambda options: options[int(generator(seed, "guess", name, sample).integers(len(options)))]
