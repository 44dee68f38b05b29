"""How often the intervals of shares cover the truth: docs/results/intervals.md.

    python scripts/interval_coverage.py --write docs/results/intervals.md

Problems are drawn from a beta distribution of solve rates with mean p and intraclass correlation rho, and k answers to
each from a binomial one (the beta-binomial model of clustered binary data). Where the answers to a problem are one
answer (k = 1, or rho = 1) the coverage is a sum over a binomial distribution, and exact; elsewhere it is a share of
simulated sets, whose standard error is about 0.35 points with the 4,000 that are the default.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.stats import binom

from vergence.evaluation.statistics import Z95, Interval, mean_at_k

RATES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5)
"""Up to a half: an interval for the wrong answers is that for the right ones, mirrored."""
PROBLEMS = (30, 100, 300)
ANSWERS = (1, 5, 16)
CORRELATIONS = (0.0, 0.1, 0.3, 0.7, 1.0)
LOW, HIGH = 0.93, 0.97

Rows = Sequence[Sequence[float]]
Cells = dict[tuple[int, int, float], list[float]]
"""(problems, answers, correlation) to the coverage at each rate."""


def covers(interval: Interval, rate: float) -> bool:
    """Whether the truth lies in it."""
    return interval.low <= rate <= interval.high


def normal(right: Rows) -> Interval:
    """What was reported before: mean +- 1.96 standard errors between problems."""
    means = np.array([sum(row) / len(row) for row in right])
    half = Z95 * float(means.std(ddof=1)) / len(means) ** 0.5
    return Interval(float(means.mean()), float(means.mean()) - half, float(means.mean()) + half)


def exact(interval: Callable[[Rows], Interval], problems: int, answers: int, rate: float) -> float:
    """Where all answers to a problem are alike."""
    found = [
        interval([[1.0] * answers] * right + [[0.0] * answers] * (problems - right)) for right in range(problems + 1)
    ]
    chances = binom.pmf(np.arange(problems + 1), problems, rate)
    return float(sum(chance for chance, one in zip(chances, found, strict=True) if covers(one, rate)))


def simulated(
    interval: Callable[[Rows], Interval], problems: int, answers: int, rate: float, correlation: float, sets: int
) -> float:
    """Of `sets` sets of answers, drawn with a seed of their own."""
    rng = np.random.default_rng([problems, answers, round(1000 * rate), round(1000 * correlation)])
    shape = (sets, problems)
    if correlation == 0.0:
        rates = np.full(shape, rate)
    else:
        strength = (1 - correlation) / correlation
        rates = rng.beta(rate * strength, (1 - rate) * strength, shape)
    counts = rng.binomial(answers, rates)
    rows = [[1.0] * right + [0.0] * (answers - right) for right in range(answers + 1)]
    return sum(covers(interval([rows[count] for count in one]), rate) for one in counts.tolist()) / sets


def attainable(problems: int, rate: float) -> bool:
    """Whether any rule at all covers between 93 and 97 of 100 sets of that many independent answers.

    A rule covers the rate with the counts that it accepts; their chances must add up. Only few counts matter where the
    rate is small, so all sets of the likely ones are tried.
    """
    chances = binom.pmf(np.arange(problems + 1), problems, rate)
    likely = [float(chance) for chance in chances if chance > 1e-3]
    if len(likely) > 14:
        return True
    rest = 1.0 - sum(likely)
    return any(
        LOW - rest <= sum(some) <= HIGH for size in range(len(likely) + 1) for some in combinations(likely, size)
    )


def coverage(interval: Callable[[Rows], Interval], sets: int) -> Cells:
    """Of all cells."""
    cells: Cells = {}
    for problems in PROBLEMS:
        for answers in ANSWERS:
            for correlation in (1.0,) if answers == 1 else CORRELATIONS:
                of = partial(exact, interval, problems, answers)
                if correlation < 1.0:
                    of = partial(simulated, interval, problems, answers, correlation=correlation, sets=sets)
                cells[problems, answers, correlation] = [of(rate=rate) for rate in RATES]
                print(problems, answers, correlation, cells[problems, answers, correlation], flush=True)
    return cells


def table(cells: Cells) -> str:
    """Per cent; what is below 93 or above 97 in bold."""
    lines = [
        "| problems | answers | correlation | " + " | ".join(f"p = {rate:g}" for rate in RATES) + " |",
        "|--:|--:|--:|" + "--:|" * len(RATES),
    ]
    for (problems, answers, correlation), row in cells.items():
        shown = [f"{100 * one:.1f}" if LOW <= one <= HIGH else f"**{100 * one:.1f}**" for one in row]
        alike = "one answer" if answers == 1 else f"{correlation:g}"
        lines.append(f"| {problems} | {answers} | {alike} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def page(ours: Cells, before: Cells, sets: int) -> str:
    """The whole of docs/results/intervals.md."""
    few = max(n * rate for (n, _, _), row in ours.items() for rate, one in zip(RATES, row, strict=True) if one > HIGH)
    impossible = [
        f"{problems} problems at p = {rate:g}"
        for problems in PROBLEMS
        for rate in RATES
        if not attainable(problems, rate)
    ]
    grid = np.linspace(0.02, 0.98, 97)
    means = {n: float(np.mean([exact(mean_at_k, n, 1, float(rate)) for rate in grid])) for n in PROBLEMS}
    error = 100 * (0.95 * 0.05 / sets) ** 0.5
    good, lowest, highest = counted(ours)
    good_before, lowest_before, _ = counted(before)
    mean_of_wilson = ", ".join(f"{100 * mean:.1f} % with {n} problems" for n, mean in means.items())
    return f"""# Coverage of the interval of avg@k

