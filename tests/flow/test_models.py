"""The model matrix: every family against transformers' own model and processor of it, from prompt to saved checkpoint.

What is expected comes from transformers alone: its processor writes the prompt and reads the pictures, its model is
loaded by its automatic class and called as users call it. What each check measured is noted, and
`python -m pytest tests/flow/test_models.py --write-models` writes it into docs/models.md.
"""

import inspect
import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import NAMES, SPECIAL, SYMBOLS, never_written, tiny_policy
from measured import PAGE, Cell, note, shown
from own_processor import own_inputs, own_processor
from PIL import Image
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText

from flow.conftest import rows, vergence
from vergence.data.images import reference
from vergence.model.batch import collate
from vergence.model.families.family import ROLES
from vergence.model.forward import token_scores
from vergence.model.parameters import Training, role_parameters, trained_parameters
from vergence.model.policy import Policy, encode, load_policy
from vergence.model.vision import CachedTower, LiveTower
from vergence.rollout.local import LocalGenerator
from vergence.types import IMAGE_MARK, Completion, Finish, Problem, Prompt, Sampling

EVERY = pytest.mark.parametrize("name", NAMES)
CPU = torch.device("cpu")
Message = list[dict[str, str]]
"""What a user says: {"text": ...} and {"image": path}, in order."""
Member = tuple[Prompt, Completion]


# ── what is asked ────────────────────────────────────────────────────────────────────────────────────────────────

SIZES = ((20, 24), (64, 24), (24, 64), (40, 40), (17, 33), (56, 28))
"""Height and width of the pictures, by number."""
ASKED: tuple[tuple[str | int, ...], ...] = (
    ("what is 1+1?",),
    (0, "what is it?"),
    (1, "and this?"),
    ("small: ", 4),
    (2, 3, 4, "which is the largest?"),
    ("is ", 5, " more than ", 0, "?"),
    (3, " and ", 1, " and ", 2),
)
"""Messages: text, and pictures by number. None, one and several pictures, in front of the text and inside it; one
picture alone in a prompt and among others in another.
"""


@dataclass(frozen=True)
class World:
    """The same messages twice: as transformers reads them, and as problems of ours."""

    folder: Path
    messages: list[Message]
    problems: list[Problem]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(0)
    paths = [folder / f"{number}.png" for number in range(len(SIZES))]
    for path, (height, width) in zip(paths, SIZES, strict=True):
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    messages, problems = [], []
    for place, parts in enumerate(ASKED):
        messages.append([{"text": one} if isinstance(one, str) else {"image": str(paths[one])} for one in parts])
        question = "".join(one if isinstance(one, str) else IMAGE_MARK for one in parts)
        images = tuple(reference(paths[one], "a test") for one in parts if isinstance(one, int))
        problems.append(Problem(f"p{place}", question, images, "2", "any", frozenset(), ""))
    return World(folder, messages, problems)


@dataclass(frozen=True)
class Own:
    """A family as transformers has it."""

    model: Any
    processor: Any

    def inputs(self, message: Message, following: Sequence[int] = ()) -> dict[str, Any]:
        """What the model reads for a message and the tokens that follow it, which are text."""
        inputs = own_inputs(self.processor, message)
        behind = torch.tensor(following, dtype=torch.long)[None]
        for key, value in inputs.items():
            if key == "input_ids":
                inputs[key] = torch.cat([value, behind], dim=1)
            elif key == "attention_mask":
                inputs[key] = torch.ones_like(inputs["input_ids"])
            elif key.endswith("token_type_ids"):
                inputs[key] = torch.cat([value, torch.zeros_like(behind)], dim=1)
        return inputs


def own(policy: Policy) -> Own:
    folder = Path(policy.model.name_or_path)
    return Own(AutoModelForImageTextToText.from_pretrained(folder).eval(), own_processor(folder))


def written(world: World, policy: Policy) -> tuple[list[Member], list[Message]]:
    """Two random completions of different lengths for each message, shuffled, and the messages they answer."""
    rng = np.random.default_rng(1)
    members, messages = [], []
    for place, problem in enumerate(world.problems):
        prompt = encode(policy, problem)
        for length in (3 + place, 9 - place):
            ids = rng.integers(len(SPECIAL), len(SPECIAL) + len(SYMBOLS), length)
            members.append((prompt, Completion(ids, np.zeros(length, np.float32), Finish.LENGTH, 0, "")))
            messages.append(world.messages[place])
    order = rng.permutation(len(members))
    return [members[place] for place in order], [messages[place] for place in order]


