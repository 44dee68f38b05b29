"""What the Selective Sample Buffer did, in words made of the metrics."""

from collections.abc import Sequence
from statistics import fmean

from vergence.report.markup import Html, join, section, tag
from vergence.report.numerals import figure, first_tenth, last_tenth, spelled
from vergence.report.read import Row, RunRecord, values
from vergence.report.rollouts import group_card, shown_steps


def buffer_section(record: RunRecord) -> Html:
    """A paragraph and a few replayed samples for each stage that has a buffer."""
    blocks = []
    for stage, rows in record.metrics.items():
        if not values(rows, "effective/fresh") or not values(rows, "buffer/size"):
            continue
        replayed = [row for row in record.rollouts.get(stage, []) if row.get("origin") == "replay"]
        shown = [row for row in replayed if row["step"] in shown_steps(replayed)]
        cards = [group_card(row, record.path) for row in shown]
        samples = join([tag("h3", f"{stage}: some replayed samples"), tag("div", join(cards), class_="groups")])
        blocks.append(join([tag("p", sentence(stage, rows), class_="prose"), samples if cards else Html()]))
    return section("buffer", "What the buffer did", join(blocks))


def sentence(stage: str, rows: Sequence[Row]) -> str:
    """The story of one stage's buffer."""
    fresh, batch = values(rows, "effective/fresh"), values(rows, "effective/batch")
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
    text += ". "
    if max(values(rows, "buffer/size")) == 0:
        return text + (
            f"The buffer was off: the updated batch had {spelled(first_tenth(batch))} of its samples in the first "
            f"tenth and {spelled(last_tenth(batch))} in the last."
        )
    text += (
        f"After the buffer the updated batch had {spelled(first_tenth(batch))} of its samples in the first tenth, "
        f"{spelled(last_tenth(batch))} in the last and {spelled(fmean(batch))} on average. "
    )
    return text + _replays(rows)


def _replays(rows: Sequence[Row]) -> str:
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
    weights, sizes = values(used, "buffer/weight_mean"), values(used, "buffer/effective_sample_size")
    if weights and sizes:
        text += (
            f"Their off-policy weights were {figure(fmean(weights))} on average, and left an effective sample size of "
            f"{spelled(fmean(sizes))} ({spelled(min(sizes))} at the least). "
        )
    kept = values(rows, "buffer/size")
    return text + f"The buffer held {figure(kept[-1])} samples at the end."
