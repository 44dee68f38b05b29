"""`vergence eval`."""

import json
from pathlib import Path

from rich.table import Table

from vergence.commands.quiet import quieten_libraries
from vergence.console import Terminal
from vergence.data.problems import read_problems
from vergence.evaluation.measure import Figures, answer_all, figures, prediction_rows
from vergence.files import check_output, write_whole
from vergence.grading.limits import DEFAULT_LIMITS
from vergence.grading.load import grader_for
from vergence.model.device import choose_device
from vergence.model.policy import load_policy
from vergence.model.vision import ADAPTER_OUTPUT, CachedTower
from vergence.reward.form import FORMS
from vergence.reward.hybrid import RULES, RuleReward
from vergence.rollout.local import LocalGenerator
from vergence.stages.gold import check_gold
from vergence.stages.prompts import check_asked


def eval_command(
    model: Path, data: Path, *, samples: int, out: Path | None, max_new_tokens: int, form: str, seed: int, device: str
) -> None:
    """Answer every problem of a file, grade, print the figures, and write the answers if asked to."""
    quieten_libraries()
    if out is not None:
        check_output(out)
    problems = read_problems(data, decode=True)
    with grader_for(DEFAULT_LIMITS) as grader:
        check_gold(problems, data, grader, FORMS[form])
        check_asked(data, model)
        policy = load_policy(model, choose_device(device))
        generator = LocalGenerator(policy, CachedTower(policy, remembered=ADAPTER_OUTPUT))
        groups = answer_all(generator, problems, samples=samples, max_new_tokens=max_new_tokens, seed=seed)
        scored = RuleReward(RULES, grader, form=FORMS[form])(groups)
    if out is not None:
        write_whole(out, "".join(json.dumps(row) + "\n" for row in prediction_rows(scored)))
    Terminal().print(figures_table(figures(scored), greedy=samples == 0), highlight=False)


def figures_table(result: Figures, *, greedy: bool) -> Table:
    """The figures of one evaluation."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    name = "accuracy (greedy)" if greedy else f"avg@{result.num_samples}"
    interval = f"[{100 * result.accuracy.low:.1f}, {100 * result.accuracy.high:.1f}]"
    table.add_row("problems", str(result.num_problems))
    if result.failed:
        table.add_row("answers that could not be judged", f"{result.failed}, left out")
    table.add_row(name, f"{100 * result.accuracy.mean:.1f}  95 % interval {interval}")
    if result.num_samples > 1:
        table.add_row(f"pass@{result.num_samples}", f"{100 * result.pass_at_k:.1f}")
    table.add_row("format rate", f"{100 * result.format_rate:.1f}")
    if result.mentions.responses:
        table.add_row("hallucinating responses", f"{100 * result.mentions.response_rate:.1f}")
        table.add_row("hallucinated mentions", f"{100 * result.mentions.mention_rate:.1f}")
    else:
        table.add_row("hallucination", "unknown: the data name no visible objects")
    for category, accuracy in result.categories.items():
        table.add_row(f"  {category}", f"{100 * accuracy:.1f}")
    return table
