"""Which stages are computed once for several variants, and what hangs under them."""

import subprocess
import sys
from typing import Any

import pytest

from vergence.errors import RecipeError
from vergence.recipe.load import load_recipe
from vergence.study.plan import Job, Plan, make_plan, of_seeds, plan_lines
from vergence.study.schema import Study

FIRST = ["parents", "assemble", "align"]


def plan(variants: dict[str, dict[str, Any]], seeds: tuple[int, ...] = (0,), **keys: Any) -> Plan:
    listed = [{"name": name, **settings} for name, settings in variants.items()]
    study = Study.model_validate({"name": "small", "base": "digits", "seeds": seeds, "variant": listed, **keys})
    return make_plan(study, "s.toml")


def tree(found: Plan) -> dict[str, tuple[list[str], str | None]]:
    """Job to the stages that it computes and the job it hangs under; shared jobs are called by their last stage."""

    def name(job: Job | None) -> str | None:
        return None if job is None else job.variant or f"({job.recipe.stage[-1].label})"

    return {str(name(job)): (list(job.stages), name(job.parent)) for job in found.jobs}


def test_stages_are_shared_at_several_depths():
    found = plan(
        {
            "plain": {},
            "short": {"set": ["stage.grpo.steps=9"]},
            "no-mpo": {"without": ["mpo"]},
        }
    )
    assert tree(found) == {
        "(reward_model)": ([*FIRST, "reward_model"], None),
        "(mpo)": (["mpo"], "(reward_model)"),
        "plain": (["grpo", "evaluate"], "(mpo)"),
        "short": (["grpo", "evaluate"], "(mpo)"),
        "no-mpo": (["grpo", "evaluate"], "(reward_model)"),
    }


def test_a_variant_that_is_the_beginning_of_another_computes_nothing_of_its_own():
    found = plan({"begun": {"without": ["grpo", "evaluate"]}, "whole": {"without": ["evaluate"]}}, table=LOSS)
    assert tree(found) == {
        "(mpo)": ([*FIRST, "reward_model", "mpo"], None),
        "begun": ([], "(mpo)"),
        "whole": (["grpo"], "(mpo)"),
    }


LOSS = {"columns": ["mpo:loss"]}


@pytest.mark.parametrize("key", ["data.train=700", "compute.self_check=true", "stage.parents.vision_steps=7"])
def test_what_differs_before_the_second_stage_leaves_nothing_to_share(key: str):
    found = plan({"plain": {}, "other": {"set": [key]}})
    assert [job.parent for job in found.jobs] == [None, None]


def test_one_variant_shares_with_nobody():
    (job,) = plan({"plain": {}}).jobs
    assert job.parent is None
    assert job.recipe == load_recipe("digits", ["threads=1"])


def test_seeds_never_share_and_come_one_after_the_other():
    found = plan({"plain": {}, "short": {"set": ["stage.grpo.steps=9"]}}, seeds=(4, 2))
    assert [(job.seed, job.variant) for job in found.jobs] == [
        (4, None),
        (4, "plain"),
        (4, "short"),
        (2, None),
        (2, "plain"),
        (2, "short"),
    ]
    assert all(job.recipe.seed == job.seed and job.recipe.threads == 1 for job in found.jobs)
    assert all(job.parent is None or job.parent.seed == job.seed for job in found.jobs)
    assert len({job.key for job in found.jobs}) == 6


def test_a_shared_beginning_keeps_its_directory_when_variants_are_added():
    two = {"plain": {}, "short": {"set": ["stage.grpo.steps=9"]}}
    before = {job.key for job in plan(two).jobs}
    assert before < {job.key for job in plan({**two, "shorter": {"set": ["stage.grpo.steps=8"]}}).jobs}


def test_every_job_stands_behind_the_one_it_needs():
    found = plan({str(n): {"set": [f"stage.mpo.rounds={n // 2}", f"stage.grpo.steps={n}"]} for n in (2, 3, 4, 5)})
    assert [None, None, None] == [job.variant for job in found.jobs[:3]]
    for place, job in enumerate(found.jobs):
        assert job.parent is None or job.parent in found.jobs[:place]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"variants": {"a": {}, "b": {}}}, 'variants "a" and "b" are the same recipe'),
        ({"variants": {"a": {"set": ["stage.grpo.stepz=9"]}}}, r"variant a: digits: stage.5.stepz: unknown key"),
        ({"variants": {"a": {"without": ["sft"]}}}, r'variant a: without sft: no stage "sft"; the stages are parents'),
        ({"variants": {"a": {"without": ["assemble"]}}}, r"variant a: digits: .*needs a policy"),
        ({"variants": {"a": {}}, "base": "nowhere"}, r"variant a: nowhere: no such recipe file"),
        ({"variants": {"a": {}}, "table": {"columns": ["sft:loss"]}}, r'table.columns.0: no variant has a stage "sft"'),
        (
            {"variants": {"a": {}}, "figure": [{"stage": "sft", "metric": "loss"}]},
            r'figure.0.stage: no variant has a stage "sft"',
        ),
        (
            {"variants": {"a": {"without": ["evaluate"]}}},
            r'table.columns.0: "test/greedy_accuracy" needs an "evaluate"',
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(keys: dict[str, Any], message: str):
    with pytest.raises(RecipeError, match=f"^s.toml: {message}"):
        plan(**keys)


def test_seeds_that_the_study_lacks_are_refused():
    study = Study.model_validate({"name": "small", "base": "digits", "seeds": [0, 1], "variant": [{"name": "a"}]})
    whole = make_plan(study, "s.toml")
    assert [job.seed for job in of_seeds(whole, [1])] == [1]
    assert of_seeds(whole, []) == whole.jobs
    with pytest.raises(RecipeError, match="--seeds 2: the study has the seeds 0, 1"):
        of_seeds(whole, [2])


def test_the_printed_plan_has_a_line_for_each_job():
    found = plan({"plain": {}, "short": {"set": ["stage.grpo.steps=9"]}}, seeds=(0, 1))
    lines = plan_lines(found, found.jobs)
    assert lines[0] == "small: 2 variants x 2 seeds, 2 shared beginnings"
    assert lines[2].startswith("runs/plain/seed-0  grpo, evaluate  (after shared/seed-0/mpo-")
    assert len(lines) == 7


def test_planning_needs_no_torch():
    code = (
        "import sys; from vergence.cli import main; "
        "main(['study', 'studies/example.toml', '--plan']); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
