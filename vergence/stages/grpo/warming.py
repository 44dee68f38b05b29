"""A buffer that is not empty at the first step: groups of a file, judged by the stage's own reward and advantage."""

from vergence.buffer.selective import SampleBuffer
from vergence.model.fingerprint import policy_fingerprint
from vergence.model.policy import Policy
from vergence.pool.warm import read_warm
from vergence.recipe.grpo import GrpoStage
from vergence.stages.grpo.loop import GrpoParts


def warm_up(section: GrpoStage, parts: GrpoParts, policy: Policy) -> None:
    """Fill the buffer from `buffer.warm`, if the recipe names it; a stage that is resumed loads its own state later.

    Raises ModelError if another policy sampled the file, and DataError if its temperature was another.
    """
    path = section.buffer.warm
    if path is None or not isinstance(parts.selection, SampleBuffer):
        return
    groups = read_warm(path, fingerprint=policy_fingerprint(policy), temperature=section.sampling.temperature)
    parts.selection.warm(parts.judge(parts.reward(groups)))
