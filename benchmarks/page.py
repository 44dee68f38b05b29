"""The results file and its page, docs/results/speed.md: every table, worst configuration first. Standard library only.

    python -m benchmarks.page [--results benchmarks/results.json] [--page docs/results/speed.md]

The page is made anew from the results; only what stands between the two lines `BY_HAND` is kept as it is.
"""

import argparse
import json
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.configs import CONFIGS, PHASES
from benchmarks.equality import equality_table
from benchmarks.figures import by_worst, ranged, table
from benchmarks.scaling import scaling_table
from benchmarks.work_model import limit

Figures = Mapping[str, Any]
AIMS = {"G1": 3.0, "G2": 6.0, "G3": 3.3, "G4": 1.5, "G5": 2.0, "G6": 2.5, "G7": 4.0, "M1": 2.3, "M2": 2.5}
AIMS |= {"D1": 4.0, "D2": 3.0}
"""CPU ratios that were set before anything was measured; D2 came later, with the aim of G1, whose work it is."""
BY_HAND = ("<!-- by hand: begin -->", "<!-- by hand: end -->")
_GB = 1e9


def publish(results: Path, page: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change the results file and write the page anew."""
    found = change(json.loads(results.read_text()) if results.exists() else {})
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(found, indent=1) + "\n")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(rendered(found, by_hand(page.read_text() if page.exists() else "")))


def by_hand(text: str) -> str:
    """What stands between the two lines, without them.

    Example: `by_hand("a\\n<!-- by hand: begin -->\\nkept\\n<!-- by hand: end -->\\n")` is `"kept"`.
    """
    _, _, after = text.partition(BY_HAND[0])
    return after.partition(BY_HAND[1])[0].strip("\n")


def shape(name: str) -> str:
    """A configuration in words, e.g. `P=256 C=64 mu=1 beta=0.04 1k`."""
    one = CONFIGS[name]
    loss = f"mu={one.mu} beta={one.beta:g}" if one.kind == "grpo" else f"{one.prompts} pairs"
    more = f" {one.prompts} prompts" if one.kind == "grpo" and one.prompts > 1 else ""
    pictures = " JPEG {}x{}".format(*one.jpeg_size) if one.jpeg_size else ""
    dead = f" {one.dead:.0%} dead" if one.dead else ""
    return f"P={one.prompt_tokens} C={one.completion_tokens} {loss} {one.vocab // 1024}k{more}{pictures}{dead}"


def ratio_table(configs: Mapping[str, Figures]) -> str:
    """TRL+ over vergence, worst first. A star marks configurations with contended pairs, whose wall ratio is unsafe."""
    head = ["", "configuration", "CPU ratio", "wall ratio", "memory ratio", "model's limit", "aim", "others", "pairs"]
    rows = []
    for name in by_worst(configs):
        one = configs[name]
        reached = "met" if one["cpu_ratio"]["median"] >= AIMS[name] else "missed"
        rows.append(
            [
                name,
                shape(name),
                ranged(one["cpu_ratio"]),
                ranged(one["wall_ratio"]) + ("*" if one["contended_pairs"] else ""),
                ranged(one["memory_ratio"]),
                f"{limit(CONFIGS[name]):.1f}",
                f"{AIMS[name]:g} {reached}",
                f"{max(pair['others'] for pair in one['pairs']):.2f}",
                f"{len(one['pairs'])} ({one['contended_pairs']} contended)",
            ]
        )
    return table(head, rows)


def raw_table(configs: Mapping[str, Figures]) -> str:
    """Seconds of a round, gigabytes and tokens per second of both sides."""
    head = ["", "TRL+ CPU-s", "ours CPU-s", "TRL+ wall-s", "ours wall-s", "TRL+ GB", "ours GB"]
    head += ["TRL+ generated, trained tok/s", "ours generated, trained tok/s"]
    rows = []
    for name in by_worst(configs):
        sides = configs[name]["peer"], configs[name]["vergence"]
        cells = [f"{side[key]['median']:.2f}" for key in ("cpu", "wall") for side in sides]
        cells += [f"{side['peak_bytes']['median'] / _GB:.2f}" for side in sides]
        speeds = ("generated_tokens_per_second", "trained_tokens_per_second")
        cells += [", ".join(f"{side[key]:.0f}" for key in speeds) for side in sides]
        rows.append([name, *cells])
    return table(head, rows)


def phase_table(configs: Mapping[str, Figures]) -> str:
    """CPU seconds of a round by phase: TRL+ / vergence."""
    rows = []
    for name in by_worst(configs):
        peer, ours = (configs[name][side]["phases_cpu"] for side in ("peer", "vergence"))
        rows.append([name, *(f"{peer[phase]:.2f} / {ours[phase]:.2f}" for phase in PHASES)])
    return table(["", *PHASES], rows)


def count_table(configs: Mapping[str, Figures]) -> str:
    """Pictures of a round: through the tower, of those with gradient, through the processor, decoded from a file."""
    names = ("tower_images", "tower_images_grad", "preprocessed", "decoded")
    rows = []
    for name in by_worst(configs):
        sides = configs[name]["peer"], configs[name]["vergence"]
        cells = [" / ".join(f"{side[key]:g}" for side in sides) for key in names]
        rows.append([name, str(CONFIGS[name].prompts), *cells])
    return table(["", "images", "tower passes", "with gradient", "preprocessed", "decoded"], rows)


def paid_table(configs: Mapping[str, Figures]) -> str:
    """MPO in both readings: reference log-probs kept, and paid in every step."""
    rows = [
        [
            name,
            ranged(one["cpu_ratio"]),
            ranged(one["cpu_ratio_paid"]),
            ranged(one["wall_ratio"]),
            ranged(one["wall_ratio_paid"]),
            f"{one['vergence']['reference_once_cpu']['median']:.2f}",
        ]
        for name, one in ((name, configs[name]) for name in by_worst(configs))
    ]
    return table(["", "CPU: kept", "CPU: paid", "wall: kept", "wall: paid", "CPU-s of the pass"], rows)


def stock_table(configs: Mapping[str, Figures]) -> str:
    """Unpatched TRL: never the headline."""
    head = ["", "TRL CPU-s", "TRL+ CPU-s", "ours CPU-s", "TRL over ours", "TRL+ over ours"]
    rows = []
    for name in by_worst(configs):
        one = configs[name]
        seconds = [f"{one[side]['cpu']['median']:.2f}" for side in ("stock", "peer", "vergence")]
        rows.append([name, *seconds, ranged(one["stock_cpu_ratio"]), ranged(one["cpu_ratio"])])
    return table(head, rows)


def rendered(found: Figures, kept: str = "") -> str:
    """The whole page."""
    configs: dict[str, Figures] = found.get("configs", {})
    whole = {name: one for name, one in configs.items() if not CONFIGS[name].dead}
    dead = {name: one for name, one in configs.items() if CONFIGS[name].dead}
    preference = {name: one for name, one in whole.items() if CONFIGS[name].kind == "mpo"}
    stock = {name: one for name, one in configs.items() if "stock" in one}
    parts = [_INTRODUCTION, _about(found)]
    if whole:
        parts += [_headline(whole), "## Ratios, TRL+ over vergence\n", _RATIOS, ratio_table(whole)]
        parts += ["\n## Seconds, memory, tokens\n", "Medians, per round.\n", raw_table(whole)]
    if preference:
        parts += ["\n## MPO in both readings\n", _PAID, paid_table(preference)]
    if dead:
        parts += ["\n## Half of the groups without a signal\n", _DEAD, ratio_table(dead), "", raw_table(dead)]
    if configs:
        parts += ["\n## Where the seconds go\n", _PHASES, phase_table(configs)]
        parts += ["\n## Tower passes and preprocessing\n", _COUNTS, count_table(configs)]
    if stock:
        parts += ["\n## Unpatched TRL\n", _STOCK, stock_table(stock)]
    parts += ["\n## Where we do not win\n", _losses(whole), "\n## What may be claimed\n", _CLAIMS]
    if "equality" in found:
        parts += ["\n## Lane N: the numbers are the same\n", _EQUALITY, equality_table(found["equality"]["cases"])]
    if "scaling" in found:
        parts += ["\n## Scaling\n", _SCALING, scaling_table(found["scaling"])]
    parts += [f"\n{BY_HAND[0]}\n\n{kept}\n\n{BY_HAND[1]}\n" if kept else f"\n{BY_HAND[0]}\n{BY_HAND[1]}\n", _REPEAT]
    return "\n".join(parts)


def _about(found: Figures) -> str:
    if "machine" not in found:
        return "Nothing has been timed yet.\n"
    peer, ours = found["versions"]["peer"], found["versions"]["vergence"]
    load = found["foreign_load"]
    text = (
        f"Measured {_machines(found)}, no GPU. TRL {peer['trl']}, transformers {peer['transformers']}, torch "
        f"{peer['torch']} against vergence {ours['vergence']} at commit {found['commit']}, transformers "
        f"{ours['transformers']}, torch {ours['torch']}; fp32, 2 threads. Foreign processes used "
        f"{load['median']:.2f} cores in the median pair, {load['max']:.2f} in the worst."
    )
    return textwrap.fill(text, 120) + "\n"


def _machines(found: Figures) -> str:
    """When and on what; with the configurations by name where they were measured on several machines."""
    places: dict[str, dict[str, Figures]] = {}
    for name, one in found["configs"].items():
        machine = one.get("machine", found["machine"])
        place = f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gb']:g} GB"
        places.setdefault(place, {})[name] = one
    names = {place: f" ({', '.join(sorted(configs))})" if len(places) > 1 else "" for place, configs in places.items()}
    return "; ".join(f"{_days(configs)} on {place}{names[place]}" for place, configs in places.items())


def _days(configs: Mapping[str, Figures]) -> str:
    days = sorted({one["date"] for one in configs.values()})
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _headline(configs: Mapping[str, Figures]) -> str:
    lines = []
    if "G1" in configs:
        cpu, memory = (ranged(configs["G1"][name]) for name in ("cpu_ratio", "memory_ratio"))
        lines.append(
            f"**G1, a typical visual question: TRL+ needs {cpu} times our CPU seconds and {memory} our memory.**"
        )
    worst = by_worst(configs)[0]
    lines.append(f"**The worst, {worst} ({shape(worst)}): {ranged(configs[worst]['cpu_ratio'])}.**")
    return "\n".join(lines) + "\nMedians of the pairs, with the range.\n"


def _losses(configs: Mapping[str, Figures]) -> str:
    lines = [
        f"- {name} ({shape(name)}): {ranged(configs[name]['cpu_ratio'])}, aimed at {AIMS[name]:g}."
        for name in by_worst(configs)
        if configs[name]["cpu_ratio"]["median"] < AIMS[name]
    ]
    lines += [
        f"- {name}: memory {ranged(one['memory_ratio'])}, not less than the peer's."
        for name, one in configs.items()
        if one["memory_ratio"]["median"] <= 1.0
    ]
    return "\n".join([*lines, _LIMITS])


_INTRODUCTION = """\
# Speed against TRL

This page is written by `make bench` (or `python -m benchmarks.page`) from `benchmarks/results.json`. The peer is
**TRL+**: TRL with its head restricted to completion positions, sdpa attention, no gradient checkpointing, a whole
group in one micro-batch, fused AdamW, the fastest setting that was found for it on a CPU. How it is measured:
`benchmarks/README.md`.
"""
_RATIOS = """\
Median over the pairs, with the range. CPU seconds are of the whole process, all threads. A star: at least one pair had
more than 0.2 cores of foreign load, so the CPU ratio counts and the wall ratio does not. "Model's limit" is the work
model's ratio (`benchmarks/work_model.py`): the ratio of operations when nothing shared is done twice, which is that of
seconds if both sides do operations equally fast. A slimmer decoding loop can exceed it, overheads fall short of it.
"""
_PAID = """\
Vergence computes a pair's reference log-probs once and keeps them: the pass is outside the step ("kept"). TRL cannot do
that with images and pays in every step. Whoever sees each pair only once pays the pass once per step here as well
("paid").
"""
_DEAD = """\
**D1, without a KL term, is different work, on purpose:** groups whose rewards are all equal add nothing to the
gradient, and are left out of the update here. TRL computes them. The divisor of the loss counts their tokens on both
sides, so both make the same update. **D2, with a KL term, is the same work:** every completion is in that term, and
computed, on both sides. Lane N has such batches.
"""
_PHASES = """\
CPU seconds of a round, TRL+ / vergence. "generate" includes the prefill, "optimizer" the clipping, "rest" data loading
and preprocessing. Old log-probs are those of sampling here, so there is no pass for them.
"""
_COUNTS = """\
Per round, TRL+ / vergence. The least for one image of a GRPO round is 1 + r + mu passes (r = 1 with a KL term).
"""
_STOCK = """\
As installed, TRL scores prompt positions too on a CPU. These ratios look better and say less: never quote them alone.
"""
_EQUALITY = """\
Both sides train on the same fixed completions; small random models of three families, ragged prompts and completions.
"some dead": rounds of four groups, of which two, all four and two are right or wrong throughout, so that nothing but
the KL term pulls in them; half of the completions of another group are at its mean.
Largest absolute difference of per-token log-probs (policy, old, reference, every step) and of losses; gradient of the
first step before clipping and parameters after the last step as the norm of the difference over the peer's norm. "of
the movement" is the difference of parameters over how far training moved them; it has no limit, and AdamW, which gives
full steps to weights whose gradient is rounding noise, makes it large. Limits: log-probs and losses 1e-4, gradient
1e-5, parameters 1e-4. The peer's KL term is told to be k3 alone (`use_bias_correction_kl=False`); token distributions
are over the whole vocabulary here, where the product leaves image placeholders out.
"""
_SCALING = """\
One quantity grows, the others stay at P = 256, C = 64, G = 8, one prompt (beta = 0, mu = 1). Slopes of log cost over
log size: 1 is proportional, 0 is free. "work model" is what prompts computed once should cost, the last column what a
copy of the prompt for every completion would.
"""
_LIMITS = """\
- Short prompts with long answers share little: completion tokens cost what they cost, head and sampling included.
- A text prompt of a few tokens has nothing to share, and MPO has two completions a prompt, not eight.
- On a GPU with a separate generation engine nothing here transfers to generation: prefix caching may already share the
  prompt there.
- bf16 was not compared; models above 29 M parameters were not timed here.
- Skipped dead groups and features cached for a frozen tower are different work, and in no ratio of the first table.
  With a KL penalty or an entropy bonus no dead group is skipped (D2)."""
_CLAIMS = """\
Sharing a prompt's computation in reinforcement learning is not new (Unsloth has it, NeMo-RL and AReaL have it in open
pull requests), so no novelty is claimed. Claimed are: the same numbers as TRL within rounding (lane N), each image
through the tower once a pass, and the ratios above against TRL+, the worst one printed beside the best. They hold for
small models in fp32 on a CPU.
"""
_REPEAT = """\
## How to repeat it

```sh
make bench          # the peer's environment, models, lane N, every configuration, scaling
make bench-smoke    # lane N for LLaVA, and G1 with two pairs, into .bench/smoke
```
"""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/results/speed.md"))
    arguments = parser.parse_args()
    publish(arguments.results, arguments.page, lambda old: old)


if __name__ == "__main__":
    main()
