"""The console that tables and live lines are drawn on."""

from collections.abc import Iterable
from typing import Any, final

from rich.console import Console, ConsoleOptions
from rich.segment import Segment

from vergence.terminal import escaped


@final
class Terminal(Console):
    """A console that escapes all text, and takes square brackets for text as well."""

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        super().__init__(stderr=stderr, markup=False, highlight=False, emoji=False, **options)

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What rich draws, with its own control codes and nobody else's."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(escaped(segment.text), segment.style)