def own_logprobs(theirs: Own, name: str, message: Message, completion: Completion) -> Tensor:
    """[T] of one sequence, by the model's ordinary forward pass."""
    inputs = theirs.inputs(message, completion.token_ids.tolist())
    logits = theirs.model(**inputs).logits[0].index_fill(1, torch.tensor(never_written(name)), -math.inf)
    length = len(completion.token_ids)
    answer = inputs["input_ids"][0, -length:]
    return logits[-length - 1 : -1].log_softmax(-1).gather(1, answer[:, None])[:, 0]


# ── the checks ───────────────────────────────────────────────────────────────────────────────────────────────────


@EVERY
def test_prompts_are_those_of_the_processor(name: str, world: World, cell: Cell) -> None:
    policy = tiny_policy(name, world.folder)
    processor = own_processor(Path(policy.model.name_or_path))
    pictures = 0
    for message, problem in zip(world.messages, world.problems, strict=True):
        expected = own_inputs(processor, message)["input_ids"][0].tolist()
        assert expected == encode(policy, problem).token_ids.tolist()
        pictures += expected.count(policy.image_token_id)
    assert pictures > 3 * sum(isinstance(one, int) for parts in ASKED for one in parts)
    note(cell, f"{len(world.problems)} prompts, {pictures} image tokens")


@EVERY
def test_log_probs_of_a_mixed_batch_are_those_of_the_model(name: str, world: World, cell: Cell) -> None:
    """All messages in one packed row, each prompt once, against one sequence at a time."""
    policy = tiny_policy(name, world.folder)
    theirs = own(policy)
    members, messages = written(world, policy)
    batch = collate(members, CPU)
    assert len(batch.prompts.lengths) == len(ASKED)
    worst = 0.0
    with torch.no_grad():
        scores = token_scores(policy, batch, temperature=1.0, tower=CachedTower(policy)).logprobs
        for row, message, (_, completion) in zip(scores, messages, members, strict=True):
            expected = own_logprobs(theirs, name, message, completion)
            worst = max(worst, float((row[: len(expected)] - expected).abs().max()))
    assert worst < 1e-4
    note(cell, f"{worst:.0e} nats in {sum(batch.lengths)} tokens")


@EVERY
def test_gradients_are_those_of_the_model(name: str, world: World, cell: Cell) -> None:
    """Of a sum with weights of both signs, with respect to every parameter that can be trained, tower included."""
    policy = tiny_policy(name, world.folder)
    theirs = own(policy)
    members, messages = written(world, policy)
    weights = torch.linspace(-1.0, 1.0, len(members) + 1)[1:]
    trained = Training(freeze=False, learning_rate=1e-3, weight_decay=0.0)
    ours = {
        key: parameter.requires_grad_(True)
        for role in trained_parameters(policy, dict.fromkeys(ROLES, trained)).values()
        for key, parameter in role.items()
    }
    scores = token_scores(policy, collate(members, CPU), temperature=1.0, tower=LiveTower(policy)).logprobs
    gradients = torch.autograd.grad((scores.sum(1) * weights).sum(), list(ours.values()))
    plain: dict[str, nn.Parameter] = dict(theirs.model.named_parameters())
    parts = [
        own_logprobs(theirs, name, message, one).sum() for message, (_, one) in zip(messages, members, strict=True)
    ]
    expected = torch.autograd.grad((torch.stack(parts) * weights).sum(), [plain[key] for key in ours])
    whole = math.sqrt(sum(float(one.square().sum()) for one in expected))
    error = math.sqrt(sum(float((a - b).square().sum()) for a, b in zip(gradients, expected, strict=True))) / whole
    assert error < 1e-5
    for key, left, right in zip(ours, gradients, expected, strict=True):
        assert float(right.norm()) > 0, f"{key} is trained and nothing depends on it"
        assert float((left - right).norm()) < 1e-4 * float(right.norm()) + 1e-6 * whole, key
    note(cell, f"{error:.0e} of the norm, {len(ours)} tensors")


