"""Six questions about four digits, with their answers and the chains of thought that the language parent is taught.

    sum    a+b+c+d                      5+6=11,11+4=15,15+0=15
    max    the largest                  56=6,64=6,60=6          (pairwise fold)
    min    the smallest                 56=5,54=4,40=0
    range  largest minus smallest       max=6,min=0,6-0=6
    even   how many are even            5=0,6=1,4=1,0=1         (1 = even)
    prod   the diagonal, a x d          5*0=0
    read   the four digits              (no thought; the caption that alignment imitates)

Numbers are written digit by digit.
"""

from collections.abc import Sequence

import numpy as np

QUESTIONS = ("sum", "max", "min", "range", "even", "prod")
CAPTION = "read"

MENTIONS = r"(?<=<think>)\d|\d(?==)|(?<=max=)\d|(?<=min=)\d"
"""Where a thought names a digit it claims to see, as opposed to one it computed: the first operand of the first step,
and the last operand of every step. Matched on the whole response."""

ERROR_RATE = 0.08
"""Share of intermediate results that the mixed corpus gets wrong, by 1 or 2; the error is carried on."""


def answer(question: str, digits: Sequence[int]) -> str:
    """The right answer."""
    a, b, c, d = digits
    match question:
        case "sum":
            return str(a + b + c + d)
        case "max":
            return str(max(digits))
        case "min":
            return str(min(digits))
        case "range":
            return str(max(digits) - min(digits))
        case "even":
            return str(sum(digit % 2 == 0 for digit in digits))
        case "prod":
            return str(a * d)
        case "read":
            return "".join(map(str, digits))
    raise ValueError(f"no such question: {question!r}")


def chain(question: str, digits: Sequence[int], rng: np.random.Generator, error_rate: float) -> tuple[str, str]:
    """A thought and the answer it leads to; each intermediate result is off by 1 or 2 with `error_rate`."""

    def slip(value: int) -> int:
        if rng.random() >= error_rate:
            return value
        return max(0, value + int(rng.choice([-2, -1, 1, 2])))

    a, b, c, d = digits
    match question:
        case "sum" | "max" | "min":
            steps, total = [], a
            for digit in (b, c, d):
                result = {"sum": total + digit, "max": max(total, digit), "min": min(total, digit)}[question]
                sign = "+" if question == "sum" else ""
                result = slip(result) if question == "sum" else min(9, slip(result))
                steps.append(f"{total}{sign}{digit}={result}")
                total = result
            return ",".join(steps), str(total)
        case "range":
            largest, smallest = min(9, slip(max(digits))), min(9, slip(min(digits)))
            result = slip(max(0, largest - smallest))
            return f"max={largest},min={smallest},{largest}-{smallest}={result}", str(result)
        case "even":
            flags = [(digit % 2 == 0) != (rng.random() < error_rate) for digit in digits]
            return ",".join(f"{digit}={int(flag)}" for digit, flag in zip(digits, flags, strict=True)), str(sum(flags))
        case "prod":
            result = slip(a * d)
            return f"{a}*{d}={result}", str(result)
    raise ValueError(f"no chain for: {question!r}")


def caption(digits: Sequence[int]) -> str:
    """What alignment teaches the adapter to make the language model say."""
    return f"<answer>{answer(CAPTION, digits)}</answer>"


def corpus_response(question: str, digits: Sequence[int], rng: np.random.Generator) -> str:
    """One response of the mixed corpus: of uneven quality on purpose, because that is what leaves room for RL."""
    if question == CAPTION:
        return caption(digits)
    thought, result = chain(question, digits, rng, ERROR_RATE)
    kind = rng.random() * 0.9
    if kind < 0.5:
        return f"<think>{thought}</think><answer>{result}</answer>"
    if kind < 0.7:
        return f"<answer>{result}</answer>"
    if kind < 0.8:
        return f"<think>{thought}</think>"
    return result
