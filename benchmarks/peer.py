"""The peer's side of lane S: TRL's trainers, timed. Runs in the peer's environment, as a process of its own:

    python -m benchmarks.peer --config G1 --models .bench/models --flavour plus --warmup 1 --rounds 2 --out g1.json

One process measures one configuration and writes one JSON object (fields: benchmarks/configs.py). Nothing is changed
in TRL except, for "plus", the one assignment that lets the head score completion positions only, as on a GPU.

Times are taken by wrapping methods of the trainer from outside. The wrappers cost two clock readings per phase, some
microseconds in rounds of seconds. OMP_NUM_THREADS=2, OMP_WAIT_POLICY=PASSIVE and GOMP_SPINCOUNT=0 must be in the
environment before torch loads; the process refuses to measure otherwise.
"""

import argparse
import dataclasses
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.configs import (
    CONFIGS,
    LEARNING_RATE,
    MAX_GRAD_NORM,
    MPO_LOSSES,
    MPO_WEIGHTS,
    PHASES,
    Config,
    is_dead,
    reward,
)

_REQUIRED_ENVIRONMENT = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
COUNTERS = ("tower_images", "tower_images_grad", "preprocessed", "decoded", "generated_tokens")


class PhaseClock:
    """Splits the time since the last `restart` into phases; what belongs to no other phase is "rest".

    Phases nest: while an inner one runs, the outer one stands still, so that phases add up to the total.
    """

    def __init__(self) -> None:
        self._stack = ["rest"]
        self.restart()

    def restart(self) -> None:
        """Begin a round."""
        self.wall = dict.fromkeys(PHASES, 0.0)
        self.cpu = dict.fromkeys(PHASES, 0.0)
        self.counts = dict.fromkeys(COUNTERS, 0)
        self.losses: list[float] = []
        self._marked = time.perf_counter(), time.process_time()

    def _mark(self) -> None:
        now = time.perf_counter(), time.process_time()
        self.wall[self._stack[-1]] += now[0] - self._marked[0]
        self.cpu[self._stack[-1]] += now[1] - self._marked[1]
        self._marked = now

    def enter(self, phase: str) -> None:
        """Charge what follows to this phase."""
        self._mark()
        self._stack.append(phase)

    def leave(self) -> None:
        """Charge what follows to the phase before."""
        self._mark()
        self._stack.pop()

    def timed(self, function: Callable[..., Any], phase: str | Callable[..., str]) -> Callable[..., Any]:
        """The function, charged to a phase or to the phase that its arguments decide."""

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            self.enter(phase if isinstance(phase, str) else phase(*args, **kwargs))
            try:
                return function(*args, **kwargs)
            finally:
                self.leave()

        return wrapper

    def report(self) -> dict[str, Any]:
        """The round so far, in the fields of a result."""
        self._mark()
        total = {"wall": sum(self.wall.values()), "cpu": sum(self.cpu.values())}
        return total | {"phases_wall": self.wall, "phases_cpu": self.cpu} | self.counts | {"losses": self.losses}


def check_environment() -> None:
    """Refuse to measure with spinning threads, or with another number of them. Raises SystemExit."""
    for name, value in _REQUIRED_ENVIRONMENT.items():
        if os.environ.get(name, "").upper() != value:
            raise SystemExit(f"{name}={value} must be in the environment before torch loads")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def problem_rows(folder: Path, ids: list[str] | None = None) -> Any:
    """A TRL dataset of the folder's problems: "prompt" (messages), "image" (a file, decoded on access), "id".

    `ids` chooses and orders the rows; None takes the file as it is. The column is a single image and not a list of
    one, because `datasets` decodes the first image of a list twice; the peer gets the cheaper form.
    """
    problems = {row["id"]: row for row in read_lines(folder / "problems.jsonl")}
    rows = [problems[key] for key in (ids if ids is not None else problems)]
    return _dataset(
        [
            {
                "id": row["id"],
                "prompt": [{"role": "user", "content": row["question"]}],
                "image": str(folder / row["images"][0]),
            }
            for row in rows
        ]
    )


def pair_rows(folder: Path) -> Any:
    """The same for DPO: with "chosen" and "rejected" (messages), without "id"."""
    problems = {row["id"]: row for row in read_lines(folder / "problems.jsonl")}
    return _dataset(
        [
            {
                "prompt": [{"role": "user", "content": problems[row["id"]]["question"]}],
                "chosen": [{"role": "assistant", "content": row["chosen"]}],
                "rejected": [{"role": "assistant", "content": row["rejected"]}],
                "image": str(folder / problems[row["id"]]["images"][0]),
            }
            for row in read_lines(folder / "pairs.jsonl")
        ]
    )