@EVERY
def test_greedy_rollouts_are_those_of_generate(name: str, world: World, cell: Cell) -> None:
    """All messages in one batch, against `generate` with one at a time."""
    policy = tiny_policy(name, world.folder)
    theirs = own(policy)
    count = 0
    for group, message in zip(greedy(policy, world, 24), world.messages, strict=True):
        inputs = theirs.inputs(message)
        expected = theirs.model.generate(
            **inputs, max_new_tokens=24, do_sample=False, suppress_tokens=never_written(name)
        )
        assert expected[0, inputs["input_ids"].shape[1] :].tolist() == group
        count += len(group)
    assert count > 3 * len(ASKED), "not a comparison of empty answers"
    note(cell, f"{count} tokens")


def greedy(policy: Policy, world: World, tokens: int) -> list[list[int]]:
    """Our answers to the messages."""
    sampling = Sampling(num_completions=1, max_new_tokens=tokens, temperature=0.0)
    groups = LocalGenerator(policy, CachedTower(policy)).generate(world.problems, sampling, seed=0, version=0)
    return [group.completions[0].token_ids.tolist() for group in groups]


# ── training, through the command line ───────────────────────────────────────────────────────────────────────────

RECIPE = """\
name = "matrix"
device = "cpu"
compute.self_check = true
[data]
type = "files"
train = "data.jsonl"
tuning = "data.jsonl"
test = "data.jsonl"
[[stage]]
type = "load"
path = "{model}"
[[stage]]
type = "mpo"
rounds = 1
steps_per_round = 1
batch_size = {prompts}
pairs.file = "pairs.jsonl"
evaluation = {{ every = 1, problems = 4, blank_problems = 2 }}
sampling.max_new_tokens = 6
[[stage]]
type = "grpo"
steps = 1
prompts_per_step = {prompts}
minibatch_size = {completions}
sampling = {{ num_completions = 4, max_new_tokens = 8 }}
reward.preset = "rules"
reward.functions = [{{ name = "letters", function = "letters:share", rule = true }}]
train.vision = {{ freeze = false, learning_rate = 1e-4 }}
evaluation = {{ every = 1, problems = 4, blank_problems = 2 }}
"""
LETTERS = "def share(problem, response):\n    return sum(one in 'abcdefgh' for one in response) / (1 + len(response))\n"
"""A reward that random completions differ in."""


@dataclass(frozen=True)
class Trained:
    """What a run left."""

    folder: Path
    metrics: dict[str, dict[str, Any]]
    """Of the one step of each stage, by stage."""

    def weights(self, stage: str) -> dict[str, Tensor]:
        return weights(self.folder / "checkpoints" / stage / "policy")


def weights(folder: Path) -> dict[str, Tensor]:
    """Of a checkpoint, by the names that the model's parameters have once it is loaded."""
    model = AutoModelForImageTextToText.from_pretrained(folder)
    return {key: parameter.detach() for key, parameter in model.named_parameters()}


@pytest.fixture(scope="module")
def trained(world: World) -> Callable[[str], Trained]:
    """One MPO step and one GRPO step of a family, once for all tests that look at them."""
    done: dict[str, Trained] = {}

    def run(name: str) -> Trained:
        if name not in done:
            done[name] = _run(name, world)
        return done[name]

    return run


def _run(name: str, world: World) -> Trained:
    policy = tiny_policy(name, world.folder)
    folder = world.folder / f"{name}-recipe"
    folder.mkdir()
    asked = [
        {
            "id": problem.id,
            "question": problem.question,
            "images": [image.path for image in problem.images],
        }
        for problem in world.problems
    ]
    _write_rows(folder / "data.jsonl", [row | {"answer": "2"} for row in asked])
    _write_rows(folder / "pairs.jsonl", [row | {"chosen": "it is 2", "rejected": f"no {row['id']}"} for row in asked])
    (folder / "letters.py").write_text(LETTERS)
    settings = {"model": policy.model.name_or_path, "prompts": len(asked), "completions": 4 * len(asked)}
    (folder / "recipe.toml").write_text(RECIPE.format(**settings))
    vergence("run", folder / "recipe.toml", "--out", folder / "run", "--quiet")
    found = {row["stage"]: row for row in rows(folder / "run" / "metrics.jsonl") if row["step"] == 0}
    return Trained(folder / "run", found)


