"""`vergence plan`."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from rich.table import Table

from vergence.commands.quiet import quieten_libraries
from vergence.console import Terminal
from vergence.data.problems import open_problems
from vergence.errors import ModelError
from vergence.model.device import choose_device
from vergence.model.policy import compute_dtype
from vergence.planning.lengths import LOOKED_AT, data_lengths, told_lengths
from vergence.planning.memory import Formats
from vergence.planning.parts import check_parts
from vergence.planning.plan import StagePlan, fitting, plan_stages
from vergence.planning.rates import Rates, measured, preset
from vergence.planning.shape import ModelShape, recipe_config, recipe_folder, shape_of
from vergence.planning.work import Lengths
from vergence.recipe.data import FileData
from vergence.recipe.schema import Recipe
from vergence.stages.sources import source_of
from vergence.terminal import say


@dataclass(frozen=True, slots=True)
class Told:
    """What the user says of the data."""

    text_tokens: int
    pictures: int
    picture: tuple[int, int]
    """Height, width."""
    response_tokens: int | None
    """None: as many as a stage allows."""


def plan_command(
    recipe: Recipe, told: Told, hardware: str, given: dict[str, Any], *, devices: int, as_json: bool
) -> None:
    """Print what a recipe will take. Raises ModelError if its model is not known, RecipeError for unknown hardware."""
    quieten_libraries()
    check_parts(recipe, all_there=False)
    name, config = recipe_config(recipe)
    shape = shape_of(name, config)
    rates = replace(_rates(hardware), **given)
    formats = Formats(compute=4 if hardware == "here" and compute_dtype(choose_device("auto")) == torch.float32 else 2)
    lengths, source = _lengths(recipe, shape, config, told)
    plans = plan_stages(recipe, shape, lengths, rates, formats, devices=devices)
    if not plans:
        raise ModelError(f"{recipe.name}: no stage grpo or mpo, so there is nothing to plan")
    if as_json:
        say(json.dumps(as_rows(shape, lengths, rates, plans, devices), indent=2))
        return
    console = Terminal()
    for line in head_lines(recipe, shape, lengths, source, rates, devices):
        console.print(line, highlight=False)
    console.print(plans_table(plans, rates), highlight=False)
    console.print(
        "\nCounted from shapes; left out: norms, the optimizer's own time, what devices say to each other, libraries "
        "and fragments of memory.",
        highlight=False,
    )


def _rates(hardware: str) -> Rates:
    if hardware != "here":
        return preset(hardware)
    device = choose_device("auto")
    return measured(device, compute_dtype(device))


def _lengths(recipe: Recipe, shape: ModelShape, config: Any, told: Told) -> tuple[Lengths, str]:
    response = told.response_tokens or 1 << 30  # a stage's own limit is the smaller one
    folder = recipe_folder(recipe)
    if folder is not None and isinstance(recipe.data, FileData) and recipe.data.train.exists():
        problems = open_problems(source_of(recipe.data, recipe.data.train, "train"))
        few = list(problems[:LOOKED_AT])
        return data_lengths(shape, folder, few, response), f"the first {len(few)} problems of {recipe.data.train.name}"
    lengths = told_lengths(
        shape,
        config,
        text_tokens=told.text_tokens,
        pictures=told.pictures,
        size=told.picture,
        response_tokens=response,
    )
    height, width = told.picture
    return lengths, f"as told: {told.pictures} pictures of {height} x {width} pixels"


def head_lines(
    recipe: Recipe, shape: ModelShape, lengths: Lengths, source: str, rates: Rates, devices: int
) -> list[str]:
    """The model, the data and the machine."""
    parts = ", ".join(f"{role} {_count(count)}" for role, count in shape.parameters.items())
    tower = shape.tower
    return [
        f"{recipe.name}: {shape.name}, {_count(shape.total)} parameters ({parts})",
        f"prompt    {lengths.prompt_tokens(tower):,} tokens: {lengths.text_tokens:,} of text, "
        f"{lengths.image_tokens(tower):,} of pictures ({source})",
        f"machine   {devices} x {rates.name}: {rates.operations / 1e12:.3g} TFLOP/s, {rates.bytes / 1e9:,.0f} GB/s, of "
        f"which a step is taken to reach {100 * rates.efficiency:.0f} %",
        "",
    ]


def plans_table(plans: list[StagePlan], rates: Rates) -> Table:
    """A column for each stage."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for plan in plans:
        table.add_column(plan.label, justify="right")

    def row(name: str, *values: str) -> None:
        table.add_row(name, *values)

    row("steps (mpo: rounds)", *(f"{plan.steps:,}" for plan in plans))
    row("prompts x completions", *(f"{plan.batch.prompts} x {plan.batch.completions}" for plan in plans))
    row("prompt tokens a step", *(f"{plan.work.prompt_tokens:,}" for plan in plans))
    row("completion tokens a step", *(f"{plan.work.completion_tokens:,}" for plan in plans))
    for name in (
        "weights",
        "reference",
        "casts",
        "features",
        "gradients",
        "optimizer",
        "activations",
        "logits",
        "cache",
    ):
        row(f"memory: {name}", *(_gigabytes(getattr(plan.memory, name)) for plan in plans))
    for name in ("generate", "update"):
        row(
            f"memory while in {name}",
            *(_gigabytes(getattr(plan.memory, name)) for plan in plans),
        )
    if rates.memory:
        row(f"on {rates.memory / 1e9:.0f} GB a device", *(fitting(plan.memory, rates.memory) for plan in plans))
    for name in ("vision", "prefill", "decode", "reference", "update"):
        row(
            f"{name}: TFLOP, seconds",
            *(f"{getattr(plan.work, name) / 1e12:,.3g}  {_time(getattr(plan.seconds, name))}" for plan in plans),
        )
    row("a step", *(_time(plan.seconds.total) for plan in plans))
    row("all steps", *(_time(plan.steps * plan.seconds.total) for plan in plans))
    return table


def as_rows(shape: ModelShape, lengths: Lengths, rates: Rates, plans: list[StagePlan], devices: int) -> dict[str, Any]:
    """The same as plain values; bytes, operations and seconds."""
    return {
        "model": {"name": shape.name, "parameters": dict(shape.parameters), "total": shape.total},
        "lengths": asdict(lengths) | {"prompt_tokens": lengths.prompt_tokens(shape.tower)},
        "machine": asdict(rates) | {"devices": devices},
        "stages": [
            asdict(plan)
            | {"memory_generate": plan.memory.generate, "memory_update": plan.memory.update}
            | {"step_seconds": plan.seconds.total}
            for plan in plans
        ],
    }


def _count(number: int) -> str:
    return f"{number / 1e9:.2f} B" if number >= 1e9 else f"{number / 1e6:.2f} M"


def _gigabytes(number: float) -> str:
    return f"{number / 1e9:,.1f} GB" if number >= 1e8 else f"{number / 1e6:,.1f} MB"


def _time(seconds: float) -> str:
    if seconds >= 2 * 3600:
        return f"{seconds / 3600:,.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 120 else f"{seconds:.3g} s"
