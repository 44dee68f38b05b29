"""Says once if nobody has the form that responses are asked for: the format reward then teaches nothing."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import final

from vergence.reward.form import Form
from vergence.types import Finish, RolloutGroup


@final
class FormWatch:
    """Looks at the first batch that it is given, and at no other. It changes no figure, so it is no state of a run."""

    def __init__(self, form: Form, say: Callable[[str], None]) -> None:
        self._form = form
        self._say = say
        self._looked = False

    def look(self, groups: Sequence[RolloutGroup]) -> None:
        """One batch."""
        if self._looked:
            return
        self._looked = True
        faults = Counter(
            self._fault(text, one.finish)
            for group in groups
            for text, one in zip(group.responses, group.completions, strict=True)
        )
        if faults and "" not in faults:
            reason, count = faults.most_common(1)[0]
            self._say(
                f'format: none of the first {faults.total():,} responses has the form "{self._form.name}" '
                f"({count:,} times: {reason}); ask for it in the question, teach it (stage align), or choose another "
                "grading.form"
            )

    def _fault(self, text: str, finish: Finish) -> str:
        if finish is not Finish.STOP:
            return "cut off at max_new_tokens"
        return "" if self._form.is_formed(text) else self._form.fault(text)
