"""How our cost grows with P, C, G and the number of prompts, against the work model.

    python -m benchmarks.scaling [--results benchmarks/results.json]

The parent starts a child with the threads of lane S; the child measures CPU seconds of a rollout, of a pass for
log-probs and of an update, each through the product, the least of three. One quantity grows, the others stay at
P = 256, C = 64, G = 8, one prompt. A slope is that of log cost over log size: 1 is proportional, 0 is free.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.configs import CONFIGS
from benchmarks.figures import merged, table
from benchmarks.peer import check_environment
from benchmarks.processes import child_environment
from benchmarks.work_model import copied_pass, fitted_slope, shared_pass

BASE = {"P": 256, "C": 64, "G": 8, "prompts": 1}
SIZES = {
    "P": (256, 512, 1024, 2048),
    "C": (32, 64, 128, 256),
    "G": (4, 8, 16, 32),
    "prompts": (1, 2, 4, 8),
}
STEPS = ("rollout", "logprobs", "update")
REPEATS = 3


def lengthened(question: str, words: int) -> str:
    """The question, said again and again, so many words long.

    Example: `lengthened("a b", 5)` is `"a b a b a"`.
    """
    known = question.split()
    return " ".join((known * (words // len(known) + 1))[:words])


def measure(models: Path) -> list[dict[str, Any]]:
    """One row for each point: {"quantity", "P", "C", "G", "prompts", "rollout", "logprobs", "update"}, CPU seconds."""
    point = _bench(models)
    point(BASE | {"C": 8})  # libraries wake up
    return [
        {"quantity": name} | point(BASE | {name: size})
        for name, sizes in SIZES.items()
        for size in dict.fromkeys(sizes)
    ]


def _bench(models: Path) -> Callable[[Mapping[str, int]], dict[str, float]]:
    """A function from a point to its costs."""
    from dataclasses import replace

    import numpy as np

    from benchmarks.ours_grpo import HashReward, objective_of, problems_of
    from benchmarks.ours_rounds import RoundClock, learner_of, load
    from vergence.advantage.judging import effective_samples, judge
    from vergence.advantage.scaling import group_normalised
    from vergence.correction import stored_clip
    from vergence.model.batch import MICROBATCH_TOKENS
    from vergence.model.policy import encode
    from vergence.model.vision import ADAPTER_OUTPUT, CachedTower, LiveTower
    from vergence.rollout.local import LocalGenerator
    from vergence.stages.grpo.penalty import NoPenalty
    from vergence.stages.parts import logprobs_of
    from vergence.types import Draw, Origin, Sampling
    from vergence.update.minibatch import deal_groups, minibatches

    config = CONFIGS["G1"]
    clock = RoundClock()
    policy = load(config, models, clock)
    tower = LiveTower(policy)
    learner = learner_of(policy, clock)
    problems = problems_of(config, models)
    fixed = len(encode(policy, problems[0]).token_ids) - len(problems[0].question.split())
    objective = objective_of(policy, tower, NoPenalty())

    def point(size: Mapping[str, int]) -> dict[str, float]:
        asked = [
            replace(one, id=f"{one.id}-{place}", question=lengthened(one.question, size["P"] - fixed))
            for place, one in enumerate(problems[: size["prompts"]])
        ]
        sampling = Sampling(num_completions=size["G"], max_new_tokens=size["C"], temperature=1.0)
        best = dict.fromkeys(STEPS, float("inf"))
        tokens = 0
        for repeat in range(REPEATS):
            costs, begun = {}, time.process_time()
            groups = LocalGenerator(policy, tower).generate(asked, sampling, seed=repeat, version=0)
            costs["rollout"] = time.process_time() - begun
            members = [(group.prompt, one) for group in groups for one in group.completions]
            fresh = CachedTower(policy, remembered=ADAPTER_OUTPUT)
            begun = time.process_time()
            logprobs_of(policy, fresh, members, temperature=1.0, microbatch_tokens=MICROBATCH_TOKENS)
            costs["logprobs"] = time.process_time() - begun
            judged = judge(HashReward(0.0, clock)(groups), group_normalised)
            samples = stored_clip()([Draw(one, Origin.FRESH, 0) for one in effective_samples(judged)])
            (whole,) = minibatches(
                samples,
                places=len(samples),
                minibatch_size=len(samples),
                idle_tokens=0.0,
                deal=deal_groups,
                rng=np.random.default_rng(0),
            )
            begun = time.process_time()
            learner.update(objective(whole))
            costs["update"] = time.process_time() - begun
            best = {name: min(best[name], costs[name]) for name in STEPS}
            tokens = sum(len(group.prompt.token_ids) for group in groups)
        return {**size, "P": tokens / size["prompts"], **best}

    return point


def slopes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each quantity and step: sizes, costs, and the slope measured, modelled, and of a prompt per completion."""
    found = []
    side, vocab = CONFIGS["G1"].image_side, CONFIGS["G1"].vocab
    for name in SIZES:
        points = [row for row in rows if row["quantity"] == name]
        sizes = [float(row[name]) for row in points]
        shapes = [(row["P"], row["C"], row["G"], row["prompts"]) for row in points]
        model = fitted_slope(sizes, [shared_pass(*shape, side=side, vocab=vocab) for shape in shapes])
        copies = fitted_slope(sizes, [copied_pass(*shape, side=side, vocab=vocab) for shape in shapes])
        for step in STEPS:
            costs = [row[step] for row in points]
            found.append(
                {"quantity": name, "step": step, "sizes": sizes, "cpu": costs, "slope": fitted_slope(sizes, costs)}
                | {"model": model, "copies": copies}
            )
    return found


def scaling_table(rows: list[dict[str, Any]]) -> str:
    """Markdown of `slopes`."""
    head = ["grows", "step", "CPU seconds at its sizes", "slope", "work model", "a prompt per completion"]
    return table(
        head,
        [
            [
                row["quantity"],
                row["step"],
                ", ".join(f"{size:g}: {cost:.2f}" for size, cost in zip(row["sizes"], row["cpu"], strict=True)),
                f"{row['slope']:.2f}",
                f"{row['model']:.2f}",
                f"{row['copies']:.2f}",
            ]
            for row in rows
        ],
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path(".bench/models"))
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/results/speed.md"))
    parser.add_argument("--child", action="store_true", help="measure in this process and print JSON")
    arguments = parser.parse_args()
    if arguments.child:
        check_environment()
        print(json.dumps(measure(arguments.models.resolve())))
        return
    command = [sys.executable, "-m", "benchmarks.scaling", "--child", "--models", str(arguments.models)]
    answer = subprocess.run(command, env=child_environment(), check=True, stdout=subprocess.PIPE, text=True).stdout
    rows = slopes(json.loads(answer.splitlines()[-1]))
    print(scaling_table(rows))
    from benchmarks.page import publish

    publish(arguments.results, arguments.page, lambda old: merged(old, {"scaling": rows}))


if __name__ == "__main__":
    main()
