"""The peer's half of lane N, numeric equality. Runs in the peer's environment:

    python -m benchmarks.peer_equality grpo --models .bench/models --name tiny-llava --mu 2 --beta 0.04 --out DIR
    python -m benchmarks.peer_equality mpo --models .bench/models --name tiny-llava --out DIR

It reads MODELS/NAME (or `--model FOLDER`) and MODELS/data/NAME (or `--data FOLDER`): problems.jsonl,
completions.jsonl for grpo, pairs.jsonl for mpo (formats: benchmarks/models.py). TRL trains in fp32 on exactly those
completions, whose rewards are in the file, and DIR receives:

    result.json            {"kind", "family", "mu", "beta", "optimizer", "learning_rate", "max_grad_norm", "versions",
                            "steps":        optimizer steps done
                            "losses":       [steps]; of a step's micro-batches the sum
                            "grad_norms":   [steps], before clipping
                            "advantages":   grpo: [rounds][rows of a round]
                            "prompt_ids":   grpo: [rounds][prompts of a round][P], unpadded; mpo: [pairs][P]
                            "image_tokens": of each prompt, flat}
    logprobs.safetensors   fp32, zero outside a completion. grpo: "policy.N" of optimizer step N, and of round 0 "old.0"
                           (mu > 1) and "ref.0" (beta > 0), each [rows of a round, longest completion of the round];
                           rows in the order of completions.jsonl, whatever order TRL shuffled them into.
                           mpo: "chosen.N", "rejected.N", "ref_chosen.N", "ref_rejected.N", each [pairs, longest].
    gradient.safetensors   full gradient of optimizer step 0 before clipping, by parameter name; parameters without a
                           gradient are absent
    parameters.safetensors after the last step, by parameter name; tied weights once
    pixels.safetensors     "pixel_values" as the trainer got them in round 0, in the order of its (shuffled) rows

Definitions a match depends on. grpo: advantage = (r - mean) / (std + 1e-4) with the unbiased std of the group; loss
"dapo": the sum over all completion tokens of the round divided by their number; clip range 0.2; KL by the k3 estimator
against the initial model, without the ratio that TRL 1.16 multiplies it by unless told otherwise. mpo: 0.8 * sigmoid +
0.2 * bco_pair + 1.0 * sft, where bco_pair has no shift delta and both its terms are added (not halved), and sft is the
mean over all chosen tokens of the step; beta 0.1. Both: gradients clipped at 1.0, weight decay 0, constant learning
rate, no dropout.

Families other than LLaVA need `--vision FOLDER` (benchmarks/setup_peer.sh --vision): a torchvision whose compiled
operators are only declared, so that transformers can build their processors. The pictures are still preprocessed by
the classes without torchvision, as on the product's side.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.configs import LEARNING_RATE, MAX_GRAD_NORM, MPO_LOSSES, MPO_WEIGHTS
from benchmarks.peer import common_arguments, compact_head, pair_rows, problem_rows, read_lines

_LEARNING_RATES = {"adamw": LEARNING_RATE, "sgd": 1e-2}
_OPTIMIZERS = {"adamw": "adamw_torch_fused", "sgd": "sgd"}
_declared: list[Any] = []


class Record:
    """What a run leaves behind; lists grow by one entry per optimizer step or per round."""

    def __init__(self) -> None:
        self.micro_losses: list[float] = []
        self.grad_norms: list[float] = []
        self.advantages: list[list[float]] = []
        self.prompt_ids: list[Any] = []
        self.logprobs: dict[str, Any] = {}
        self.gradient: dict[str, Any] = {}
        self.pixels: Any = None

    @property
    def step(self) -> int:
        """The optimizer step that is being prepared."""
        return len(self.grad_norms)


def declare_torchvision(folder: Path) -> None:
    """Put a torchvision on the path whose compiled operators do not load, with the two it needs declared."""
    import torch
    from torch.library import Library

    if torch.version.cuda is None:
        operators = Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(operators)  # the declarations live as long as this object
    sys.path.append(str(folder))


def processor_of(model: Path) -> Any:
    """The model's processor, with the image processor that does without torchvision."""
    from transformers import AutoImageProcessor, AutoProcessor

    processor = AutoProcessor.from_pretrained(model)
    processor.image_processor = AutoImageProcessor.from_pretrained(model, backend="pil")
    return processor


