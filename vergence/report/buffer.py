"""What the Selective Sample Buffer did, or the rival that the recipe chose, in words made of the metrics."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from vergence.report.markup import Html, join, section, tag
from vergence.report.numerals import figure, first_tenth, last_tenth, spelled
from vergence.report.read import Row, RunRecord, stage_labels, values
from vergence.report.rollouts import group_card, shown_steps

Settings = Mapping[str, Any]
"""The buffer section of a stage, as the recipe gives it; what it leaves out has its default."""

_JUDGED = {
    "rules": "the rules (accuracy and format, weighted)",
    "total": "the whole reward",
    "accuracy": "accuracy alone",
    "format": "format alone",
    "preference": "the preference score alone",
}
_AFTER = {"ssb": "After the buffer", "ssr": "After Selective Sample Replay"}


def buffer_section(record: RunRecord) -> Html:
    """A paragraph and a few replayed samples for each stage that fills batches."""
    blocks = []
    for stage, rows in record.metrics.items():
        if not values(rows, "effective/fresh") or not values(rows, "buffer/size"):
            continue
        replayed = [row for row in record.rollouts.get(stage, []) if row.get("origin") == "replay"]
        shown = [row for row in replayed if row["step"] in shown_steps(replayed)]
        cards = [group_card(row, record.path) for row in shown]
        samples = join([tag("h3", f"{stage}: some replayed samples"), tag("div", join(cards), class_="groups")])
        story = tag("p", sentence(stage, rows, _settings(record, stage)), class_="prose")
        blocks.append(join([story, samples if cards else Html()]))
    return section("buffer", "What the buffer did", join(blocks))


def _settings(record: RunRecord, stage: str) -> Settings:
    labels = stage_labels(record.recipe)
    found: Settings = record.recipe["stage"][labels.index(stage)].get("buffer", {}) if stage in labels else {}
    return found


def sentence(stage: str, rows: Sequence[Row], settings: Settings) -> str:
    """The story of one stage: how many groups were effective, what was made of them, and what that cost."""
    strategy = settings.get("strategy", "ssb")
    told = {"dynamic": _dynamic, "drop": _dropped, "none": _plain}
    if strategy in told:
        return _effective(stage, rows, settings) + told[strategy](rows)
    if max(values(rows, "buffer/size")) == 0:
        return _effective(stage, rows, settings) + _plain(rows)
    return (
        _effective(stage, rows, settings)
        + f"{_AFTER[strategy]} the updated batch had {_batch(rows)} and "
        + f"{spelled(fmean(values(rows, 'effective/batch')))} on average. "
        + _replays(rows, settings)
    )


def _effective(stage: str, rows: Sequence[Row], settings: Settings) -> str:
    fresh = values(rows, "effective/fresh")
    right, wrong = values(rows, "effective/all_right"), values(rows, "effective/all_wrong")
    text = (
        f"In {stage}, {spelled(first_tenth(fresh))} of the fresh prompt groups were effective in the first tenth of "
        f"the steps and {spelled(last_tenth(fresh))} in the last"
    )
    if right and wrong:
        text += (
            f" (there, {spelled(last_tenth(right))} were answered right throughout "
            f"and {spelled(last_tenth(wrong))} wrong throughout)"
        )
    return f"{text}. That was judged on {_JUDGED[settings.get('effective_on', 'rules')]}. "


def _batch(rows: Sequence[Row]) -> str:
    batch = values(rows, "effective/batch")
    return f"{spelled(first_tenth(batch))} of its samples in the first tenth, {spelled(last_tenth(batch))} in the last"


def _plain(rows: Sequence[Row]) -> str:
    return (
        f"The buffer was off: the updated batch had {_batch(rows)}. "
        "The places that stayed empty counted in the mean, as in plain GRPO."
    )


def _dropped(rows: Sequence[Row]) -> str:
    return (
        f"The other groups were dropped: the updated batch had {_batch(rows)}, "
        "and its mean was taken over the groups that were left."
    )


def _dynamic(rows: Sequence[Row]) -> str:
    batches, groups = values(rows, "rollout/batches"), values(rows, "rollout/groups")
    used = sum(values(rows, "rollout/groups_used"))
    return (
        f"Dynamic sampling asked for {figure(fmean(batches))} batches of prompts a step on average and "
        f"{figure(max(batches))} at most, and used {spelled(used / sum(groups))} of the {figure(sum(groups))} groups "
        f"that were sampled. The updated batch had {_batch(rows)}."
    )


def _replays(rows: Sequence[Row], settings: Settings) -> str:
    used = [row for row in rows if row.get("buffer/replay_share")]
    if not used:
        return "Nothing was replayed."
    text = (
        f"Replayed samples were {spelled(fmean(values(rows, 'buffer/replay_share')))} of the batch on average and "
        f"{spelled(last_tenth(values(rows, 'buffer/replay_share')))} in the last tenth. "
    )
    # steps without replays log age 0, which is no age
    ages, oldest = values(used, "buffer/age_mean"), values(used, "buffer/age_max")
    if ages and oldest:
        text += (
            f"Where there were any, they were {figure(fmean(ages))} policy versions old on average, "
            f"and never more than {figure(max(oldest))}. "
        )
    if first := values(used, "buffer/uses_1"):
        text += f"{spelled(fmean(first))} of them were replayed for the first time. "
    kept = values(rows, "buffer/size")
    return text + _distance(used, settings) + f"The buffer held {figure(kept[-1])} samples at the end."


def _distance(used: Sequence[Row], settings: Settings) -> str:
    """How far replayed samples were from the policy, in the terms of the correction."""
    weights, sizes = values(used, "buffer/weight_mean"), values(used, "buffer/effective_sample_size")
    ratios = values(used, "loss/ratio_mean_replay")
    match settings.get("correction", "decoupled"):
        case "decoupled" if weights and sizes:
            cut = values(used, "buffer/weight_truncated")
            return (
                f"Their off-policy weights were {figure(fmean(weights))} on average"
                + (f" ({spelled(fmean(cut))} of their tokens at the limit)" if cut else "")
                + f", and left an effective sample size of {spelled(fmean(sizes))} ({spelled(min(sizes))} at the "
                "least). "
            )
        case "clip" if ratios:
            return (
                f"They were clipped around the policy that sampled them; the mean ratio was {figure(fmean(ratios))}. "
            )
        case "shaped" if ratios:
            return f"Their mean ratio to the policy that sampled them was {figure(fmean(ratios))}, before shaping. "
        case _:
            return ""
