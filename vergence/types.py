"""The nouns of the flow: one frozen type per stage of it.

    Problem -> Prompt -> RolloutGroup -> ScoredGroup -> JudgedGroup -> Sample -> Draw -> TrainingSample
                                              └-> PreferencePair -> TrainingPair

The unit of work is the prompt group: a `Prompt` (its token ids and its images, by reference) exists once, and
however many completions belong to it point at that one object. Nothing downstream repeats a prompt G times.

Letters used for shapes everywhere:
P prompts · G completions per prompt · B sequences · T completion tokens · S prompt tokens · V vocabulary ·
N images · F image tokens of all images together · A axes of a position · D width of a feature · W width of an
embedding.

One alignment everywhere: `logprobs[t]` belongs to `token_ids[t]` and is log p(token t | all tokens before t).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Metrics = dict[str, float]
"""Metric name to value, e.g. `{"reward/accuracy": 0.61}`. Every name is explained in docs/metrics.md."""


class Finish(StrEnum):
    """Why a completion ended. An enum, because "ok" is never a boolean."""

    STOP = "stop"
    """The model produced its end token."""
    LENGTH = "length"
    """The token limit cut it off."""


class Origin(StrEnum):
    """Where a sample of an update comes from."""

    FRESH = "fresh"
    REPLAY = "replay"


class AnswerType(StrEnum):
    """How an answer is compared with the right one: which grader judges it."""

    EXACT = "exact"
    """The same string."""
    MATH = "math"
    """The same mathematical object."""
    CHOICE = "choice"
    """The same of several options."""
    NUMERIC = "numeric"
    """The same number, within a tolerance."""
    YESNO = "yesno"
    """The same of yes and no."""
    CODE = "code"
    """A program that passes tests."""


class Verdict(StrEnum):
    """What a grader says of a response. An enum, because "the grader failed" is neither right nor wrong."""

    CORRECT = "correct"
    WRONG = "wrong"
    FAILED = "failed"
    """The grader could not judge: the response is counted as such, and in no mean."""


@dataclass(frozen=True, slots=True)
class Grade:
    """A verdict and what it rests on."""

    verdict: Verdict
    extracted: str | None
    """The answer that was read from the response; None where there is none."""
    reason: str
    """Why, in a few words."""


@dataclass(frozen=True, slots=True)
class Grading:
    """How a problem's answer is graded."""

    type: AnswerType = AnswerType.EXACT
    options: tuple[str, ...] = ()
    """The texts of a choice, in the order of its letters A, B, ..."""
    tolerance: float = 0.0
    """Of a number: the largest absolute difference that counts as equal."""
    tests: str = ""
    """Of code: its tests as JSON (docs/graders.md)."""


EXACTLY = Grading()
"""The same string, blanks at both ends aside."""

IMAGE_MARK = "<image>"
"""Where a picture stands in a question; a question without it has its pictures in front."""


@dataclass(frozen=True, slots=True)
class ImageRef:
    """A picture by reference; its pixels are read when features are computed, and never travel."""

    path: str
    """Absolute path of the file."""
    sha256: str
    """Of the file's bytes: the picture's identity."""
    alone: bool = True
    """Whether its prompt has no other picture. `collate_prompts` says so; a reference by itself is taken as alone."""

    @property
    def key(self) -> str:
        """Its identity in every cache of pixels and features: some models look more closely at a picture alone."""
        return self.sha256 if self.alone else f"{self.sha256}-among-others"


@dataclass(frozen=True, slots=True)
class Problem:
    """One question with its pictures and its answer.

    Example: `Problem("test-7", "sum?", (image,), "15", "sum", frozenset("5640"), r"\\d(?==)")`
    """

    id: str
    """Unique in its data set; part of the key of every random draw made for it."""
    question: str
    images: tuple[ImageRef, ...]
    answer: str
    category: str
    """What per-category tables group by."""
    objects: frozenset[str]
    """What is visible in the pictures, as far as is known; empty where nothing is known."""
    mentions: str
    """Regular expression that finds the objects a response claims to see (CHAIR's lexicon); "" finds none."""
    grading: Grading = EXACTLY


