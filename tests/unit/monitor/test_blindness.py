"""Responses that say they cannot see the picture."""

import re

import pytest

from vergence.monitor.blindness import blindness_metrics
from vergence.recipe.monitor import CANNOT_SEE

from ..builders import group

PATTERNS = [re.compile(pattern) for pattern in CANNOT_SEE]


@pytest.mark.parametrize(
    "text",
    [
        "I can't see the image, so I will guess.",
        "Sorry, I cannot view images directly.",
        "As I am unable to see the actual picture, I assume x = 2.",
        "I don't have access to the diagram.",
        "The image is not provided.",
        "the figure isn't visible here",
        "The graph has not been attached.",
        "Since no image was provided, we take the values as given.",
        "Without seeing the diagram it is hard to tell.",
        "Without being able to see the picture, the answer is B.",
    ],
)
def test_claims_of_blindness(text: str) -> None:
    assert {"hallucination/blindness": 1.0} == blindness_metrics([group([text])], PATTERNS)


@pytest.mark.parametrize(
    "text",
    [
        "In the image we can see a cat.",
        "I cannot find an error in this proof.",
        "The picture shows no dog.",
        "The image is not to scale.",
        "We see that the figure is a square.",
        "5+6=11",
        "",
    ],
)
def test_other_sentences(text: str) -> None:
    assert {"hallucination/blindness": 0.0} == blindness_metrics([group([text])], PATTERNS)


def test_the_rate_counts_responses_to_problems_with_pictures() -> None:
    groups = [
        group(["I can't see the image", "a cat", "no image was given, no image was given"]),
        group(["I can't see the image"], images=()),
    ]
    assert pytest.approx(2 / 3) == blindness_metrics(groups, PATTERNS)["hallucination/blindness"]
    assert {} == blindness_metrics(groups[1:], PATTERNS)


def test_patterns_are_the_users_own() -> None:
    assert {"hallucination/blindness": 0.5} == blindness_metrics(
        [group(["je ne vois rien", "un chat"])], [re.compile("ne vois")]
    )