def watch(trainer: Any, record: Record) -> None:
    """Keep losses, gradient norms and the first gradient."""
    step, clip, model = trainer.training_step, trainer.accelerator.clip_grad_norm_, trainer.model

    def kept_loss(*args: Any, **kwargs: Any) -> Any:
        loss = step(*args, **kwargs)
        record.micro_losses.append(float(loss))
        return loss

    def kept_gradient(*args: Any, **kwargs: Any) -> Any:
        if record.step == 0:
            grads = ((name, parameter.grad) for name, parameter in model.named_parameters())
            record.gradient = {name: grad.detach().clone() for name, grad in grads if grad is not None}
        norm = clip(*args, **kwargs)
        record.grad_norms.append(float(norm))
        return norm

    trainer.training_step, trainer.accelerator.clip_grad_norm_ = kept_loss, kept_gradient


class FixedRollouts:
    """TRL's `rollout_func` and reward in one: hands out the file's completions, one round a call."""

    def __init__(self, lines: list[dict[str, Any]], record: Record) -> None:
        numbers = sorted({line["round"] for line in lines})
        self.rounds = [[line for line in lines if line["round"] == number] for number in numbers]
        self._record = record
        self._next = 0

    @property
    def ids(self) -> list[str]:
        """The problem of each line, in the order of training."""
        return [line["id"] for lines in self.rounds for line in lines]

    def generate(self, prompts: list[Any], trainer: Any) -> dict[str, Any]:
        """Completions for the rows of a round: each prompt comes once per completion."""
        lines = self.rounds[self._next]
        self._next += 1
        prompt_ids = [[int(token) for token in row] for row in trainer._tokenize_prompts(prompts)[0]]
        size = len(lines[0]["completion_ids"])
        self._record.prompt_ids.append(prompt_ids[::size])
        completions = [row for line in lines for row in line["completion_ids"]]
        if len(completions) != len(prompts):
            raise ValueError(f"{len(completions)} completions for {len(prompts)} rows")
        return {"prompt_ids": prompt_ids, "completion_ids": completions, "logprobs": None}

    def reward(self, *, completion_ids: list[list[int]], **_: Any) -> list[float]:
        """The rewards in the file for the round that `generate` handed out last."""
        lines = self.rounds[self._next - 1]
        if completion_ids != [row for line in lines for row in line["completion_ids"]]:
            raise ValueError("the completions are not those of the file")
        return [value for line in lines for value in line["rewards"]]

    def row_of(self, number: int, prompt: list[int], completion: list[int]) -> int:
        """Place of a row in its round, as the file orders it."""
        lines, prompts = self.rounds[number], self._record.prompt_ids[number]
        size = len(lines[0]["completion_ids"])
        for place, line in enumerate(lines):
            if prompts[place] == prompt and completion in line["completion_ids"]:
                return place * size + int(line["completion_ids"].index(completion))
        raise ValueError("a row that no line of the file has")


def watch_grpo(trainer: Any, record: Record, rollouts: FixedRollouts, mu: int) -> None:
    """Keep per-token log-probs in the order of the file, advantages, and the first round's pixels."""
    import torch

    logps, score = trainer._get_per_token_logps_and_entropies, trainer._generate_and_score_completions

    def kept_logps(network: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, *a: Any, **k: Any) -> Any:
        output = logps(network, input_ids, attention_mask, logits_to_keep, *a, **k)
        number = record.step // mu
        if torch.is_grad_enabled():
            name = f"policy.{record.step}"
        else:
            name = f"ref.{number}" if network is trainer.ref_model else f"old.{number}"
        if torch.is_grad_enabled() or number == 0:
            count = sum(len(line["completion_ids"]) for line in rollouts.rounds[number])
            width = max(len(row) for line in rollouts.rounds[number] for row in line["completion_ids"])
            table = record.logprobs.setdefault(name, torch.zeros(count, width))
            for ids, mask, values in zip(input_ids, attention_mask.bool(), output[0], strict=True):
                prompt = ids[:-logits_to_keep][mask[:-logits_to_keep]].tolist()
                completion = ids[-logits_to_keep:][mask[-logits_to_keep:]].tolist()
                row = rollouts.row_of(number, prompt, completion)
                table[row, : len(completion)] = values[: len(completion)].detach()
        return output

    def kept_scores(inputs: Any) -> Any:
        output = score(inputs)
        record.advantages.append(output["advantages"].tolist())
        if record.pixels is None:
            record.pixels = output["pixel_values"].detach().clone()
        return output

    trainer._get_per_token_logps_and_entropies, trainer._generate_and_score_completions = kept_logps, kept_scores


