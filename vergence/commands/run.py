"""`vergence run` and `vergence demo`."""

from pathlib import Path

from vergence.commands.quiet import quieten_libraries
from vergence.console import Terminal
from vergence.recipe.schema import Recipe
from vergence.run.progress import Progress, Verbosity
from vergence.stages.run_recipe import run_recipe


def run_command(recipe: Recipe, out: Path | None, *, stop_after: str | None, quiet: bool, verbose: bool) -> None:
    """Run a recipe; without `out` the directory is named after the recipe and its seed."""
    quieten_libraries()
    verbosity = Verbosity.QUIET if quiet else Verbosity.VERBOSE if verbose else Verbosity.NORMAL
    progress = Progress(Terminal(), verbosity)
    directory = out or Path("runs") / f"{recipe.name}-seed{recipe.seed}"
    try:
        run_recipe(recipe, directory, progress, stop_after=stop_after)
    finally:
        progress.end()
