"""The vision integrity guard stops a run within one step, and names the sample: every fault is planted in a real run.

A tiny model answers six problems with pictures through the whole grpo stage, with an examination at every step. The
fault begins at the second step; the first is healthy, and says what the guard reads of a healthy run.
"""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from families import picture_problems, tiny_policy
from PIL import Image
from rich.console import Console
from torch import Tensor
from unit.builders import prompt

from vergence.data.images import reference
from vergence.errors import IntegrityError
from vergence.integrity.gap import SEEN, Towers, check_gap, check_looking
from vergence.integrity.guard import Guard, _some
from vergence.integrity.pictures import check_counts, check_features, encoded_alone
from vergence.model.policy import Policy, encode
from vergence.model.vision import ADAPTER_OUTPUT, AblatedTower, CachedTower, grey_view
from vergence.recipe.load import load_recipe
from vergence.rollout import local
from vergence.rollout.local import LocalGenerator
from vergence.run.progress import Progress, Verbosity
from vergence.scoring.form import check_seen
from vergence.stages.grpo import build
from vergence.stages.run_recipe import run_recipe
from vergence.types import ImageRef, Problem, Prompt, RolloutGroup, Sampling, ScoredGroup

RECIPE = """
name = "watched"
device = "cpu"
[integrity]
every = 1
prompts = 6
[data]
type = "files"
train = "{folder}/data.jsonl"
tuning = "{folder}/data.jsonl"
test = "{folder}/data.jsonl"
[[stage]]
type = "load"
path = "{model}"
[[stage]]
type = "grpo"
steps = 3
prompts_per_step = 6
minibatch_size = 12
sampling = {{ num_completions = 2, max_new_tokens = 4 }}
reward = {{ preset = "rules" }}
evaluation = {{ every = 10, problems = 2, blank_problems = 0 }}
monitor = {{ mode = "off" }}
"""
VICTIM = "p1"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_policy("llava", folder)
    return folder / "llava-0"


@pytest.fixture(scope="module")
def policy(model: Path) -> Policy:
    return tiny_policy("llava", model.parent)


def recipe_of(folder: Path, model: Path) -> Path:
    """A recipe of its own in a folder of its own, with pictures that may be harmed; the second has one picture."""
    problems = picture_problems(folder / "pictures", 6)
    rows = [
        {"id": one.id, "question": one.question, "images": [image.path for image in one.images], "answer": one.answer}
        for one in problems
    ]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "recipe.toml"
    path.write_text(RECIPE.format(folder=folder, model=model))
    return path


def run(path: Path) -> None:
    progress = Progress(Console(quiet=True), Verbosity.QUIET)
    run_recipe(load_recipe(str(path), []), path.parent / "run", progress, stop_after=None)


def lines(folder: Path) -> list[dict[str, float]]:
    """What the stage has logged."""
    log = folder / "run" / "metrics.jsonl"
    found = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [line for line in found if line["stage"] == "grpo"]


def test_a_healthy_run_is_let_through_and_logs_what_was_read(tmp_path: Path, model: Path) -> None:
    run(recipe_of(tmp_path, model))
    assert len(lines(tmp_path)) == 3
    for line in lines(tmp_path):
        assert line["integrity/pictures"] == 6  # p3 has two, p4 none
        assert line["integrity/gap"] <= line["integrity/gap_max"] < 1e-4
        assert line["integrity/blank_gap"] > 1e-3
        assert line["integrity/swap_gap"] > 1e-3


Harm = Callable[[Path], None]
"""(the picture's file) -> something has happened to it."""


