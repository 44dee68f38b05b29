"""The report of a run: one HTML page that needs neither network nor any other file."""

from collections.abc import Mapping
from importlib import resources

from vergence.report.agreement import agreement_section
from vergence.report.buffer import buffer_section
from vergence.report.curves import curves_section
from vergence.report.head import head
from vergence.report.markup import Html, join, section, tag
from vergence.report.monitor import monitor_section
from vergence.report.read import RunRecord, read_run
from vergence.report.reward import reward_section
from vergence.report.reward_model import reward_model_section
from vergence.report.rollouts import rollouts_section
from vergence.report.tables import results_section
from vergence.report.time import time_section
from vergence.run.checkpoint import write_whole
from vergence.run.directory import RunDirectory

# a second lock behind the escaping: a browser runs no script and fetches nothing, whatever a response contains
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


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
    style = resources.files("vergence.report").joinpath("style.css").read_text("utf-8")
    document = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("title", f"{record.recipe.get('name', 'run')}: report"),
            tag("style", Html(style)),
        ),
        tag("body", head(record), _contents(sections), tag("main", join(sections.values()))),
        lang="en",
    )
    return f"<!doctype html>\n{document}\n".encode("ascii", "xmlcharrefreplace").decode("ascii")


def _contents(sections: Mapping[str, Html]) -> Html:
    """Where to find what, as far as it is there."""
    return tag("nav", join(tag("a", anchor, href=f"#{anchor}") for anchor, found in sections.items() if found))


def _recipe_section(record: RunRecord) -> Html:
    folded = tag(
        "details", tag("summary", "The resolved recipe: every key with its value"), tag("pre", record.recipe_text)
    )
    return section("recipe", "Recipe", folded)
