"""Files of preference pairs as comparisons."""

from collections.abc import Sequence

import numpy as np

from vergence.data.preferences import Preference
from vergence.pairs.comparisons import TEXT, Comparison, Shares, Wording, augmented
from vergence.types import Prompt


def compared_file(
    rows: Sequence[Preference], shares: Shares, wording: Wording, rng: np.random.Generator
) -> list[Comparison]:
    """Each row's own comparison, then those that `shares` asks for with other rows' responses and pictures.

    A row without pictures has the source `text`; rows of one problem share one prompt.
    """
    prompts: dict[str, Prompt] = {}
    made, chosen = [], []
    for row in rows:
        prompt = prompts.get(row.problem.id) or wording.prompt(row.problem)
        prompts[row.problem.id] = prompt
        better = (prompt, wording.completion(row.chosen, row.chosen_finish))
        source = row.source if row.problem.images else TEXT
        made.append(Comparison(better, (prompt, wording.completion(row.rejected, row.rejected_finish)), source))
        chosen.append(better)
    return made + augmented(chosen, shares, wording, rng)