def _dataset(rows: list[dict[str, Any]]) -> Any:
    from datasets import Dataset, Image

    return Dataset.from_list(rows).cast_column("image", Image())


def compact_head() -> None:
    """TRL+: let the fused head score only positions with a label, which stock TRL does on a GPU alone."""
    import trl.trainer.utils

    trl.trainer.utils._use_triton = lambda device: True


def common_arguments(output: str) -> dict[str, Any]:
    """Arguments of every trainer here: fp32 on the CPU, fused AdamW, no logging, no saving, fixed order."""
    return {
        "output_dir": output,
        "bf16": False,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "disable_dropout": True,
        "optim": "adamw_torch_fused",
        "learning_rate": LEARNING_RATE,
        "weight_decay": 0.0,
        "max_grad_norm": MAX_GRAD_NORM,
        "lr_scheduler_type": "constant",
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "model_init_kwargs": {"dtype": "float32", "attn_implementation": "sdpa"},
    }


def grpo_trainer(config: Config, models: Path, output: str, *, rounds: int, dead: float) -> Any:
    """TRL's GRPOTrainer on one configuration, for so many rounds."""
    from trl import GRPOConfig, GRPOTrainer

    def signal(*, completion_ids: list[list[int]], id: list[str], **_: Any) -> list[float]:
        places = [int(key.rsplit("-", 1)[1]) for key in id]
        pairs = zip(completion_ids, places, strict=True)
        return [1.0 if is_dead(place, dead) else reward(ids) for ids, place in pairs]

    arguments = GRPOConfig(
        **common_arguments(output),
        max_steps=rounds * config.mu,
        per_device_train_batch_size=config.completions * config.prompts // config.micro_batches,
        gradient_accumulation_steps=config.micro_batches,
        num_generations=config.completions,
        num_iterations=config.mu,
        max_completion_length=config.completion_tokens,
        generation_kwargs={"min_new_tokens": config.completion_tokens},
        temperature=1.0,
        beta=config.beta,
        loss_type="dapo",
        use_bias_correction_kl=False,  # the k3 term as it is, as in lane N; one product per token less
        shuffle_dataset=False,
    )
    data = problem_rows(models / "data" / config.name)
    return GRPOTrainer(model=str(models / config.model), reward_funcs=signal, args=arguments, train_dataset=data)


def mpo_trainer(config: Config, models: Path, output: str, *, rounds: int) -> Any:
    """TRL's DPOTrainer with the three MPO losses on one configuration, for so many rounds."""
    from trl import DPOConfig, DPOTrainer

    arguments = DPOConfig(
        **common_arguments(output),
        max_steps=rounds,
        per_device_train_batch_size=config.prompts // config.micro_batches,
        gradient_accumulation_steps=config.micro_batches,
        beta=config.beta,
        loss_type=list(MPO_LOSSES),
        loss_weights=list(MPO_WEIGHTS),
        precompute_ref_log_probs=False,
        max_length=None,
        train_sampling_strategy="sequential",
    )
    data = pair_rows(models / "data" / config.name)
    return DPOTrainer(model=str(models / config.model), args=arguments, train_dataset=data)


def instrument(trainer: Any, clock: PhaseClock) -> None:
    """Wrap the trainer's methods, so that the clock knows the phases and counts the work."""
    import datasets
    import torch

    model, reference, accelerator = trainer.model, trainer.ref_model, trainer.accelerator
    trainer.compute_loss = clock.timed(trainer.compute_loss, "forward")
    accelerator.backward = clock.timed(accelerator.backward, "backward")
    accelerator.clip_grad_norm_ = clock.timed(accelerator.clip_grad_norm_, "optimizer")
    if reference is not None:
        reference.forward = clock.timed(reference.forward, "ref")
    if hasattr(trainer, "_get_per_token_logps_and_entropies"):
        logps = trainer._get_per_token_logps_and_entropies
        trainer._get_per_token_logps_and_entropies = clock.timed(logps, _forward_phase(reference))
        model.generate = clock.timed(_counting_tokens(model.generate, clock), "generate")

    def count_tower(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], _output: Any) -> None:
        images = len(args[0] if args else kwargs["pixel_values"])
        clock.counts["tower_images"] += images
        clock.counts["tower_images_grad"] += images if torch.is_grad_enabled() else 0

    for network in filter(None, (model, reference)):
        network.model.vision_tower.register_forward_hook(count_tower, with_kwargs=True)

    processor = trainer.processing_class.image_processor
    preprocess, step, decode = processor.preprocess, trainer.training_step, datasets.Image.decode_example

    def counted_preprocess(*args: Any, **kwargs: Any) -> Any:
        output = preprocess(*args, **kwargs)
        clock.counts["preprocessed"] += len(output["pixel_values"])
        return output

    def kept_loss(*args: Any, **kwargs: Any) -> Any:
        loss = step(*args, **kwargs)
        clock.losses.append(float(loss))
        return loss

    def counted_decode(*args: Any, **kwargs: Any) -> Any:
        clock.counts["decoded"] += 1
        return decode(*args, **kwargs)

    processor.preprocess, trainer.training_step, datasets.Image.decode_example = (
        counted_preprocess,
        kept_loss,
        counted_decode,
    )


