"""Training a reward model from a file of pairs, without a recipe: the loop of stage `reward_model`, and its report.

DIR/reward_model/    the reward model          DIR/metrics.jsonl    one object a step
DIR/report.json      the held-out report       DIR/settings.json    what was asked for; another wish is refused
DIR/digests.json     of model and pairs, by content; others are refused once a step was taken
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vergence.data.preferences import Preference, read_preferences
from vergence.data.source import Source
from vergence.errors import DataError, DirectoryError
from vergence.files import write_whole
from vergence.model.policy import load_policy
from vergence.model.reward_head import RAW, Calibration, RewardModel, fresh_head, save_reward_model
from vergence.model.vision import TOWER_OUTPUT, CachedTower
from vergence.pairs.comparisons import Comparison, Shares
from vergence.recipe.reward_model import RewardModelStage
from vergence.run.checkpoint import steps_taken, sweep, whole_folder
from vergence.run.digests import RECORD, Inputs, unchanged, write_digests
from vergence.run.directory import locked
from vergence.run.progress import Progress
from vergence.run.stage_run import StageRun
from vergence.scoring.files import compared_file
from vergence.scoring.held_out import HeldOutReport, as_details
from vergence.scoring.wording import wording_of
from vergence.seeds import generator, seed_of
from vergence.stages.inputs import data_files, model_files
from vergence.stages.reward_model.build import has_text, reward_model_parts
from vergence.stages.reward_model.loop import train_reward_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What `vergence reward-model train` was asked for."""

    model: Path
    pairs: Path
    held_out: Path | None
    """None sets a share of the problems of `pairs` aside."""
    held_out_share: float
    section: RewardModelStage
    seed: int
    microbatch_tokens: int


def train_alone(wish: Wish, out: Path, device: torch.device, progress: Progress) -> HeldOutReport:
    """Train, calibrate on the held-out pairs' responses, save, report; the same wish continues where it stopped.

    Raises DirectoryError if `out` holds another training, DataError if there is nothing to learn from or to measure on.
    """
    learnt_rows, tested_rows = split_rows(wish)
    _check_directory(out, wish)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        begun = steps_taken(out / "checkpoints") > 0
        found, anew = unchanged(out / RECORD, inputs_of(wish, learnt_rows, tested_rows), begun=begun)
        if anew:
            shutil.rmtree(out / "checkpoints", ignore_errors=True)
        sweep(out)
        write_whole(out / "settings.json", settings_text(wish))
        write_digests(out / RECORD, found)
        policy = load_policy(wish.model, device)
        wording = wording_of(policy)
        run = StageRun(
            out, "reward_model", seed=wish.seed, checkpoint_every=wish.section.checkpoint_every, progress=progress
        )
        shares = Shares(**wish.section.sources.model_dump())
        learnt = compared_file(learnt_rows, shares, wording, generator(run.seed("pairs")))
        aside = Shares(elsewhere=0.0)  # the accuracy that is reported is that of the file's own pairs
        tested = compared_file(tested_rows, aside, wording, generator(run.seed("held-out pairs")))
        tower = CachedTower(policy, remembered=TOWER_OUTPUT)
        model = RewardModel(policy, fresh_head(policy, run.seed("head")), tower, RAW, wish.microbatch_tokens)
        if wish.section.second.steps and not has_text(learnt):
            progress.say("second phase left out: no pair without a picture")
        parts = reward_model_parts(wish.section, run, model, learnt, tested)
        train_reward_model(parts, run, batch_size=wish.section.batch_size)
        model = replace(model, calibration=calibrated_on(model, tested))
        report = parts.report()
        with whole_folder(out / "reward_model") as target:
            save_reward_model(model, target, example_question=learnt_rows[0].problem.question)
        figures = as_details(report) | {"pairs": len(learnt), "calibration": asdict(model.calibration)}
        write_whole(out / "report.json", json.dumps(figures, indent=2) + "\n")
        return report


def calibrated_on(model: RewardModel, comparisons: Sequence[Comparison]) -> Calibration:
    """Median and spread of the scores of all distinct responses that belong to their prompts."""
    members = [member for one in comparisons if one.source != "wrong_image" for member in (one.better, one.worse)]
    distinct = {(prompt.key, one.token_ids.tobytes()): (prompt, one) for prompt, one in members}
    return Calibration.measured(model.raw(list(distinct.values())))


def split_rows(wish: Wish) -> tuple[list[Preference], list[Preference]]:
    """Pairs to learn from and pairs to measure on; whole problems are set aside, never single pairs."""
    rows = read_preferences(wish.pairs)
    if wish.held_out is not None:
        tested = read_preferences(wish.held_out)
        known = {(row.problem.question, row.problem.images) for row in rows}
        shared = next((row for row in tested if (row.problem.question, row.problem.images) in known), None)
        if shared is not None:
            raise DataError(
                f'{wish.held_out}: problem "{shared.problem.id}" is also in {wish.pairs}, so it is not held out; '
                "remove it from one of them"
            )
        return rows, tested
    names = sorted({row.problem.id for row in rows}, key=lambda name: seed_of(wish.seed, "held out", name))
    aside = set(names[: max(1, round(wish.held_out_share * len(names)))])
    learnt = [row for row in rows if row.problem.id not in aside]
    if not learnt:
        raise DataError(
            f"{wish.pairs}: pairs of {len(names)} problem only; a held-out share needs two, or name --held-out"
        )
    return learnt, [row for row in rows if row.problem.id in aside]


def inputs_of(wish: Wish, learnt: Sequence[Preference], tested: Sequence[Preference]) -> Inputs:
    """The model, the files of pairs, and the pictures of all pairs."""
    files = {"model": model_files(wish.model), "pairs": data_files(Source(wish.pairs))}
    if wish.held_out is not None:
        files["held_out"] = data_files(Source(wish.held_out))
    pictures = {
        key: {str(number): row.problem.images for number, row in enumerate(rows, start=1)}
        for key, rows in (("pairs", learnt), ("held_out", tested))
    }
    return Inputs(files, pictures)


def settings_text(wish: Wish) -> str:
    """Everything that decides the result beside its inputs, as JSON."""
    values: dict[str, Any] = {
        "held_out_share": wish.held_out_share,
        "seed": wish.seed,
        "microbatch_tokens": wish.microbatch_tokens,
    } | wish.section.model_dump(mode="json")
    return json.dumps(values, indent=2) + "\n"


def _check_directory(out: Path, wish: Wish) -> None:
    known = out / "settings.json"
    if out.exists() and not out.is_dir():
        raise DirectoryError(f"{out}: is a file; give a directory with --out")
    if known.is_file():
        before, now = json.loads(known.read_text()), json.loads(settings_text(wish))
        for key in now:
            if before.get(key) != now[key]:
                raise DirectoryError(
                    f"{out}: holds another training ({key} = {before.get(key)!r:.60} there, {now[key]!r:.60} here); "
                    "choose another --out, or repeat those settings"
                )
    elif out.is_dir() and any(entry.name != ".lock" for entry in out.iterdir()):
        raise DirectoryError(f"{out}: not empty and not made by `vergence reward-model train`; choose another --out")