How often the 95 % interval of avg@k (`mean_at_k`, [equations.md](../equations.md), entry 57) holds the true rate p,
in per cent. Solve rates of problems are beta distributed with mean p and the intraclass correlation that is given: at
0 all answers are independent, at 1 the answers to a problem are all alike. Rows with one answer or correlation 1 are
exact; the others are of {sets:,} simulated sets each, with a standard error of about {error:.2f}. Rates above a half
are those below it, mirrored. Bold: outside 93 to 97.

{table(ours)}

- {good} cells lie in 93 to 97; the lowest is {lowest}, the highest {highest}. Where it is above 97, n p is at most
  {few:g}: the correlation cannot be seen in so few problems with a right answer, and the interval takes the wide side.
- With one answer, or with answers that are all alike, coverage is a sum of few binomial terms and jumps with p (Brown,
  Cai and DasGupta 2001). No rule whatever reaches 93 to 97 with {", ".join(impossible)},
  since no set of counts has a chance between the two. Over 97 rates from 0.02 to 0.98 the interval covers, in the mean,
  {mean_of_wilson}.
- What was reported before for several answers, mean +- 1.96 standard errors between problems, lies in 93 to 97 in
  {good_before} cells, and its lowest is {lowest_before} (second table). All right of three problems was [1, 1], and is
  [0.44, 1] now.

{table(before)}

Made by `python scripts/interval_coverage.py --write docs/results/intervals.md`.
"""


def counted(cells: Cells) -> tuple[str, str, str]:
    """How many of how many lie in 93 to 97, the lowest and the highest."""
    every = [one for row in cells.values() for one in row]
    good = sum(LOW <= one <= HIGH for one in every)
    return f"{good} of {len(every)}", f"{100 * min(every):.1f}", f"{100 * max(every):.1f}"


def main() -> None:
    """Print, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=4_000)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    ours = coverage(mean_at_k, options.sets)
    before = {key: row for key, row in coverage(normal, options.sets).items() if key[1] > 1}
    text = page(ours, before, options.sets)
    print(text)
    if options.write is not None:
        options.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
