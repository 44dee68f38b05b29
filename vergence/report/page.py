"""The report of a run: one HTML page that needs neither network nor any other file."""

from collections.abc import Mapping

from vergence.files import write_whole
from vergence.report.agreement import agreement_section
from vergence.report.buffer import buffer_section
from vergence.report.curves import curves_section
from vergence.report.document import document
from vergence.report.head import head
from vergence.report.markup import Html, join, section, tag
from vergence.report.monitor import monitor_section
from vergence.report.read import RunRecord, read_run
from vergence.report.reward import reward_section
from vergence.report.reward_model import reward_model_section
from vergence.report.rollouts import rollouts_section
from vergence.report.tables import results_section
from vergence.report.time import time_section
from vergence.run.directory import RunDirectory


def write_report(directory: RunDirectory) -> None:
    """Write `report.html` from what lies in the run directory; a run that is not finished gives a shorter page."""
    write_whole(directory.report, page(read_run(directory)))


def page(record: RunRecord) -> str:
    """The whole page, in ASCII: other characters as references, so that no encoding can garble them."""
    sections = {
        "stages": results_section(record),
        "curves": curves_section(record.metrics),
        "buffer": buffer_section(record),
        "reward": reward_section(record),
        "agreement": agreement_section(record),
        "reward-model": reward_model_section(record),
        "monitor": monitor_section(record),
        "time": time_section(record.metrics),
        "rollouts": rollouts_section(record),
        "recipe": _recipe_section(record),
    }
    head_part = join([head(record), _contents(sections)])
    return document(f"{record.recipe.get('name', 'run')}: report", head_part, join(sections.values()))


def _contents(sections: Mapping[str, Html]) -> Html:
    """Where to find what, as far as it is there."""
    return tag("nav", join(tag("a", anchor, href=f"#{anchor}") for anchor, found in sections.items() if found))


def _recipe_section(record: RunRecord) -> Html:
    folded = tag(
        "details", tag("summary", "The resolved recipe: every key with its value"), tag("pre", record.recipe_text)
    )
    return section("recipe", "Recipe", folded)
