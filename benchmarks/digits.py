"""The built-in recipe before and after: `python -m benchmarks.digits [--base COMMIT] [--pairs N] [--parts PART ...]`.

Both sides begin reinforcement with the same model, made by the older commit.

    unchanged   50 steps in double precision: the losses of every step, side by side
    faster      20 steps in single precision, one thread, in turns: CPU seconds of the stage

The result is merged into benchmarks/results.json under "digits".
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BASE = "0f945f4"
"""The last commit before prompts were packed."""
STAGES_AFTER = ("grpo", "evaluate")


def main() -> None:
    """Prepare, compare, time, write."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--base", default=BASE)
    options.add_argument("--pairs", type=int, default=3)
    options.add_argument("--parts", nargs="+", choices=("unchanged", "faster"), default=["unchanged", "faster"])
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        base = folder / "base"
        subprocess.run(["git", "worktree", "add", "--force", "--detach", base, given.base], cwd=ROOT, check=True)
        try:
            start = folder / "start"
            run(base, ["demo", "--out", start, "--stop-after", "mpo"])
            result: dict[str, Any] = {"base": given.base}
            if "unchanged" in given.parts:
                result["unchanged"] = unchanged(folder, base, start)
            if "faster" in given.parts:
                result["faster"] = faster(folder, base, start, given.pairs)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", base], cwd=ROOT, check=True)
    path = ROOT / "benchmarks" / "results.json"
    results = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(results | {"digits": results.get("digits", {}) | result}, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def unchanged(folder: Path, base: Path, start: Path) -> dict[str, Any]:
    """Largest difference of the 50 losses, and whether the same tokens were sampled."""
    before, after = (
        losses(prepared(folder / name, start, steps=50, older=tree is base), tree, module="benchmarks.double")
        for name, tree in (("double-before", base), ("double-after", ROOT))
    )
    gaps = [abs(one["loss"] - other["loss"]) for one, other in zip(before, after, strict=True)]
    return {
        "steps": len(gaps),
        "loss_max_difference": max(gaps),
        "loss_max_difference_first_10": max(gaps[:10]),
        "largest_loss": max(abs(one["loss"]) for one in before),
        "same_lengths": [one["rollout/length_mean"] for one in before] == [one["rollout/length_mean"] for one in after],
    }


def faster(folder: Path, base: Path, start: Path, pairs: int) -> dict[str, Any]:
    """CPU seconds of 20 steps, older over newer, pair by pair."""
    rows = []
    for pair in range(pairs):
        seconds = {}
        for name, tree in (("before", base), ("after", ROOT)):
            directory = prepared(folder / f"{name}-{pair}", start, steps=20, older=tree is base)
            began = os.times()
            steps = losses(directory, tree, module="vergence")
            ended = os.times()
            cpu = ended.children_user + ended.children_system - began.children_user - began.children_system
            seconds[name] = {"cpu": cpu, "stage_wall": steps[-1]["wall_seconds"]}
        rows.append(seconds)
    return {
        "pairs": rows,
        "cpu_ratio": spread([row["before"]["cpu"] / row["after"]["cpu"] for row in rows]),
        "stage_wall_ratio": spread([row["before"]["stage_wall"] / row["after"]["stage_wall"] for row in rows]),
    }


def spread(values: list[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def prepared(directory: Path, start: Path, *, steps: int, older: bool) -> Path:
    """A run that has finished everything before reinforcement."""
    shutil.copytree(start, directory)
    recipe = directory / "recipe.toml"
    text, deal = recipe.read_text(), "" if older else '\ndeal = "samples"'
    text = text.replace('type = "grpo"', f'type = "grpo"{deal}').replace("\nsteps = 80\n", f"\nsteps = {steps}\n")
    recipe.write_text(text)
    for stage in STAGES_AFTER:
        shutil.rmtree(directory / "checkpoints" / stage, ignore_errors=True)
    return directory


def losses(directory: Path, tree: Path, *, module: str) -> list[dict[str, Any]]:
    """Run reinforcement and return the lines it logged."""
    text = (directory / "recipe.toml").read_text().split('type = "grpo"')[1]
    steps = next(line.split("=")[1].strip() for line in text.splitlines() if line.startswith("steps"))
    arguments = ["demo", "--quiet", "--out", directory, "--stop-after", "grpo", "--set", f"stage.grpo.steps={steps}"]
    run(tree, arguments, module=module)
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["stage"] == "grpo"]


def run(tree: Path, arguments: list[Any], *, module: str = "vergence") -> None:
    """One command of a source tree, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": f"{tree}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)], cwd=tree, env=environment, check=True, stdout=sys.stderr
    )


if __name__ == "__main__":
    main()
