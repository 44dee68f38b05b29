"""A held-out yes/no probe in POPE's form: is this object in the picture?

    accuracy, precision, recall, F1 with "yes" as the positive answer; yes ratio, the share of questions answered "yes"

Two sources. A file of yes/no problems is asked as it is. Where the data name what is visible and how claims are found,
a question "is OBJECT there?" is answered "yes" if the model's own response claims the object: POPE read off captions.
As many absent objects are asked for as present ones: any (random), the most frequent ones of the split (popular), or
those that most often stand beside the present ones (adversarial).
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vergence.errors import DataError
from vergence.reward.form import TAGS, Form
from vergence.seeds import generator
from vergence.types import Metrics, Problem, RolloutGroup

Split = Literal["random", "popular", "adversarial"]
_WORD = re.compile(r"\b(yes|no)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One question with its answer."""

    present: bool
    """The truth."""
    claimed: bool | None
    """What was answered; None where neither yes nor no can be read."""


@dataclass(frozen=True, slots=True)
class ObjectQuestion:
    """Whether an object is in a problem's pictures."""

    problem_id: str
    object: str
    present: bool


def probe_summary(verdicts: Sequence[Verdict]) -> Metrics:
    """POPE's five figures. An answer that cannot be read is wrong and no "yes". Ratios of nothing are 0."""
    if not verdicts:
        return {}
    said = [bool(one.claimed) for one in verdicts]
    hits = sum(yes and one.present for yes, one in zip(said, verdicts, strict=True))
    right = sum(one.claimed is one.present for one in verdicts)
    precision = hits / max(1, sum(said))
    recall = hits / max(1, sum(one.present for one in verdicts))
    return {
        "probe/accuracy": right / len(verdicts),
        "probe/precision": precision,
        "probe/recall": recall,
        "probe/f1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        "probe/yes_ratio": sum(said) / len(verdicts),
    }


def yes_or_no(text: str, form: Form = TAGS) -> bool | None:
    """The first "yes" or "no" of the answer, or of the whole response where no answer is tagged."""
    answer = form.answer(text)
    found = _WORD.search(text if answer is None else answer)
    return None if found is None else found.group(1).lower() == "yes"


def check_yes_no(problems: Sequence[Problem], source: Path) -> None:
    """Raise DataError naming the first problem of a probe whose answer is neither "yes" nor "no"."""
    for problem in problems:
        if problem.answer.strip().lower() not in ("yes", "no"):
            raise DataError(
                f'{source}, problem {problem.id}: a probe is answered "yes" or "no", found {problem.answer!r:.60}; '
                "correct the answer, or remove the row"
            )


def asked(groups: Sequence[RolloutGroup], form: Form = TAGS) -> list[Verdict]:
    """Of yes/no problems and one response to each."""
    return [
        Verdict(group.prompt.problem.answer.strip().lower() == "yes", yes_or_no(group.responses[0], form))
        for group in groups
    ]


def object_questions(problems: Sequence[Problem], *, split: Split, each: int, seed: int) -> list[ObjectQuestion]:
    """For each picture at most `each` present and as many absent objects; none where nothing is known to be visible.

    Present ones are drawn at random. The lexicon is every object that occurs in the split. Draws depend on the seed and
    the problem alone.
    """
    known = [problem for problem in problems if problem.mentions and problem.objects]
    frequency = Counter(name for problem in known for name in problem.objects)
    together = Counter((name, other) for problem in known for name in problem.objects for other in problem.objects)
    questions = []
    for problem in known:
        rng = generator(seed, "probe", problem.id)
        present, absent = sorted(problem.objects), sorted(set(frequency) - problem.objects)
        count = min(each, len(present), len(absent))
        chance = rng.random(len(absent)).tolist()
        beside = [sum(together[name, other] for other in present) for name in absent]
        first = {
            "random": [0] * len(absent),
            "popular": [frequency[name] for name in absent],
            "adversarial": beside,
        }[split]
        order = sorted(zip([-value for value in first], chance, absent, strict=True))
        drawn = [present[place] for place in sorted(rng.permutation(len(present))[:count].tolist())]
        questions += [ObjectQuestion(problem.id, name, True) for name in drawn]
        questions += [ObjectQuestion(problem.id, name, False) for _, _, name in order[:count]]
    return questions


def claimed(questions: Sequence[ObjectQuestion], groups: Sequence[RolloutGroup]) -> list[Verdict]:
    """The questions answered by one response to each problem; a problem without a response is left out."""
    claims = {
        group.prompt.problem.id: {
            match.group(0) for match in re.finditer(group.prompt.problem.mentions, group.responses[0])
        }
        for group in groups
    }
    return [Verdict(one.present, one.object in claims[one.problem_id]) for one in questions if one.problem_id in claims]
