"""`vergence eval MODEL --benchmark NAME --data FOLDER`."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from vergence.commands.benchmark_tables import print_results
from vergence.commands.quiet import quieten_libraries
from vergence.console import Terminal
from vergence.data.images import check_whole
from vergence.errors import DataError
from vergence.evaluation.benchmarks.asking import Asking, answer
from vergence.evaluation.benchmarks.benchmark import Benchmark, Found, Item, Template
from vergence.evaluation.benchmarks.download import download
from vergence.evaluation.benchmarks.files import find, read_items
from vergence.evaluation.benchmarks.judge import HttpJudge
from vergence.evaluation.benchmarks.known import benchmark_named
from vergence.evaluation.benchmarks.predictions import (
    MANIFEST,
    PREDICTIONS,
    TOLD,
    Predictions,
    held,
    predict,
    write_results,
)
from vergence.evaluation.benchmarks.protocol import PROTOCOLS, Protocol, adapted
from vergence.evaluation.benchmarks.results import results
from vergence.grading.limits import DEFAULT_LIMITS
from vergence.grading.load import grader_for
from vergence.model.device import choose_device
from vergence.model.fingerprint import policy_fingerprint
from vergence.model.policy import Policy, encode, load_policy, unknown_words
from vergence.model.vision import ADAPTER_OUTPUT, CachedTower
from vergence.rollout.local import LocalGenerator
from vergence.run.digests import Digests, Inputs, check_same, digests_of, parse_digests
from vergence.run.progress import Progress, Verbosity
from vergence.stages.inputs import model_files
from vergence.types import Problem, Sampling

KIND = "benchmark"
INPUTS = "inputs"
"""The part of a manifest that has a line for each file and picture, and is left out of the results."""
PACKAGES = (
    "vergence",
    "torch",
    "transformers",
    "pillow",
    "math-verify",
    "latex2sympy2_extended",
    "antlr4-python3-runtime",
)
"""What predictions and verdicts depend on beside the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the command is told."""

    benchmark: str
    model: Path
    data: Path
    split: str | None
    protocol: str
    samples: int | None
    max_new_tokens: int | None
    limit: int | None
    chunk: int
    seed: int
    device: str
    out: Path | None
    judge: str | None
    judge_model: str | None
    download: bool
    quiet: bool


def benchmark_command(wish: Wish) -> None:
    """Ask what was not asked yet, grade, write results.json, print. Raises an InputError before anything is written."""
    quieten_libraries()
    benchmark = benchmark_named(wish.benchmark)
    protocol = adapted(PROTOCOLS[wish.protocol], samples=wish.samples, max_new_tokens=wish.max_new_tokens)
    split = wish.split or benchmark.default_split
    if wish.download:
        download(benchmark, wish.data)
    items = read_items(benchmark, wish.data, split, wish.limit)
    _check_pictures(items)
    out = wish.out or Path("runs", "benchmarks", _folder_name(wish, benchmark, split, protocol))
    inputs = _inputs(wish, benchmark, find(benchmark, wish.data, split), items, out)
    policy = load_policy(wish.model, choose_device(wish.device))
    template = benchmark.templates[protocol.style]
    asked = [replace(item.problem, question=template.write(item)) for item in items]
    lengths, strange = _read_by(policy, asked)
    sampling = _fitting(policy, protocol.sampling, asked, lengths)
    manifest = _manifest(wish, benchmark, split, protocol, template, sampling, policy, asked)
    manifest[INPUTS] = inputs.as_json()
    judge = HttpJudge(wish.judge, wish.judge_model) if wish.judge and wish.judge_model else None
    console = Terminal(quiet=wish.quiet)
    with held(out, manifest) as folder, grader_for(DEFAULT_LIMITS) as grader:
        asking = Asking(
            benchmark=benchmark,
            template=template,
            sampling=sampling,
            seed=wish.seed,
            generator=LocalGenerator(policy, CachedTower(policy, remembered=ADAPTER_OUTPUT)),
            grader=grader,
            judge=judge,
        )
        _warn(console, protocol.sampling, sampling, strange, len(items))
        predictions = Predictions(
            folder / PREDICTIONS, items=len(items), samples=sampling.num_completions, chunk=wish.chunk
        )
        if predictions.done < len(items):
            with _progress(console, wish, benchmark.name, len(items), predictions.done) as progress:
                predict(
                    predictions,
                    items,
                    wish.chunk,
                    lambda some: answer(asking, some),
                    lambda done, total: progress.step(done, total, {}),
                )
        found = _told(manifest, benchmark, split) | results(
            benchmark, items, predictions.rows(), sampling.num_completions
        )
        write_results(folder, found)
    print_results(console, benchmark, found, out)


@contextmanager
def _progress(console: Console, wish: Wish, name: str, total: int, done: int) -> Iterator[Progress]:
    progress = Progress(console, Verbosity.QUIET if wish.quiet else Verbosity.NORMAL)
    progress.begin(name, total, done)
    try:
        yield progress
    finally:
        progress.end()


def _check_pictures(items: Sequence[Item]) -> None:
    """Decode every picture once, so that a broken one is found before hours are spent."""
    for path, name in {image.path: item.problem.id for item in items for image in item.problem.images}.items():
        check_whole(Path(path), f"item {name}")


def _read_by(policy: Policy, asked: Sequence[Problem]) -> tuple[list[int], int]:
    """Each prompt's length in tokens, and how many have words that the model's vocabulary lacks."""
    lengths, strange = [], 0
    for problem in asked:
        prompt = encode(policy, problem)
        lengths.append(len(prompt.token_ids))
        strange += unknown_words(policy, prompt)
    return lengths, strange


def _fitting(policy: Policy, sampling: Sampling, asked: Sequence[Problem], lengths: Sequence[int]) -> Sampling:
    """The budget, cut to what the model's context leaves behind the longest prompt. No prompt is ever cut.

    Raises DataError if a prompt fills the context.
    """
    context = getattr(policy.config.get_text_config(), "max_position_embeddings", None)
    if context is None:
        return sampling
    longest = max(lengths)
    if longest >= context:
        problem = asked[lengths.index(longest)]
        raise DataError(
            f"item {problem.id}: its prompt has {longest:,} tokens and the model's context {context:,}; use a model "
            "with a longer context, or smaller pictures"
        )
    return replace(sampling, max_new_tokens=min(sampling.max_new_tokens, context - longest))


def _manifest(
    wish: Wish,
    benchmark: Benchmark,
    split: str,
    protocol: Protocol,
    template: Template,
    sampling: Sampling,
    policy: Policy,
    asked: Sequence[Problem],
) -> dict[str, Any]:
    """Everything that predictions depend on, and under `TOLD` what is only said."""
    return {
        "vergence": KIND,
        "benchmark": f"{benchmark.name}@{benchmark.version}",
        "split": split,
        "items": len(asked),
        "questions": _digest(asked),
        "protocol": protocol.name,
        "template": template.label,
        "sampling": asdict(sampling),
        "seed": wish.seed,
        "chunk": wish.chunk,
        "model": policy_fingerprint(policy),
        "computes": f"{policy.device.type}, {str(policy.compute_dtype).removeprefix('torch.')}",
        "judge": wish.judge_model,
        "versions": {name: version(name) for name in PACKAGES},
        TOLD: {"model": str(wish.model.resolve()), "data": str(wish.data.resolve())},
    }


def _inputs(wish: Wish, benchmark: Benchmark, found: Found, items: Sequence[Item], out: Path) -> Digests:
    """Model, files and pictures. Raises DirectoryError if `out` holds answers that were given from others."""
    named = {
        "model": model_files(wish.model),
        "data": {path.relative_to(found.folder).as_posix(): path for path in found.files},
    }
    inputs = Inputs(named, {"data": {item.problem.id: item.problem.images for item in items}})
    now = digests_of(inputs)
    try:
        there = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        before = parse_digests(there[INPUTS])
    except (OSError, ValueError, KeyError, TypeError):
        return now  # nothing there, or nothing of ours, about which `held` says more
    if there.get("benchmark") == f"{benchmark.name}@{benchmark.version}" and there.get("split") == found.split:
        check_same(out, before, now, inputs)
    return now


def _digest(asked: Sequence[Problem]) -> str:
    """Of questions, pictures, answers and gradings."""
    digest = hashlib.sha256()
    for problem in asked:
        pictures = [image.sha256 for image in problem.images]
        row = [problem.id, problem.question, pictures, problem.answer, asdict(problem.grading)]
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()


def _told(manifest: dict[str, Any], benchmark: Benchmark, split: str) -> dict[str, Any]:
    """What results.json says of the run before it says the figures."""
    published = benchmark.splits[split].size
    return {
        **{key: value for key, value in manifest.items() if key != INPUTS},
        "title": benchmark.title,
        "published_items": published,
        "complete": manifest["items"] == published,
    }


def _folder_name(wish: Wish, benchmark: Benchmark, split: str, protocol: Protocol) -> str:
    model = wish.model.resolve()
    named = f"{model.parent.name}-{model.name}" if model.name in ("final", "model") else model.name
    part = "" if split == benchmark.default_split else f"-{split}"
    return f"{benchmark.name}{part}-{protocol.name}-{named}"


def _warn(console: Console, wished: Sampling, sampling: Sampling, strange: int, items: int) -> None:
    if sampling.max_new_tokens < wished.max_new_tokens:
        console.print(
            f"note: {sampling.max_new_tokens:,} new tokens instead of {wished.max_new_tokens:,}: the model's context "
            "has no room for more behind the longest prompt",
            highlight=False,
            soft_wrap=True,
        )
    if strange:
        console.print(
            f"note: {strange} of {items} questions have words that the model's vocabulary lacks", highlight=False
        )
