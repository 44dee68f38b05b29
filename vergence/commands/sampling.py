"""What `vergence pool` and `vergence pairs` share: a model answers every problem of a file, and can be interrupted."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vergence.commands.quiet import quieten_libraries
from vergence.console import Terminal
from vergence.data.problems import read_problems
from vergence.data.source import Source
from vergence.errors import DataError
from vergence.files import check_output
from vergence.grading.limits import DEFAULT_LIMITS
from vergence.grading.load import grader_for
from vergence.model.device import choose_device
from vergence.model.fingerprint import policy_fingerprint
from vergence.model.policy import Policy, load_policy
from vergence.model.vision import ADAPTER_OUTPUT, CachedTower
from vergence.pool.samples import CHUNK, samples_path
from vergence.reward.form import Form
from vergence.reward.hybrid import RULES, RuleReward
from vergence.reward.rules import AsWritten
from vergence.rollout.local import LocalGenerator
from vergence.run.digests import Digests, Inputs, check_same, digests_of, parse_digests
from vergence.run.progress import Progress, Verbosity
from vergence.stages.gold import check_gold
from vergence.stages.inputs import data_files, model_files
from vergence.stages.prompts import check_asked
from vergence.types import Problem, RolloutGroup, Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What both commands are told."""

    model: Path
    data: Path
    out: Path
    samples: int
    """Responses per problem, K."""
    max_new_tokens: int
    temperature: float
    seed: int
    device: str
    form: Form
    """That responses are asked for."""
    quiet: bool

    @property
    def sampling(self) -> Sampling:
        """How responses are drawn."""
        return Sampling(num_completions=self.samples, max_new_tokens=self.max_new_tokens, temperature=self.temperature)


@dataclass(frozen=True, slots=True, eq=False)
class Answering:
    """A model that is ready to answer the problems of a file."""

    asking: Asking
    problems: Sequence[Problem]
    policy: Policy
    tower: CachedTower
    generator: LocalGenerator
    fingerprint: str
    """The policy's."""
    inputs: Digests
    """What model and data are by content, file by file and picture by picture."""
    rules: RuleReward
    """Accuracy and format."""

    def groups(self, problems: Sequence[Problem]) -> list[RolloutGroup]:
        """K responses to each."""
        return self.generator.generate(problems, self.asking.sampling, seed=self.asking.seed, version=0)

    def head(self, kind: str, further: dict[str, Any]) -> dict[str, Any]:
        """What samples depend on: the first line of a file of samples."""
        asking = self.asking
        return {
            "vergence": kind,
            "inputs": self.inputs.as_json(),
            "model": self.fingerprint,
            "samples": asking.samples,
            "max_new_tokens": asking.max_new_tokens,
            "temperature": asking.temperature,
            "seed": asking.seed,
            "form": asking.form.name,
            "chunk": CHUNK,
        } | further


@contextmanager
def answering(asking: Asking, *, graded: bool) -> Iterator[Answering]:
    """Read, check, load; graders end with the block. Raises an InputError before anything is written.

    Where the answers are not the truth (`graded` is false), they are compared as they stand and never checked.
    """
    quieten_libraries()
    if asking.samples < 2:
        raise DataError(f"--samples {asking.samples}: at least 2 are needed to compare a problem's responses")
    if asking.temperature <= 0:
        raise DataError(f"--temperature {asking.temperature}: must be above 0, or all responses would be equal")
    check_output(asking.out)
    problems = read_problems(asking.data, decode=True)
    with grader_for(DEFAULT_LIMITS) as grader:
        if graded:
            check_gold(problems, asking.data, grader, asking.form)
        inputs = _inputs(asking, problems)
        check_asked(asking.data, asking.model)
        policy = load_policy(asking.model, choose_device(asking.device))
        tower = CachedTower(policy, remembered=ADAPTER_OUTPUT)
        generator = LocalGenerator(policy, tower)
        rules = RuleReward(RULES, grader if graded else AsWritten(), form=asking.form)
        yield Answering(asking, problems, policy, tower, generator, policy_fingerprint(policy), inputs, rules)


@contextmanager
def watched(name: str, total: int, done: int, *, quiet: bool) -> Iterator[Progress]:
    """A progress line over the problems of a file."""
    progress = Progress(Terminal(), Verbosity.QUIET if quiet else Verbosity.NORMAL)
    progress.begin(name, total, done)
    try:
        yield progress
    finally:
        progress.end()


def _inputs(asking: Asking, problems: Sequence[Problem]) -> Digests:
    """Model, data and pictures. Raises DirectoryError if samples are there already that were drawn from others."""
    files = {"model": model_files(asking.model), "data": data_files(Source(asking.data))}
    inputs = Inputs(files, {"data": {one.id: one.images for one in problems}})
    now, path = digests_of(inputs), samples_path(asking.out)
    try:
        with path.open(encoding="utf-8") as file:
            before = parse_digests(json.loads(file.readline())["inputs"])
    except (OSError, ValueError, KeyError, TypeError):
        return now  # nothing there, or nothing of ours, about which the file of samples says more
    check_same(path, before, now, inputs)
    return now