def _write_rows(path: Path, written: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in written))


def moved(policy: Policy, before: dict[str, Tensor], after: dict[str, Tensor]) -> dict[str, set[str]]:
    """Role to the names of its tensors that a stage has changed."""
    assert before.keys() == after.keys()
    return {
        role: {key for key in parameters if not torch.equal(before[key], after[key])}
        for role, parameters in role_parameters(policy).items()
    }


def expected_to_move(policy: Policy) -> dict[str, set[str]]:
    """Role to the names of its tensors that the output depends on."""
    every = dict.fromkeys(ROLES, Training(freeze=False, learning_rate=1e-3, weight_decay=0.0))
    return {role: set(parameters) for role, parameters in trained_parameters(policy, every).items()}


@EVERY
def test_a_step_of_mpo_moves_what_it_trains(name: str, world: World, trained: Callable, cell: Cell) -> None:
    policy = tiny_policy(name, world.folder)
    run = trained(name)
    changed = moved(policy, weights(Path(policy.model.name_or_path)), run.weights("mpo"))
    should = expected_to_move(policy)
    assert changed == {"vision": set(), "adapter": should["adapter"], "language": should["language"]}
    assert math.isfinite(run.metrics["mpo"]["loss"])
    assert run.metrics["mpo"]["gradient_norm"] > 0
    note(cell, f"loss {run.metrics['mpo']['loss']:.3f}, {sum(map(len, changed.values()))} tensors moved")


@EVERY
def test_a_step_of_grpo_moves_what_it_trains(name: str, world: World, trained: Callable, cell: Cell) -> None:
    """The tower is trained as well."""
    policy = tiny_policy(name, world.folder)
    run = trained(name)
    changed = moved(policy, run.weights("mpo"), run.weights("grpo"))
    assert changed == expected_to_move(policy)
    assert min(map(len, changed.values())) > 0
    assert math.isfinite(run.metrics["grpo"]["loss"])
    assert run.metrics["grpo"]["gradient_norm"] > 0
    note(cell, f"loss {run.metrics['grpo']['loss']:.3f}, {sum(map(len, changed.values()))} tensors moved")


# ── saved, and read by transformers alone ────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def alone() -> Iterator[Callable[[dict[str, Any]], dict[str, Any]]]:
    """A process of its own, in which nothing of ours is loaded."""
    script = Path(__file__).parents[1] / "alone.py"
    process = subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(asked: dict[str, Any]) -> dict[str, Any]:
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        assert answer, "the process ended; its complaint stands above"
        return dict(json.loads(answer))

    with process:
        yield ask
        process.stdin.close()
        assert process.wait(30) == 0


@EVERY
def test_transformers_alone_answers_as_the_trained_model(
    name: str, world: World, trained: Callable, alone: Callable, cell: Cell
) -> None:
    folder = trained(name).folder / "final"
    again = load_policy(folder, CPU)
    answers = greedy(again, world, 16)
    asked = {"folder": str(folder), "messages": world.messages, "tokens": 16, "never": never_written(name)}
    theirs = alone(asked)
    assert theirs["ours"] == []
    assert theirs["prompts"] == [encode(again, problem).token_ids.tolist() for problem in world.problems]
    assert theirs["answers"] == answers
    note(cell, f"{sum(map(len, answers))} tokens")


# ── the page ─────────────────────────────────────────────────────────────────────────────────────────────────────

CHECKS = tuple(
    name.removeprefix("test_")
    for name, one in list(globals().items())
    if name.startswith("test_") and "cell" in inspect.signature(one).parameters
)
"""In the order of this file."""


def test_the_page_has_every_family_and_every_check(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--write-models"):
        pytest.skip("the page is written when all else is done")
    families, checks = shown(PAGE.read_text())
    assert families == sorted(NAMES), "run this file with --write-models"
    assert checks == list(CHECKS), "run this file with --write-models"
