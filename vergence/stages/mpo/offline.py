"""Pairs from a file, in place of sampling: one round, whose reference is the policy that the stage begins with."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np

from vergence.data.preferences import pairs_source, preference_at
from vergence.data.source import Source
from vergence.model.policy import Policy, encode
from vergence.pairs.files import tokens_of
from vergence.pairs.harvest import KEPT, PairHarvest
from vergence.run.stage_run import StageRun
from vergence.scoring.wording import as_completion
from vergence.seeds import generator
from vergence.stages.mpo.reference import Logprobs, with_reference
from vergence.stages.mpo.rounds import Round
from vergence.types import Completion, Finish, PreferencePair, Prompt


@final
class FileRounds:
    """The pairs of a file, with log-probs of the policy as the stage finds it."""

    def __init__(self, run: StageRun, source: Source, policy: Policy, logprobs: Logprobs, wanted: int) -> None:
        """Of a larger file, `wanted` pairs are drawn, which is what the stage has use for."""
        self._run = run
        self._source = source
        self._policy = policy
        self._logprobs = logprobs
        self._wanted = wanted

    def begin(self, round_: int, version: int) -> Round:
        """The pairs, in the order of the file."""
        pairs = file_pairs(self._source, self._policy, self._wanted, self._run.seed("file"))
        with self._run.clock.phase("reference"):
            referenced = with_reference(pairs, {}, self._logprobs)
        fates = Counter((pair.source, KEPT) for pair in pairs)
        harvest = PairHarvest(tuple(pairs), fates, -np.inf)
        return Round((), (), referenced.computed, harvest, referenced.pairs)


def file_pairs(named: Path | Source, policy: Policy, wanted: int, seed: int) -> list[PreferencePair]:
    """At most `wanted` pairs of a file as the policy reads them, rows of one problem sharing its prompt.

    Of a larger file a sample is read, which depends on the seed. Raises DataError for the
    first row that is wrong.
    """
    source = pairs_source(named)
    rows = source.rows()
    drawn = sorted(generator(seed).permutation(len(rows))[:wanted].tolist())
    prompts: dict[str, Prompt] = {}
    pairs = []
    for index in drawn:
        row = preference_at(source, rows, index, source.store.keep)
        tokens = tokens_of(rows[index], rows.where(index))
        if row.problem.id not in prompts:
            prompts[row.problem.id] = encode(policy, row.problem)
        prompt = prompts[row.problem.id]
        chosen = response(policy, row.chosen, tokens.chosen)
        rejected = response(policy, row.rejected, tokens.rejected)
        pairs.append(PreferencePair(prompt, chosen, rejected, tokens.margin, row.source))
    return pairs


def response(policy: Policy, text: str, tokens: Sequence[int]) -> Completion:
    """A text with the tokens that a row names, if this policy's tokenizer reads them as that text; else cut anew."""
    fits = bool(tokens) and max(tokens) < len(policy.tokenizer)
    if not fits or policy.tokenizer.decode(tokens, skip_special_tokens=True) != text:
        return as_completion(policy, text)
    ids = np.asarray(tokens, dtype=np.int64)
    finish = Finish.STOP if tokens[-1] in policy.end_token_ids else Finish.LENGTH
    return Completion(ids, np.zeros(len(ids), dtype=np.float32), finish, 0, text)
