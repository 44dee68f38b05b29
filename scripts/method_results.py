"""Puts the tables and figures of finished studies into docs/results/method.md.

    python scripts/method_results.py RUNS docs/results/method.md

RUNS holds one directory a study, named after it, as `vergence study` left it. In the page, what stands between
`<!-- study NAME -->` and `<!-- end -->` is replaced by the study's tables, and every figure that the page shows from
`method/NAME--FIGURE.svg` is copied from the study's `figures/FIGURE.svg`. Words are left alone.
"""

import re
import shutil
import sys
from pathlib import Path

BLOCK = re.compile(r"(<!-- study ([a-z0-9-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
FIGURE = re.compile(r"\]\(method/([a-z0-9-]+?)--([\w-]+)\.svg\)")


def tables(study: Path) -> str:
    """A study's table.md, its headings lowered so that they fit below the page's own."""
    title, _, rest = (study / "table.md").read_text().partition("\n")
    assert title.startswith("# "), f"{study / 'table.md'}: expected a title, found {title!r}"
    return re.sub(r"^## (.*)$", r"**\1**", rest, flags=re.MULTILINE).strip()


def fill(text: str, runs: Path) -> str:
    """The page with the tables of now."""
    return BLOCK.sub(lambda found: f"{found[1]}\n{tables(runs / found[2])}\n\n{found[3]}", text)


def copy_figures(text: str, runs: Path, folder: Path) -> None:
    """Every figure that the page shows."""
    folder.mkdir(parents=True, exist_ok=True)
    for study, figure in FIGURE.findall(text):
        shutil.copyfile(runs / study / "figures" / f"{figure}.svg", folder / f"{study}--{figure}.svg")


def main() -> None:
    """The command."""
    runs, page = Path(sys.argv[1]), Path(sys.argv[2])
    text = fill(page.read_text(), runs)
    copy_figures(text, runs, page.parent / "method")
    page.write_text(text)


if __name__ == "__main__":
    main()
