"""`vergence pairs`: preference pairs from a model's own responses, as a file."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from rich.table import Table

from vergence.clock import Clock
from vergence.commands.reward_model import opened_scorer
from vergence.commands.sampling import Answering, Asking, answering, watched
from vergence.console import Terminal
from vergence.errors import RecipeError, RunError
from vergence.files import is_stream, write_whole
from vergence.model.policy import encode
from vergence.model.reward_head import RAW, Calibration
from vergence.pairs.dropout import dropout_pair
from vergence.pairs.files import pair_lines, problems_with_pairs, written_alike
from vergence.pairs.harvest import PairHarvest, harvest
from vergence.pairs.rules import candidates_of, preference_component, rules_only
from vergence.pairs.statistics import fate_table
from vergence.pool.rows import completion_row, restored_completion, restored_group, scored_row
from vergence.pool.samples import SampleChunk, sample_all, sample_file
from vergence.recipe.pairs import PairsSection
from vergence.scoring.load import fingerprint, named
from vergence.scoring.scorer import PreferenceScorer
from vergence.seeds import generator, seed_of
from vergence.stages.mpo.judging import PairJudge, by_reward_model, by_rules
from vergence.stages.mpo.pairing import continue_for, guards_for, sources_for, threshold_for
from vergence.types import PreferencePair, Problem, ScoredGroup, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class PairWish:
    """Which pairs are asked for."""

    section: PairsSection
    reward_model: str | None
    """A reward model as `vergence reward-model` takes one; None leaves the judging to rules."""
    tokens: bool
    """Whether rows hold token numbers beside texts."""


def checked_section(given: Mapping[str, Any]) -> PairsSection:
    """The keys of a recipe's pairs section from a command's options. Raises RecipeError in the command's words."""
    if given["judge"] == "rules" and ("margin" in given["sources"] or given["margin_unit"] != "calibrated"):
        raise RecipeError("vergence pairs: source margin and --unit raw or quantile need --reward-model DIR")
    try:
        return PairsSection(**given)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        message = problem["msg"].removeprefix("Value error, ")
        raise RecipeError(f"vergence pairs: {place + ': ' if place else ''}{message}") from None


def pairs_command(asking: Asking, wish: PairWish) -> None:
    """Sample, judge, pair, write; print what became of the candidates. Raises RunError if no pair is left."""
    opened = (
        nullcontext(None) if wish.reward_model is None else closing(opened_scorer(wish.reward_model, asking.device))
    )
    with answering(asking, graded=wish.section.graded) as model, opened as scorer:
        make_pairs(model, wish, scorer)


def make_pairs(model: Answering, wish: PairWish, scorer: PreferenceScorer | None) -> None:
    """The same, by a model that is ready; without a scorer rules judge alone."""
    asking = model.asking
    judge = by_rules(model.rules) if scorer is None else by_reward_model(model.rules, scorer.uncalibrated())
    head = model.head("pair samples", samples_depend_on(wish))
    total = len(model.problems)
    with sample_file(asking.out, head, total) as file:
        with watched("pairs", total, file.done, quiet=asking.quiet) as progress:
            sample = sampler(model, wish.section, judge)
            sample_all(file, model.problems, sample, lambda done, of: progress.step(done, of, {}))
        units = RAW if scorer is None or wish.section.margin_unit == "raw" else scorer.calibration
        candidates = list(all_candidates(model, wish.section, file.rows(), units))
        harvested = harvest(
            candidates,
            guards_for(wish.section, asking.form),
            threshold_for(wish.section),
            generator(asking.seed, "pairs"),
        )
        pairs = [pair for pair in harvested.pairs if not written_alike(pair)]
        figures = statistics(model, wish, harvested, pairs, not_judged(file.rows()))
        if not asking.quiet:
            Terminal().print(statistics_table(figures), highlight=False)
        if not pairs:
            raise RunError(
                f"{asking.data}: no pair passed the guards; lower --tau, ask for more --samples, or loosen the "
                "length ratio (what was sampled is kept)"
            )
        write_whole(asking.out, pair_lines(pairs, asking.out, tokens=wish.tokens))
        if not is_stream(asking.out):  # beside which nothing can lie
            write_whole(asking.out.with_name(asking.out.name + ".stats.json"), json.dumps(figures, indent=2) + "\n")


def samples_depend_on(wish: PairWish) -> dict[str, Any]:
    """What the samples depend on beside the policy and its sampling: thresholds and guards may still be changed."""
    return {
        "reward_model": None if wish.reward_model is None else identity(wish.reward_model),
        "graded": wish.section.graded,
        "dropout": wish.section.dropout,
    }


