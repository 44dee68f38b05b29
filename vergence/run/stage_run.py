"""One stage's life inside a run directory: its steps, its log, its checkpoints, its progress line."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from vergence.clock import Clock
from vergence.run.checkpoint import Stateful, load_latest, save_snapshot
from vergence.run.journal import Journal
from vergence.run.progress import Progress
from vergence.seeds import seed_of
from vergence.types import Metrics


@final
class StageRun:
    """Numbers the steps of a stage and makes stopping at any moment equal to not stopping.

    `steps` restores the newest checkpoint before the first step it yields, rolls the journals back to that checkpoint,
    and writes a new one every `checkpoint_every` steps and after the last. A stage that stopped early is saved as if it
    had reached its end, so resuming it does not go on.
    """

    def __init__(self, directory: Path, stage: str, *, seed: int, checkpoint_every: int, progress: Progress) -> None:
        self.stage = stage
        owner, _, part = stage.partition("/")
        self.folder = directory / "checkpoints" / owner / "steps" / part
        self._seed = seed
        self._checkpoint_every = checkpoint_every
        self._progress = progress
        self._metrics = Journal(directory / "metrics.jsonl")
        self._rollouts = Journal(directory / "rollouts" / f"{stage}.jsonl")
        self._alarms = Journal(directory / "alarms" / f"{stage}.jsonl")
        self._begun = time.monotonic()
        self.clock = Clock()
        """Its seconds by phase become part of each step's line."""
        self._row: Metrics = {}
        self._step = 0
        self._stopped = False
        self._directory = directory

    def part(self, name: str) -> "StageRun":
        """A run of its own inside this stage, called `STAGE/NAME`, with its own steps and checkpoints."""
        return StageRun(
            self._directory,
            f"{self.stage}/{name}",
            seed=self._seed,
            checkpoint_every=self._checkpoint_every,
            progress=self._progress,
        )

    def stop(self) -> None:
        """Let the current step be the last one."""
        self._stopped = True

    def seed(self, *purpose: int | str) -> int:
        """The seed of one purpose within this stage, e.g. `seed(step, "rollout")`."""
        return seed_of(self._seed, self.stage, *purpose)

    def steps(self, total: int, parts: Mapping[str, Stateful]) -> Iterator[int]:
        """0 .. total-1, or from where the last checkpoint left off."""
        first = self._restore(parts)
        self._progress.begin(self.stage, total, first)
        for step in range(first, total):
            self._row, self._step = {}, step
            yield step
            self._end_step(step, total)
            over = self._stopped or step + 1 == total
            if over or (step + 1) % self._checkpoint_every == 0:
                self._save(total if over else step + 1, parts)
            if over:
                break
        self._progress.end()

    def say(self, text: str) -> None:
        """Print a line of the stage's once, unless `--quiet`."""
        self._progress.say(f"{self.stage:<14} {text}")

    def log(self, metrics: Mapping[str, float]) -> None:
        """Add metrics to the current step's line."""
        self._row.update(metrics)

    @property
    def logged(self) -> Metrics:
        """A copy of the current step's line as far as it goes."""
        return dict(self._row)

    def note_rollouts(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows of sampled groups to the stage's rollout file."""
        for row in rows:
            self._rollouts.append({"stage": self.stage, "step": self._step} | dict(row))

    def note_alarms(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append bands, alarms and actions to the stage's alarm file."""
        for row in rows:
            self._alarms.append({"stage": self.stage, "step": self._step} | dict(row))

    def seconds(self) -> float:
        """Wall seconds spent in this stage, earlier sessions included."""
        return time.monotonic() - self._begun

    def _end_step(self, step: int, total: int) -> None:
        self._metrics.append(
            {"stage": self.stage, "step": step, "wall_seconds": self.seconds()} | self._row | self.clock.take()
        )
        self._progress.step(step + 1, total, self._row)

    def _save(self, step: int, parts: Mapping[str, Stateful]) -> None:
        save_snapshot(
            self.folder,
            step,
            {
                "step": step,
                "seconds": self.seconds(),
                "metrics_size": self._metrics.size(),
                "rollouts_size": self._rollouts.size(),
                "alarms_size": self._alarms.size(),
                "parts": {name: part.state_dict() for name, part in parts.items()},
            },
        )

    def _restore(self, parts: Mapping[str, Stateful]) -> int:
        state = load_latest(self.folder)
        if state is None:
            # the first snapshot holds the sizes of the logs before the stage wrote anything; lines of its own are there
            # only if somebody deleted its checkpoints to do it again
            self._metrics.drop_stage(self.stage)
            self._rollouts.drop_stage(self.stage)
            self._alarms.drop_stage(self.stage)
            self._save(0, parts)
            return 0
        for name, part in parts.items():
            part.load_state_dict(state["parts"][name])
        self._metrics.truncate(state["metrics_size"])
        self._rollouts.truncate(state["rollouts_size"])
        self._alarms.truncate(state["alarms_size"])
        self._begun = time.monotonic() - state["seconds"]
        return int(state["step"])
