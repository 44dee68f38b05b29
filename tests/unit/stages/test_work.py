"""The least a step has to compute, by hand; and what the meters say it did."""

from dataclasses import replace

import numpy as np
import torch

from vergence.model.meter import Meter
from vergence.model.vision import VisionWork
from vergence.stages.work import needed_by_pairs, needed_tokens, peak_memory, work_done
from vergence.types import Draw, Origin, PreferencePair, Prompt, RolloutGroup, Sample, TrainingSample

from ..builders import completion, problem


class Busy:
    """A tower of which only its work is asked."""

    work = VisionWork(0, 0)

    def embeddings(self, images: object) -> torch.Tensor:
        raise NotImplementedError


def prompt(name: str, length: int) -> Prompt:
    return Prompt(problem(name), np.arange(length), np.arange(length)[None])


def training(of: Prompt, tokens: int, origin: Origin = Origin.FRESH, *, recomputed: bool = False) -> TrainingSample:
    """Its denominators are those of sampling, or other ones."""
    one = completion("x", logprobs=[-1.0] * tokens)
    old = one.sampler_logprobs.copy() if recomputed else one.sampler_logprobs
    return TrainingSample(Draw(Sample(of, one, 1.0, 1.0), origin, 0), old, np.ones_like(old))


def test_needed_tokens_by_hand() -> None:
    """Two groups were sampled, one of which teaches; a replayed sample of a third prompt joins it.

    generate   10 + (3 + 4)          and   20 + (1 + 1)           39
    an epoch   10 + (3 + 4) + 5 + 2  over prompts of 10 and 5     24
    reference  10 + (3 + 4)          the fresh ones               17
    old        5 + 2                 the recomputed one            7
    """
    asked, dead, earlier = prompt("a", 10), prompt("b", 20), prompt("c", 5)
    long, longer, short = (completion("x", logprobs=[-1.0] * count) for count in (4, 5, 2))
    groups = [RolloutGroup(asked, (long, longer)), RolloutGroup(dead, (short, short))]
    fresh = [training(asked, 4), training(asked, 5)]
    samples = [*fresh, training(earlier, 3, Origin.REPLAY)]
    assert needed_tokens(groups, samples, epochs=1, reference=False) == 39 + 24
    samples = [*fresh, training(earlier, 3, Origin.REPLAY, recomputed=True)]
    assert needed_tokens(groups, samples, epochs=2, reference=True) == 39 + 2 * 24 + 17 + 7


def test_pairs_of_one_prompt_need_it_once() -> None:
    """10 + (2 + 3) + (2 + 0) with the prompt of both pairs once, and 10 + 2 for sampling one completion of 3 tokens."""
    asked = prompt("a", 10)
    three, four, one = (completion("x", logprobs=[-1.0] * count) for count in (3, 4, 1))
    pairs = [PreferencePair(asked, three, four, 1.0, ""), PreferencePair(replace(asked), three, one, 1.0, "")]
    assert needed_by_pairs([], pairs) == 17
    assert needed_by_pairs([RolloutGroup(asked, (three,))], pairs) == 17 + 12


def test_work_is_what_was_done_since_the_last_call() -> None:
    meter, other = Meter(), Meter()
    tower = Busy()
    done = work_done([meter, other], [tower])
    meter.add(prompt_tokens=30, completion_tokens=10)
    other.add(prompt_tokens=10)
    with meter.paused():
        meter.add(prompt_tokens=1000)
    tower.work = VisionWork(4, 6)
    assert done(25) == {
        "work/prompt_tokens": 40.0,
        "work/completion_tokens": 10.0,
        "work/needed_share": 0.5,
        "work/pictures_encoded": 6.0,
        "work/pictures_preprocessed": 4.0,
    }
    assert set(done(0).values()) == {0.0, 1.0}, "nothing was done, and all of that was needed"


def test_peak_memory_is_that_of_a_process_with_torch_in_it() -> None:
    assert 50 < peak_memory()["memory/peak_mb"] < 1_000_000
