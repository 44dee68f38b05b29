"""The one interface behind which the buffer and its rivals stand: from judged groups to the samples of an update.

gather   asks for judged groups: once, or until enough of them can teach
select   makes the batch of an update of them: fresh samples, and perhaps past ones
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from vergence.types import Draw, JudgedGroup

Ask = Callable[[int], list[JudgedGroup]]
"""The number of a batch of prompts -> its groups, sampled, scored and judged."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """What a step sampled, and how much of it could teach."""

    batches: int
    """Batches of prompts that were asked for."""
    groups: int
    groups_used: int
    """Groups with a fresh sample in the update."""
    samples: int
    """Completions."""
    effective_samples: int
    """Completions with an advantage, whether they were used or left over."""


@dataclass(frozen=True, slots=True, eq=False)
class Selected:
    """The batch of a step."""

    draws: tuple[Draw, ...]
    """Samples with an advantage, fresh and past."""
    zero_advantage: tuple[Draw, ...]
    """The batch's fresh completions without an advantage. They are computed where the loss has a term that every
    fresh completion takes part in (KL penalty, entropy bonus), and only then."""
    places: int
    """Samples that the surrogate divides by. More than `draws` where places stay empty and still count, so that
    leaving samples without advantage out of the computation does not change the surrogate's gradient; as many as
    `draws` where they do not."""
    kept: int
    """Samples in the buffer after this step; 0 where there is none."""
    sampled: Sampled


@runtime_checkable
class Selection(Protocol):
    """A way to fill batches in spite of vanishing advantages; its whole state is in `state_dict`."""

    def gather(self, ask: Ask, step: int) -> list[JudgedGroup]:
        """Every group that was sampled in this step, in order."""
        ...

    def select(self, judged: Sequence[JudgedGroup], size: int, *, version: int, rng: np.random.Generator) -> Selected:
        """The batch of at most `size` samples; `version` is the policy's number now."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers, strings, lists and dictionaries only."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        ...
