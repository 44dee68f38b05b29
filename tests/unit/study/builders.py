"""Small studies, and runs that are finished without anything having been computed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vergence.study.plan import Plan, make_plan
from vergence.study.read import Finished
from vergence.study.schema import Study


def plan_of(variants: dict[str, dict[str, Any]], seeds: tuple[int, ...] = (0,), **keys: Any) -> Plan:
    """A plan of the digits recipe; variants by name, with their `set` and `without`."""
    listed = [{"name": name, **settings} for name, settings in variants.items()]
    study = Study.model_validate({"name": "small", "base": "digits", "seeds": seeds, "variant": listed} | keys)
    return make_plan(study, "s.toml")


def finish(path: Path) -> None:
    """Make a begun run directory look finished."""
    (path / "summary.json").write_text(json.dumps({"complete": True, "details": {}, "seconds": 1.0, "commit": None}))
    (path / "report.html").write_text("")


def finished(accuracy: float, losses: Sequence[float] = ()) -> Finished:
    """What a finished run has left: the test accuracy of its grpo stage, and losses."""
    row = {"accuracy": accuracy}
    return Finished(
        test={"grpo": {"greedy": row, "sampled": row, "grey_picture": row}},
        metrics={"grpo": [{"stage": "grpo", "step": step, "loss": loss} for step, loss in enumerate(losses)]},
        summary={"commit": "abc", "seconds": 2.5, "versions": {"torch": "1"}},
    )