@dataclass(frozen=True, slots=True)
class Caption:
    """A problem together with the response to imitate: what alignment trains on."""

    problem: Problem
    target: str


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """A problem as the model reads it: the one copy that every completion of the group points at."""

    problem: Problem
    token_ids: Ints
    """[S] chat template applied, image placeholders expanded."""
    positions: Ints
    """[A, S] position ids, one row per axis: A = 1 is the place in the sequence; A = 3 (M-RoPE) time, height, width.

    Completions go on at `positions.max() + 1`, on every axis alike.
    """
    prefill: str = ""
    """The tags that the chat template itself writes at the beginning of every response, such as "<think>\\n"."""

    @property
    def key(self) -> tuple[str, bytes]:
        """Equal for prompts that are computed alike, whether they are one object or one of them was restored."""
        return self.problem.id, self.token_ids.tobytes()


@dataclass(frozen=True, slots=True, eq=False)
class Completion:
    """One sampled answer."""

    token_ids: Ints
    """[T] with the end token, if it came to that."""
    sampler_logprobs: Floats
    """[T] under the policy at the sampling temperature, before any truncation (top-k, top-p) or penalty."""
    finish: Finish
    policy_version: int
    """The number of the policy that sampled it: optimizer rounds since its stage began."""
    text: str
    """What was generated; without the tokens that stand for no text (`vergence/model/response.py`)."""


@dataclass(frozen=True, slots=True, eq=False)
class RolloutGroup:
    """One prompt and its G completions."""

    prompt: Prompt
    completions: tuple[Completion, ...]

    @property
    def responses(self) -> list[str]:
        """[G] what each completion says."""
        return [response(self.prompt, one) for one in self.completions]


def response(prompt: Prompt, completion: Completion) -> str:
    """What a completion says, the tags included that the chat template wrote for it: what forms and graders read."""
    return prompt.prefill + completion.text


def own_part(prompt: Prompt, text: str) -> str:
    """What is left of a whole response for a completion to write: without the tags that the chat template writes."""
    written = prompt.prefill
    return text.removeprefix(written) if text.startswith(written) else text.removeprefix(written.rstrip())


@dataclass(frozen=True, slots=True, eq=False)
class ScoredGroup:
    """A group after the reward."""

    group: RolloutGroup
    components: Mapping[str, Doubles]
    """Component name to [G] raw values, before weights, bounds and gates."""
    terms: Mapping[str, Doubles]
    """Component name to [G], what it adds to the reward: after bound, gate and weight. They sum to `rewards`."""
    rule_rewards: Doubles
    """[G] the part of the reward that rules decide: what "effective" is judged on."""
    rewards: Doubles
    """[G] the whole hybrid reward: what advantages are made of."""
    grades: tuple[Grade, ...] = ()
    """[G] what the grader says; empty where none was asked. Where it failed, values that rest on it are not numbers."""

    @property
    def failed(self) -> frozenset[int]:
        """Places of completions that could not be judged; they are in no mean and teach nothing."""
        return frozenset(place for place, one in enumerate(self.grades) if one.verdict is Verdict.FAILED)

    def graded(self) -> "ScoredGroup":
        """The group without the completions that could not be judged; itself where there are none of these."""
        failed = self.failed
        if not failed:
            return self
        kept = [place for place in range(len(self.grades)) if place not in failed]
        places = np.array(kept, dtype=np.int64)
        return ScoredGroup(
            RolloutGroup(self.group.prompt, tuple(self.group.completions[place] for place in kept)),
            {name: values[places] for name, values in self.components.items()},
            {name: values[places] for name, values in self.terms.items()},
            self.rule_rewards[places],
            self.rewards[places],
            tuple(self.grades[place] for place in kept),
        )