def identity(spec: str) -> str:
    """A digest of a reward model's files, or its address and name where it runs elsewhere."""
    source = named(spec)
    return f"{source.place} {source.model}" if source.kind == "http" else fingerprint(Path(source.place))


def sampler(model: Answering, section: PairsSection, judge: PairJudge) -> SampleChunk:
    """The problems of a chunk -> their responses with components, and their continuations with margins in raw units."""
    complete = continue_for(section, model.policy, judge, sampling=model.asking.sampling, clock=Clock())

    def sample(problems: Sequence[Problem]) -> list[dict[str, Any]]:
        scored = judge.reward(model.groups(problems))
        continued = complete(scored, seed_of(model.asking.seed, "dropout"), 0)
        return [
            scored_row(one) | {"continuations": [_continuation(one, pair) for pair in pairs]}
            for one, pairs in zip(scored, continued.pairs, strict=True)
        ]

    return sample


def all_candidates(
    model: Answering, section: PairsSection, rows: Iterator[Mapping[str, Any]], units: Calibration
) -> Iterator[list[PreferencePair]]:
    """The candidates of each problem, from its row of samples, with margins in the asked units."""
    sources = sources_for(section)
    for problem, row in zip(model.problems, rows, strict=True):
        scored = _in_units(restored_group(row, encode(model.policy, problem)), units)
        (made,) = candidates_of([scored], sources, rules_only if section.judge == "rules" else preference_component)
        yield made + [_restored(scored, one, units) for one in row["continuations"]]


def not_judged(rows: Iterable[Mapping[str, Any]]) -> int:
    """How many responses the grader could not judge."""
    return sum(verdict == Verdict.FAILED for row in rows for verdict, _, _ in row["grades"])


def statistics(
    model: Answering, wish: PairWish, harvested: PairHarvest, pairs: Sequence[PreferencePair], failed: int
) -> dict[str, Any]:
    """What is written beside the pairs; `failed` responses could not be judged."""
    margins = [pair.margin for pair in pairs if np.isfinite(pair.margin)]
    quantiles = np.quantile(margins, [0, 0.25, 0.5, 0.75, 1]).tolist() if margins else []
    return {
        "model": model.fingerprint,
        "problems": len(model.problems),
        "problems_with_pairs": problems_with_pairs(pairs),
        "not_judged": failed,
        "pairs": len(pairs),
        "same_text": len(harvested.pairs) - len(pairs),
        "sources": list(wish.section.sources),
        "threshold": harvested.threshold,
        "unit": wish.section.margin_unit,
        "margins": dict(zip(("least", "quarter", "median", "three_quarters", "most"), quantiles, strict=False)),
        "candidates": fate_table(harvested.fates),
    }


def statistics_table(figures: Mapping[str, Any]) -> Table:
    """Sources down, fates across."""
    of_problems = f"{figures['problems_with_pairs']} of {figures['problems']} problems have pairs"
    table = Table(box=None, pad_edge=False, header_style="bold", caption_justify="left")
    table.caption = f"{of_problems}; threshold {figures['threshold']:g} ({figures['unit']})"
    if figures["not_judged"]:
        table.caption = f"{table.caption}; {figures['not_judged']} responses could not be judged"
    if figures["same_text"]:
        table.caption = f"{table.caption}; {figures['same_text']} left out, whose two texts are the same"
    table.add_column("source", no_wrap=True)
    rows: Mapping[str, Mapping[str, int]] = figures["candidates"]
    for fate in next(iter(rows.values())):
        table.add_column(fate.replace("_", " "), justify="right")
    for source, counts in rows.items():
        table.add_row(source, *map(str, counts.values()))
    return table


def default_dropout(sources: Sequence[str], given: int | None) -> int:
    """Continuations of each problem: one where the source is named and nothing else is said."""
    return given if given is not None else int("dropout" in sources)


def _continuation(scored: ScoredGroup, pair: PreferencePair) -> dict[str, Any]:
    place = next(index for index, one in enumerate(scored.group.completions) if one is pair.chosen)
    margin = pair.margin if np.isfinite(pair.margin) else None
    return completion_row(pair.rejected) | {"continues": place, "margin": margin}


def _in_units(scored: ScoredGroup, units: Calibration) -> ScoredGroup:
    if "preference" not in scored.components:
        return scored
    return replace(scored, components={**scored.components, "preference": units.apply(scored.components["preference"])})


def _restored(scored: ScoredGroup, row: Mapping[str, Any], units: Calibration) -> PreferencePair:
    margin = np.inf if row["margin"] is None else row["margin"] / units.spread
    chosen = scored.group.completions[row["continues"]]
    return dropout_pair(scored.group.prompt, chosen, restored_completion(row), float(margin))