def resized(path: Path) -> None:
    with Image.open(path) as picture:
        picture.resize((picture.width // 2, picture.height // 2)).save(path)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def exchanged(path: Path) -> None:
    path.write_bytes((path.parent / "0-0-0.png").read_bytes())


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [resized, truncated, exchanged, removed])
def test_a_picture_that_changes_on_disk_stops_the_run(
    harm: Harm, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage's own tower remembers the picture as it was, and would go on."""
    path = recipe_of(tmp_path, model)
    real = LocalGenerator.generate

    def generate(self, problems, sampling, *, seed, version):  # type: ignore[no-untyped-def]
        if version:
            victim = tmp_path / "pictures" / "0-1-0.png"
            if victim.exists() and not (tmp_path / "harmed").exists():
                harm(victim)
                (tmp_path / "harmed").touch()
        return real(self, problems, sampling, seed=seed, version=version)

    monkeypatch.setattr(LocalGenerator, "generate", generate)
    with pytest.raises((IntegrityError, Exception), match=rf"problem {VICTIM}\b.*0-1-0\.png") as caught:
        run(path)
    assert len(str(caught.value).splitlines()) == 1
    assert len(lines(tmp_path)) == 1


Harming = Callable[[Sequence[ImageRef], list[Tensor]], list[Tensor]]
"""(pictures, the features of each) -> the features that arrive."""


def harm_features(tower: CachedTower, harm: Harming) -> Callable[[bool], None]:
    """Features of a tower go wrong on their way; what is returned switches that on and off."""
    real, on = tower.embeddings, [False]

    def embeddings(images: Sequence[ImageRef]) -> Tensor:
        parts = [real([image]) for image in images]
        return torch.cat(harm(images, parts) if on[0] else parts)

    tower.embeddings = embeddings  # type: ignore[method-assign]
    return lambda switched: on.__setitem__(0, switched)


def victim(images: Sequence[ImageRef]) -> int | None:
    return next((place for place, image in enumerate(images) if image.path.endswith("0-1-0.png")), None)


def forgotten(images: Sequence[ImageRef], parts: list[Tensor]) -> list[Tensor]:
    """Zeros in the picture's place: the right number of features, and nothing in them."""
    place = victim(images)
    return parts if place is None else [*parts[:place], torch.zeros_like(parts[place]), *parts[place + 1 :]]


def dropped(images: Sequence[ImageRef], parts: list[Tensor]) -> list[Tensor]:
    """Among others; asked for alone, it is there."""
    place = victim(images)
    return parts if place is None or len(parts) < 2 else [*parts[:place], *parts[place + 1 :]]


def swapped(images: Sequence[ImageRef], parts: list[Tensor]) -> list[Tensor]:
    place = victim(images)
    if place is None or len(parts) < 2:
        return parts
    other = place + 1 if place + 1 < len(parts) else place - 1
    parts[place], parts[other] = parts[other], parts[place]
    return parts


def too_few(images: Sequence[ImageRef], parts: list[Tensor]) -> list[Tensor]:
    place = victim(images)
    return parts if place is None else [*parts[:place], parts[place][:-1], *parts[place + 1 :]]


@pytest.mark.parametrize("harm", [forgotten, dropped, swapped, too_few])
def test_features_that_go_astray_stop_the_run(
    harm: Harming, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sampling and training would agree with each other, since both see the same wrong picture."""
    path = recipe_of(tmp_path, model)
    switches: list[Callable[[bool], None]] = []
    real = build.tower_for

    def tower_for(*arguments):  # type: ignore[no-untyped-def]
        tower = real(*arguments)
        switches.append(harm_features(tower, harm))
        return tower

    generate = LocalGenerator.generate

    def turned(self, problems, sampling, *, seed, version):  # type: ignore[no-untyped-def]
        switches[0](version > 0)
        return generate(self, problems, sampling, seed=seed, version=version)

    monkeypatch.setattr(build, "tower_for", tower_for)
    monkeypatch.setattr(LocalGenerator, "generate", turned)
    with pytest.raises(IntegrityError, match=VICTIM) as caught:
        run(path)
    assert len(str(caught.value).splitlines()) == 1
    assert len(lines(tmp_path)) == 1


@pytest.mark.parametrize("by", [-1, 1])
def test_a_token_count_that_is_off_by_one_stops_the_run(
    by: int, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recipe_of(tmp_path, model)
    real = local.encode

    def miscounting(policy: Policy, problem: Problem) -> Prompt:
        made = real(policy, problem)
        if problem.id != VICTIM:
            return made
        first = int(np.flatnonzero(made.token_ids == policy.image_token_id)[0])
        repeats = np.ones(len(made.token_ids), dtype=np.int64)
        repeats[first] += by
        ids = np.repeat(made.token_ids, repeats)
        return replace(made, token_ids=ids, positions=np.arange(len(ids))[None])

    monkeypatch.setattr(local, "encode", miscounting)
    with pytest.raises(IntegrityError, match=rf"problem {VICTIM}: 16 image features for {16 + by} image placeholders"):
        run(path)
    assert not lines(tmp_path)


def test_a_prompt_with_a_lost_picture_next_to_one_with_too_many_tokens_is_found(policy: Policy, tmp_path: Path) -> None:
    """In all there are as many placeholders as features, so no shape complains."""
    problems = picture_problems(tmp_path, 2)
    short, long = (encode(policy, one) for one in problems)
    at = int(np.flatnonzero(short.token_ids == policy.image_token_id)[0])
    fewer = replace(short, token_ids=np.delete(short.token_ids, at), positions=short.positions[:, :-1])
    more_ids = np.insert(long.token_ids, at, policy.image_token_id)
    more = replace(long, token_ids=more_ids, positions=np.arange(len(more_ids))[None])
    pictures = encoded_alone([fewer, more], fresh(policy))
    with pytest.raises(IntegrityError, match="problem p0: 15 image placeholders in its prompt for 16 image tokens"):
        check_counts(policy, [fewer, more], pictures)


def fresh(policy: Policy) -> CachedTower:
    return CachedTower(policy, remembered=ADAPTER_OUTPUT)


def sampled(policy: Policy, problems: Sequence[Problem]) -> list[RolloutGroup]:
    sampling = Sampling(num_completions=2, max_new_tokens=4, temperature=1.0)
    return LocalGenerator(policy, fresh(policy)).generate(problems, sampling, seed=0, version=0)


def test_the_one_whose_features_are_in_the_wrong_place_is_named_with_their_owner(
    policy: Policy, tmp_path: Path
) -> None:
    problems = picture_problems(tmp_path, 3)
    prompts = [encode(policy, one) for one in problems]
    pictures = encoded_alone(prompts, fresh(policy))
    check_features(policy, pictures, fresh(policy))
    turned = fresh(policy)
    harm_features(turned, lambda images, parts: [parts[1], parts[2], parts[0]])(True)
    with pytest.raises(IntegrityError, match=r"problem p0, picture 1 .*0-0-0.*those of problem p1, picture 1 .*0-1-0"):
        check_features(policy, pictures, turned)


def test_a_sampler_that_saw_something_else_is_over_the_red_line(policy: Policy, tmp_path: Path) -> None:
    """The rollout looked at grey pictures, training looks at the real ones."""
    problems = picture_problems(tmp_path, 3)
    sampling = Sampling(num_completions=1, max_new_tokens=4, temperature=1.0)
    blind = LocalGenerator(policy, AblatedTower(policy, grey_view)).generate(problems, sampling, seed=0, version=0)
    members = [(group.prompt, group.completions[0]) for group in blind]
    with pytest.raises(IntegrityError, match=r"problem p\d: log-probs of sampling and of training differ by"):
        check_gap(policy, members, fresh(policy), temperature=1.0, red_line=0.05)
    seeing = [(group.prompt, group.completions[0]) for group in sampled(policy, problems)]
    metrics = check_gap(policy, seeing, fresh(policy), temperature=1.0, red_line=0.05)
    assert metrics["integrity/gap_max"] < 1e-4


def test_a_model_that_no_picture_reaches_is_stopped(tmp_path: Path) -> None:
    """An adapter of zeros: sampling and training agree, counts are right, and every picture looks the same."""
    policy = tiny_policy("llava", tmp_path / "models")
    problems = picture_problems(tmp_path / "pictures", 3)
    with torch.no_grad():
        policy.model.model.multi_modal_projector.linear_2.weight.zero_()
    members = [(group.prompt, group.completions[0]) for group in sampled(policy, problems)]
    towers = Towers(fresh(policy), AblatedTower(policy, grey_view))
    with pytest.raises(IntegrityError, match="problems p0, p1, p2: no log-prob of their answers changes"):
        check_looking(policy, members, towers, temperature=1.0)


def test_what_is_not_due_costs_nothing_and_prompts_take_turns(policy: Policy, tmp_path: Path) -> None:
    problems = picture_problems(tmp_path, 5)  # the last has no picture
    zeros = np.zeros(2)
    scored = [ScoredGroup(group, {}, {}, zeros, zeros) for group in sampled(policy, problems)]
    guard = Guard(policy, fresh(policy), every=3, prompts=2, temperature=1.0, red_line=0.05)
    assert [bool(guard.examine(step, scored)) for step in range(4)] == [True, False, False, True]
    names = [[one.group.prompt.problem.id for one in _some(scored, 2, turn)] for turn in range(3)]
    assert names == [["p0", "p1"], ["p2", "p3"], ["p0", "p1"]]
    assert SEEN < 1e-6


def test_pictures_that_a_scoring_server_has_not_read_are_noticed(tmp_path: Path) -> None:
    """The other side of the boundary says what has arrived."""
    problem = picture_problems(tmp_path, 1)[0]
    asked = Prompt(problem, prompt().token_ids, prompt().positions)
    check_seen({"data": []}, asked)  # a server of others says nothing
    check_seen({"pictures": [[problem.images[0].sha256]]}, asked)
    for arrived in ([[]], [["0" * 64]], [[problem.images[0].sha256] * 2], "none"):
        with pytest.raises(IntegrityError, match="problem p0: 1 pictures were sent"):
            check_seen({"pictures": arrived}, asked)


def test_a_reference_is_held_against_its_file(tmp_path: Path) -> None:
    from vergence.data.images import load_image

    path = tmp_path / "a.png"
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())
    image = reference(path, "a test")
    assert load_image(image).getpixel((0, 0)) == (255, 0, 0)
    Image.new("RGB", (8, 8), "blue").save(path)
    with pytest.raises(IntegrityError, match=r"a\.png has changed since the data were read") as caught:
        load_image(image)
    assert caught.value.picture == image.sha256
