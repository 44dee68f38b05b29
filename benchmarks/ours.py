"""Our side of lane S: the product's own training steps, timed. Runs in the product's environment, as its own process:

    python -m benchmarks.ours --config G1 --models .bench/models --warmup 1 --rounds 2 --out g1.json

The counterpart of benchmarks/peer.py: one process, one configuration, one JSON object (fields: benchmarks/configs.py).
GRPO goes through `train_grpo`, MPO through the stage's preference loss; nothing of the product is replaced but the
data, the reward and the clock. A round has these fields beside the peer's: `work/...` as the product logs them (GRPO),
`reference_once_wall` and `reference_once_cpu` (MPO; benchmarks/ours_mpo.py).
"""

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.configs import CONFIGS, Config
from benchmarks.peer import check_environment, peak_bytes


def measure(config: Config, models: Path, *, warmup: int, rounds: int, dead: float) -> dict[str, Any]:
    """One result."""
    import torch
    import transformers

    import vergence
    from benchmarks.ours_grpo import run_grpo
    from benchmarks.ours_mpo import run_mpo
    from benchmarks.ours_rounds import RoundClock, count_preprocessing
    from vergence.model import device

    tune = getattr(device, "keep_freed_memory", None)
    if tune is not None:
        tune()
    clock = RoundClock()
    count_preprocessing(clock)
    with tempfile.TemporaryDirectory() as folder:
        if config.kind == "grpo":
            train = run_grpo(config, models, Path(folder), clock, dead=dead)
        else:
            train = run_mpo(config, models, clock)
        loaded = peak_bytes()
        train(warmup + rounds)
    return {
        "system": "vergence",
        "config": dataclasses.asdict(config),
        "versions": {
            "vergence": vergence.__version__,
            "transformers": transformers.__version__,
            "torch": torch.__version__,
        },
        "threads": torch.get_num_threads(),
        "dead": dead,
        "warmup": warmup,
        "rounds": clock.rounds[warmup:],
        "peak_bytes": peak_bytes(),
        "peak_load_bytes": loaded,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=CONFIGS, required=True)
    parser.add_argument("--models", type=Path, default=Path(".bench/models"))
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--dead", type=float, help="fraction of groups without a signal; default: the configuration's")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    check_environment()
    config = CONFIGS[arguments.config]
    result = measure(
        config,
        arguments.models.resolve(),
        warmup=arguments.warmup,
        rounds=arguments.rounds,
        dead=config.dead if arguments.dead is None else arguments.dead,
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
