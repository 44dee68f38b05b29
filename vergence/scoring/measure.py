"""Any reward model on a file of pairs: its report, and its calibration."""

from collections.abc import Sequence

from vergence.data.preferences import Preference
from vergence.model.reward_head import Calibration, RewardModel
from vergence.pairs.comparisons import Shares, apart
from vergence.scoring.files import compared_file
from vergence.scoring.held_out import HeldOutReport, measured
from vergence.scoring.scorer import PreferenceScorer
from vergence.scoring.wording import scorer_wording, wording_of
from vergence.seeds import generator


def measured_on_file(scorer: PreferenceScorer, rows: Sequence[Preference]) -> HeldOutReport:
    """Accuracy on the pairs themselves; the chosen responses also with another row's picture."""
    wording = scorer_wording(scorer.model)
    comparisons = compared_file(rows, Shares(elsewhere=0.0), wording, generator("measured on a file"))
    responses, swaps = apart(comparisons)
    return measured(responses, swaps, scorer.raw)


def calibration_on_file(model: RewardModel, rows: Sequence[Preference]) -> Calibration:
    """Median and spread of the scores of every distinct response of the pairs."""
    wording = wording_of(model.backbone)
    prompts = {row.problem.id: wording.prompt(row.problem) for row in rows}
    texts = {
        (row.problem.id, text, finish)
        for row in rows
        for text, finish in ((row.chosen, row.chosen_finish), (row.rejected, row.rejected_finish))
    }
    members = [(prompts[name], wording.completion(text, finish)) for name, text, finish in sorted(texts)]
    return Calibration.measured(model.raw(members))