def graded(scored: Sequence[ScoredGroup]) -> list[ScoredGroup]:
    """Groups without the completions that could not be judged, and without the groups of which nothing is left."""
    return [one for one in (group.graded() for group in scored) if len(one.rewards)]


@dataclass(frozen=True, slots=True, eq=False)
class JudgedGroup:
    """A group after the advantage."""

    scored: ScoredGroup
    advantages: Doubles
    """[G] exactly 0.0 throughout where the group is not effective, and wherever a completion could not be judged."""
    effective: bool
    """Whether the rule rewards of the group's judged completions differ by more than the tolerance."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One completion with its advantage: what the buffer keeps where that is not zero."""

    prompt: Prompt
    completion: Completion
    advantage: float
    reward: float


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """A sample chosen for an update."""

    sample: Sample
    origin: Origin
    age: int
    """Policy versions between sampling and this update; 0 when fresh."""
    uses: int = 0
    """How often the sample has been replayed, this time included; 0 when fresh."""
    effective: bool = True
    """Whether rewards give the sample an advantage. A fresh completion without one is in an update only for what every
    fresh completion takes part in, the KL penalty and the entropy bonus, and fills no place of the batch."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSample:
    """A draw with the denominators that its loss needs."""

    draw: Draw
    old_logprobs: Floats
    """[T] log-probs under the policy that the clip is centred on."""
    weights: Floats
    """[T] off-policy correction; 1.0 when the sample is fresh."""
    truncated: int = 0
    """Tokens whose weight would have been larger than the correction's limit."""

    @property
    def recomputed(self) -> bool:
        """Whether a pass of its own gave the denominators; else they came with the completion."""
        return self.old_logprobs is not self.draw.sample.completion.sampler_logprobs


@dataclass(frozen=True, slots=True, eq=False)
class PreferencePair:
    """Two completions of one prompt, the first better than the second."""

    prompt: Prompt
    chosen: Completion
    rejected: Completion
    margin: float
    """How much better: reward-model score gap in calibrated units; infinite where only rules decided."""
    source: str
    """Which rule made the pair."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingPair:
    """A pair with the log-probs that its loss needs: log pi_0 of R1V2 Eq. 3 and 4, at temperature 1 whatever the
    temperature of sampling was.
    """

    pair: PreferencePair
    chosen_reference: Floats
    """[T_c] of the chosen response's tokens under the reference, which saw the picture."""
    rejected_reference: Floats
    """[T_r] of the rejected response's tokens under the same reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How completions are drawn."""

    num_completions: int
    """G."""
    max_new_tokens: int
    temperature: float
    """0.0 is greedy."""
    top_k: int = 0
    """Draw from the k most likely tokens only; 0 is off."""
    top_p: float = 1.0
    """Draw from the smallest set of most likely tokens with this probability; 1.0 is off."""
    repetition_penalty: float = 1.0
    """Divides the logits of tokens that occurred before (multiplies negative ones); 1.0 is off."""


@runtime_checkable
class Generator(Protocol):
    """What samples text; where it runs is its own business."""

    def generate(
        self, problems: Sequence[Problem], sampling: Sampling, *, seed: int, version: int
    ) -> list[RolloutGroup]:
        """P problems to P groups of G; a completion depends on (seed, problem id, its index) alone."""
        ...


@runtime_checkable
class Grader(Protocol):
    """What compares responses with the right answers."""

    def grade(self, responses: Sequence[tuple[Problem, str]]) -> list[Grade]:
        """One grade for each (problem, response), in order; whatever goes wrong with one of them is its verdict."""
        ...


@runtime_checkable
class Reward(Protocol):
    """What judges completions; it sees whole groups."""

    def __call__(self, groups: Sequence[RolloutGroup]) -> list[ScoredGroup]:
        """P groups to P scored groups, in order."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """A preference model: one number per completion, larger is better."""

    def scores(self, groups: Sequence[RolloutGroup]) -> list[Doubles]:
        """P groups to P arrays [G] of calibrated scores."""
        ...