def _forward_phase(reference: Any) -> Callable[..., str]:
    import torch

    def phase(network: Any, *_: Any, **__: Any) -> str:
        if network is reference:
            return "ref"
        return "forward" if torch.is_grad_enabled() else "old"

    return phase


def _counting_tokens(generate: Callable[..., Any], clock: PhaseClock) -> Callable[..., Any]:
    def counted(*args: Any, **kwargs: Any) -> Any:
        output = generate(*args, **kwargs)
        clock.counts["generated_tokens"] += output.shape[0] * (output.shape[1] - kwargs["input_ids"].shape[1])
        return output

    return counted


def timed_rounds(trainer: Any, config: Config, *, warmup: int) -> list[dict[str, Any]]:
    """Train to the end and report every round after the warm-up. A round ends with its last optimizer step.

    The loader fetches one batch ahead, so in the steady state a round pays for the next round's first batch.
    """
    from transformers import TrainerCallback

    clock = PhaseClock()
    reports: list[dict[str, Any]] = []

    class Boundaries(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            clock.restart()

        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            clock.enter("optimizer")

        def on_optimizer_step(self, *_: Any, **__: Any) -> None:
            clock.leave()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % config.mu == 0:
                reports.append(clock.report() | _fixed_work(config))
                clock.restart()

    instrument(trainer, clock)
    trainer.add_callback(Boundaries())
    trainer.train()
    for report in reports:
        report["losses"] = _step_losses(report["losses"], config.micro_batches)
    return reports[warmup:]


def _fixed_work(config: Config) -> dict[str, int]:
    sequences = config.prompts * config.completions
    return {"trained_tokens": sequences * config.completion_tokens * config.mu, "optimizer_steps": config.mu}


def _step_losses(losses: list[float], parts: int) -> list[float]:
    return [sum(losses[first : first + parts]) for first in range(0, len(losses), parts)]


def peak_bytes() -> int:
    """High-water mark of this process's resident memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(config: Config, models: Path, *, plus: bool, warmup: int, rounds: int, dead: float) -> dict[str, Any]:
    """One result: the fields are described in benchmarks/configs.py."""
    import torch
    import transformers
    import trl

    if plus:
        compact_head()
    with tempfile.TemporaryDirectory() as output:
        if config.kind == "grpo":
            trainer = grpo_trainer(config, models, output, rounds=warmup + rounds, dead=dead)
        else:
            trainer = mpo_trainer(config, models, output, rounds=warmup + rounds)
        loaded = peak_bytes()
        reports = timed_rounds(trainer, config, warmup=warmup)
    return {
        "system": "trl+" if plus else "trl",
        "config": dataclasses.asdict(config),
        "versions": {
            "trl": trl.__version__,
            "transformers": transformers.__version__,
            "torch": torch.__version__,
        },
        "threads": torch.get_num_threads(),
        "dead": dead,
        "warmup": warmup,
        "rounds": reports,
        "peak_bytes": peak_bytes(),
        "peak_load_bytes": loaded,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=CONFIGS, required=True)
    parser.add_argument("--models", type=Path, default=Path(".bench/models"))
    parser.add_argument("--flavour", choices=("plus", "stock"), default="plus")
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--dead", type=float, help="fraction of groups without a signal; default: the configuration's")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    check_environment()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    config = CONFIGS[arguments.config]
    result = measure(
        config,
        arguments.models.resolve(),
        plus=arguments.flavour == "plus",
        warmup=arguments.warmup,
        rounds=arguments.rounds,
        dead=config.dead if arguments.dead is None else arguments.dead,
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
