"""The report of a data check: one HTML page with what is wrong, the pictures that it is about, and what is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vergence.data.lint.check import Outcome
from vergence.data.lint.finding import MEANING, Fault, Finding
from vergence.data.lint.prompts import Limits
from vergence.report.document import document
from vergence.report.markup import Html, join, section, table, tag
from vergence.report.samples import sample_card
from vergence.types import Problem

SHOWN = 40
"""Findings of one kind that the page shows; all of them are in findings.jsonl."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What the page is about."""

    name: str
    """The set, as it was named."""
    layout: str
    outcome: Outcome
    limits: Limits
    samples: Sequence[Problem]
    """Some that are in the clean set, as they are asked."""


def check_page(checked: Checked) -> str:
    """The whole page, in ASCII, with no other file and no script."""
    outcome = checked.outcome
    counts = outcome.counts()
    parts = [
        _summary(outcome, counts),
        *(_fault(fault, [one for one in outcome.findings if one.fault is fault]) for fault in counts),
        _lengths(outcome, checked.limits),
        _samples(checked.samples),
    ]
    return document(f"{checked.name}: data check", _head(checked, counts), join(parts))


def _head(checked: Checked, counts: Mapping[Fault, int]) -> Html:
    outcome = checked.outcome
    left = len(outcome.left_out)
    state = tag("span", "clean", class_="state complete") if not left else Html()
    state = state or tag("span", f"{left:,} of {outcome.rows:,} left out", class_="state unfinished")
    facts = {
        "set": checked.name,
        "layout": checked.layout,
        "rows": f"{outcome.rows:,}",
        "pictures": f"{outcome.pictures:,}",
        "in the clean set": f"{outcome.rows - left:,}",
        "graded as": ", ".join(f"{name} {count:,}" for name, count in sorted(outcome.types.items())) or "nothing",
    }
    shown = [tag("span", f"{name} ", tag("b", value)) for name, value in facts.items()]
    links = [tag("a", str(fault), href=f"#{_anchor(fault)}") for fault in counts]
    title = tag("h1", "Data check: ", tag("em", Path(checked.name).name))
    return tag("header", title, state, tag("p", join(shown), class_="facts"), tag("nav", join(links)) if links else "")


def _summary(outcome: Outcome, counts: Mapping[Fault, int]) -> Html:
    if not counts:
        return section("summary", "Findings", tag("p", "Nothing was found."))
    head = [tag("th", "fault"), tag("th", "findings", class_="number"), tag("th", "what it means")]
    lines = [
        tag("tr", tag("td", str(fault)), tag("td", f"{count:,}", class_="number"), tag("td", MEANING[fault]))
        for fault, count in counts.items()
    ]
    return section("summary", "Findings", table(head, lines))


def _fault(fault: Fault, findings: Sequence[Finding]) -> Html:
    cards = [_card(one) for one in findings[:SHOWN]]
    more = len(findings) - len(cards)
    note = tag("p", f"{more:,} more are in findings.jsonl.", class_="note") if more else ""
    return section(_anchor(fault), f"{str(fault).capitalize()}: {len(findings):,}", join(cards), note)


def _card(finding: Finding) -> Html:
    first = tag(
        "p",
        tag("b", finding.text, class_="question"),
        tag("span", finding.where),
        tag("span", finding.id, class_="identity") if finding.id else "",
        "" if finding.drops else tag("span", "kept"),
        class_="first",
    )
    return sample_card([Path(image) for image in finding.images], first, finding.question)


def _samples(samples: Sequence[Problem]) -> Html:
    cards = [
        sample_card(
            [Path(image.path) for image in one.images],
            tag(
                "p",
                tag("b", one.answer, class_="question"),
                tag("span", str(one.grading.type)),
                tag("span", one.category),
                tag("span", one.id, class_="identity"),
                class_="first",
            ),
            one.question,
        )
        for one in samples
    ]
    note = tag("p", "The right answer, how it is graded, the category; below, what the model is asked.", class_="note")
    return section("samples", "Samples of the clean set", note, join(cards)) if cards else Html()


def _lengths(outcome: Outcome, limits: Limits) -> Html:
    if not outcome.tokens:
        return Html()
    tokens = np.frombuffer(outcome.tokens, dtype=np.dtype(outcome.tokens.typecode))
    shares = (0, 50, 90, 99, 100)
    head = [tag("th", "prompt tokens"), *(tag("th", f"{share} %", class_="number") for share in shares)]
    values = np.percentile(tokens, shares, method="inverted_cdf")
    line = tag("tr", tag("td", "shorter or equal"), join(tag("td", f"{int(one):,}", class_="number") for one in values))
    note = tag(
        "p",
        f"Pictures included. The context has {limits.context:,} tokens, a response may take "
        f"{limits.response:,} of them.",
        class_="note",
    )
    return section("lengths", "Prompt lengths", table(head, [line]), note)


def _anchor(fault: Fault) -> str:
    return str(fault).replace(" ", "-").replace(",", "")
