"""Stage evaluate: every policy of the run on the test split, greedy and sampled, and what a grey picture would give."""

import json
from typing import Any

from vergence.evaluation.measure import answer_all, as_row, figures, prediction_rows
from vergence.model.policy import load_policy
from vergence.model.vision import ADAPTER_OUTPUT, AblatedTower, CachedTower, grey_view
from vergence.recipe.stages import EvaluateStage
from vergence.rollout.local import LocalGenerator
from vergence.run.checkpoint import write_whole
from vergence.run.directory import Outcome, StageRow
from vergence.run.stage_run import StageRun
from vergence.stages.context import Context, Models
from vergence.stages.parts import feature_limits


def run_evaluate(section: EvaluateStage, run: StageRun, context: Context, models: Models) -> Outcome:
    """Test figures for every stage that gave a policy, or for those that are named; the last becomes `final/`."""
    problems = context.test()
    test_rows: dict[str, Any] = {}
    details: dict[str, Any] = {}
    for label in _stages_with_policy(section, context):
        outcome = context.directory.outcome(label)
        assert outcome is not None, "stages run in order"
        policy = load_policy(context.directory.model_path(outcome.models["policy"]), context.device)
        tower = CachedTower(policy, remembered=ADAPTER_OUTPUT, limits=feature_limits(context))
        generator = LocalGenerator(policy, tower)
        blank = LocalGenerator(policy, AblatedTower(policy, grey_view))
        limits = {"max_new_tokens": section.max_new_tokens, "seed": run.seed("answers")}
        greedy_groups = answer_all(generator, problems, samples=0, **limits)
        greedy = figures(greedy_groups)
        sampled = figures(answer_all(generator, problems, samples=section.samples, **limits))
        grey = figures(answer_all(blank, problems, samples=0, **limits))
        test_rows[label] = {
            "greedy_accuracy": greedy.accuracy.mean,
            "sampled_accuracy": sampled.accuracy.mean,
            "format_rate": sampled.format_rate,
            "hallucination_rate": sampled.mentions.response_rate if sampled.mentions.responses else None,
            "split": "test",
        }
        details[label] = {"greedy": as_row(greedy), "sampled": as_row(sampled), "grey_picture": as_row(grey)}
        predictions = context.directory.stage_folder(section.label) / f"{label}.jsonl"
        predictions.parent.mkdir(parents=True, exist_ok=True)
        write_whole(predictions, "".join(json.dumps(row) + "\n" for row in prediction_rows(greedy_groups)))
        context.progress.say(
            f"{section.label:<14} {label:<14} greedy {100 * greedy.accuracy.mean:.1f}  "
            f"sampled {100 * sampled.accuracy.mean:.1f}  grey picture {100 * grey.accuracy.mean:.1f}"
        )
    last = test_rows[list(test_rows)[-1]]
    return Outcome({}, StageRow(seconds=run.seconds(), **last), {"test": details, "test_rows": test_rows})


def _stages_with_policy(section: EvaluateStage, context: Context) -> list[str]:
    labels = []
    for stage in context.recipe.stage:
        if stage.label == section.label:
            break
        if "policy" in stage.GIVES and (not section.stages or stage.label in section.stages):
            labels.append(stage.label)
    return labels