def watch_mpo(trainer: Any, record: Record) -> None:
    """Keep per-token log-probs of both responses, policy and reference, and the first step's pixels and prompts."""
    for prefix, network in (("", trainer.model), ("ref_", trainer.ref_model)):
        network.forward = _keeping_pairs(network.forward, record, prefix)


def _keeping_pairs(forward: Callable[..., Any], record: Record, prefix: str) -> Callable[..., Any]:
    import torch

    def kept(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        labels = kwargs["labels"]
        rows = [values[label != -100].detach() for values, label in zip(output.log_probs, labels[:, 1:], strict=True)]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        for side, table in zip(("chosen", "rejected"), padded.chunk(2), strict=True):
            record.logprobs[f"{prefix}{side}.{record.step}"] = table.contiguous().clone()
        if record.pixels is None:
            record.pixels = kwargs["pixel_values"].detach().clone()
            half = len(labels) // 2
            seen = zip(kwargs["input_ids"][:half], labels[:half], kwargs["attention_mask"][:half], strict=True)
            record.prompt_ids = [ids[(label == -100) & mask.bool()].tolist() for ids, label, mask in seen]
        return output

    return kept


def run_grpo(model: Path, data: Path, arguments: Any, output: str, record: Record) -> Any:
    """Train TRL's GRPOTrainer on the file's completions; the trainer afterwards."""
    from trl import GRPOConfig, GRPOTrainer

    rollouts = FixedRollouts(read_lines(data / arguments.completions), record)
    prompts, size = len(rollouts.rounds[0]), len(rollouts.rounds[0][0]["completion_ids"])
    settings = GRPOConfig(
        **_settings(arguments, output),
        max_steps=len(rollouts.rounds) * arguments.mu,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=prompts,
        num_generations=size,
        num_iterations=arguments.mu,
        max_completion_length=max(len(row) for line in rollouts.rounds[0] for row in line["completion_ids"]),
        temperature=1.0,
        beta=arguments.beta,
        loss_type="dapo",
        use_bias_correction_kl=False,
        shuffle_dataset=False,
    )
    trainer = GRPOTrainer(
        model=str(model),
        reward_funcs=rollouts.reward,
        args=settings,
        train_dataset=problem_rows(data, rollouts.ids),
        processing_class=processor_of(model),
        rollout_func=rollouts.generate,
    )
    watch(trainer, record)
    watch_grpo(trainer, record, rollouts, arguments.mu)
    trainer.train()
    return trainer


def run_mpo(model: Path, data: Path, arguments: Any, output: str, record: Record) -> Any:
    """Train TRL's DPOTrainer on the file's pairs, all of them (at most `--pairs`) in every step."""
    from trl import DPOConfig, DPOTrainer

    pairs = pair_rows(data)
    pairs = pairs.select(range(min(len(pairs), arguments.pairs)))
    settings = DPOConfig(
        **_settings(arguments, output),
        max_steps=arguments.steps,
        per_device_train_batch_size=len(pairs),
        beta=arguments.beta,
        loss_type=list(MPO_LOSSES),
        loss_weights=list(MPO_WEIGHTS),
        max_length=None,
        train_sampling_strategy="sequential",
    )
    trainer = DPOTrainer(model=str(model), args=settings, train_dataset=pairs, processing_class=processor_of(model))
    watch(trainer, record)
    watch_mpo(trainer, record)
    trainer.train()
    return trainer


def _settings(arguments: Any, output: str) -> dict[str, Any]:
    return common_arguments(output) | {
        "optim": _OPTIMIZERS[arguments.optimizer],
        "learning_rate": arguments.learning_rate,
    }


def dump(trainer: Any, record: Record, arguments: Any, out: Path) -> None:
    """Write everything that the module's docstring promises."""
    import torch
    import transformers
    import trl
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    steps = len(record.grad_norms)
    parts = len(record.micro_losses) // steps
    prompts = [row for group in record.prompt_ids for row in group] if arguments.kind == "grpo" else record.prompt_ids
    image_token = trainer.model.config.image_token_id
    result = {
        "kind": arguments.kind,
        "family": trainer.model.config.model_type,
        "mu": arguments.mu,
        "beta": arguments.beta,
        "optimizer": arguments.optimizer,
        "learning_rate": arguments.learning_rate,
        "max_grad_norm": MAX_GRAD_NORM,
        "versions": {
            "trl": trl.__version__,
            "transformers": transformers.__version__,
            "torch": torch.__version__,
        },
        "steps": steps,
        "losses": [sum(record.micro_losses[step * parts : (step + 1) * parts]) for step in range(steps)],
        "grad_norms": record.grad_norms,
        "advantages": record.advantages,
        "prompt_ids": record.prompt_ids,
        "image_tokens": [row.count(image_token) for row in prompts],
    }
    (out / "result.json").write_text(json.dumps(result) + "\n")
    parameters = {name: parameter.detach() for name, parameter in trainer.model.named_parameters()}
    for name, tensors in (
        ("logprobs", record.logprobs),
        ("gradient", record.gradient),
        ("parameters", parameters),
        ("pixels", {"pixel_values": record.pixels}),
    ):
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, out / f"{name}.safetensors")


