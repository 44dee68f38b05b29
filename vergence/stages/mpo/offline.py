"""Pairs from a file, in place of sampling: one round, whose reference is the policy that the stage begins with."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import final

import numpy as np

from vergence.data.preferences import pairs_source, preference_at
from vergence.data.source import Source
from vergence.model.ends import end_of_turn, ended_alike
from vergence.model.policy import Policy, encode
from vergence.model.response import ResponseText
from vergence.pairs.files import tokens_of
from vergence.pairs.harvest import KEPT, PairHarvest
from vergence.run.stage_run import StageRun
from vergence.scoring.wording import wording_of
from vergence.seeds import generator
from vergence.stages.mpo.reference import Logprobs, with_reference
from vergence.stages.mpo.rounds import Round
from vergence.types import Completion, Finish, PreferencePair, Prompt, own_part


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
    response = response_reader(policy)
    pairs = []
    for index in drawn:
        row = preference_at(source, rows, index, source.store.keep)
        tokens = tokens_of(rows[index], rows.where(index))
        if row.problem.id not in prompts:
            prompts[row.problem.id] = encode(policy, row.problem)
        prompt = prompts[row.problem.id]
        chosen = response(own_part(prompt, row.chosen), row.chosen_finish, tokens.chosen)
        rejected = response(own_part(prompt, row.rejected), row.rejected_finish, tokens.rejected)
        pairs.append(PreferencePair(prompt, chosen, rejected, tokens.margin, row.source))
    return pairs


def response_reader(policy: Policy) -> Callable[[str, Finish, Sequence[int]], Completion]:
    """(text, how it ended, the tokens that a row names or none) -> the response as the policy reads it.

    The tokens are taken if this policy's tokenizer reads them as that text, else the text is cut anew. Whatever ended
    by itself ends with the one token that closes a turn: of two responses that were sampled and cut differently, the
    policy shall not learn to prefer an end token.
    """
    wording, ends, end = wording_of(policy), policy.end_token_ids, end_of_turn(policy)
    text_of = ResponseText(policy)

    def read(text: str, finish: Finish, tokens: Sequence[int]) -> Completion:
        fits = bool(tokens) and max(tokens) < len(policy.tokenizer)
        if not fits or text_of(tokens) != text:
            return wording.completion(text, finish)
        ids = np.asarray(tokens, dtype=np.int64)
        ended = Finish.STOP if tokens[-1] in ends else Finish.LENGTH
        return ended_alike(Completion(ids, np.zeros(len(ids), dtype=np.float32), ended, 0, text), ends, end)

    return read
