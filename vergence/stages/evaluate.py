"""Stage evaluate: every policy of the run on the test split, greedy and sampled, and what a grey picture would give."""

import json
from collections.abc import Mapping
from typing import Any

from vergence.evaluation.measure import answer_all, as_row, figures, prediction_rows
from vergence.files import write_whole
from vergence.model.vision import ADAPTER_OUTPUT, AblatedTower, CachedTower, grey_view
from vergence.recipe.stages import EvaluateStage
from vergence.rollout.local import LocalGenerator
from vergence.run.directory import Outcome, StageRow
from vergence.run.stage_run import StageRun
from vergence.stages.context import Context, Models
from vergence.stages.parts import feature_limits


def run_evaluate(section: EvaluateStage, run: StageRun, context: Context, models: Models) -> Outcome:
    """Test figures for every stage that gave a policy, or for those that are named; the last becomes `final/`."""
    problems = context.test()
    rules = context.rules()
    test_rows: dict[str, Any] = {}
    details: dict[str, Any] = {}
    for label in _stages_with_policy(section, context):
        outcome = context.directory.outcome(label)
        assert outcome is not None, "stages run in order"
        policy = context.policy(context.directory.model_path(outcome.models["policy"]))
        tower = CachedTower(policy, remembered=ADAPTER_OUTPUT, limits=feature_limits(context))
        generator = LocalGenerator(policy, tower)
        blank = LocalGenerator(policy, AblatedTower(policy, grey_view))
        limits = {"max_new_tokens": section.max_new_tokens, "seed": run.seed("answers")}
        answers = rules(answer_all(generator, problems, samples=0, **limits))
        greedy = as_row(figures(answers))
        sampled = as_row(figures(rules(answer_all(generator, problems, samples=section.samples, **limits))))
        grey = as_row(figures(rules(answer_all(blank, problems, samples=0, **limits))))
        test_rows[label] = {
            "greedy_accuracy": greedy["accuracy"],
            "sampled_accuracy": sampled["accuracy"],
            "format_rate": sampled["format_rate"],
            "hallucination_rate": sampled["hallucination_rate"],
            "split": "test",
        }
        details[label] = {"greedy": greedy, "sampled": sampled, "grey_picture": grey}
        predictions = context.directory.stage_folder(section.label) / f"{label}.jsonl"
        predictions.parent.mkdir(parents=True, exist_ok=True)
        write_whole(predictions, "".join(json.dumps(row) + "\n" for row in prediction_rows(answers)))
        said = [f"{name.replace('_', ' ')} {_percent(row)}" for name, row in details[label].items()]
        context.progress.say(f"{section.label:<14} {label:<14} {'  '.join(said)}")
    last = test_rows[list(test_rows)[-1]]
    return Outcome({}, StageRow(seconds=run.seconds(), **last), {"test": details, "test_rows": test_rows})


def _percent(row: Mapping[str, Any]) -> str:
    """Accuracy in percent, and how many answers it leaves out because they could not be judged."""
    accuracy = "unknown" if row["accuracy"] is None else f"{100 * row['accuracy']:.1f}"
    return f"{accuracy} ({row['failed']} not judged)" if row["failed"] else accuracy


def _stages_with_policy(section: EvaluateStage, context: Context) -> list[str]:
    labels = []
    for stage in context.recipe.stage:
        if stage.label == section.label:
            break
        if "policy" in stage.GIVES and (not section.stages or stage.label in section.stages):
            labels.append(stage.label)
    return labels