def _parse() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("grpo", "mpo"))
    parser.add_argument("--models", type=Path, default=Path(".bench/models"))
    parser.add_argument("--name", default="tiny-llava", help="folder of the model below MODELS, and of its data")
    parser.add_argument("--model", type=Path, help="default: MODELS/NAME")
    parser.add_argument("--data", type=Path, help="default: MODELS/data/NAME")
    parser.add_argument("--completions", default="completions.jsonl", help="grpo: file in DATA")
    parser.add_argument("--mu", type=int, choices=(1, 2), default=1)
    parser.add_argument("--beta", type=float, help="default: 0.04 for grpo, 0.1 for mpo")
    parser.add_argument("--optimizer", choices=_OPTIMIZERS, default="adamw")
    parser.add_argument("--learning-rate", type=float, help="default: 1e-4 for adamw, 1e-2 for sgd")
    parser.add_argument("--steps", type=int, default=4, help="mpo: optimizer steps")
    parser.add_argument("--pairs", type=int, default=4, help="mpo: pairs of a step")
    parser.add_argument("--flavour", choices=("plus", "stock"), default="plus")
    parser.add_argument("--vision", type=Path, help="folder with torchvision, for families other than LLaVA")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.beta is None:
        arguments.beta = 0.04 if arguments.kind == "grpo" else 0.1
    if arguments.learning_rate is None:
        arguments.learning_rate = _LEARNING_RATES[arguments.optimizer]
    return arguments


def main() -> None:
    """Command line."""
    arguments = _parse()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    if arguments.vision:
        declare_torchvision(arguments.vision.resolve())
    if arguments.flavour == "plus":
        compact_head()
    model = (arguments.model or arguments.models / arguments.name).resolve()
    data = (arguments.data or arguments.models / "data" / arguments.name).resolve()
    record = Record()
    with tempfile.TemporaryDirectory() as output:
        run = run_grpo if arguments.kind == "grpo" else run_mpo
        trainer = run(model, data, arguments, output, record)
    dump(trainer, record, arguments, arguments.out)


if __name__ == "__main__":
    main()
