"""Preference pairs as JSON lines: what `vergence pairs` writes, and what stages `mpo` and `reward_model` read.

    {"id": "7", "question": "sum?", "images": ["images/7.png"], "answer": "15",
     "chosen": "...", "rejected": "...", "source": "correctness", "margin": 1.5}

`vergence/data/preferences.py` reads the texts of such a file, and of any other with these keys. How a response ended
stands beside it as `chosen_finish` and `rejected_finish`. Tokens are optional: texts may be cut into other tokens than
they were sampled as, and a response that was cut off has no end token.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vergence.data.rows import Row, Rows
from vergence.errors import DataError
from vergence.files import seen_from
from vergence.types import Completion, PreferencePair

SIDES = ("chosen", "rejected")


@dataclass(frozen=True, slots=True)
class PairTokens:
    """What a row says of the tokens of its two responses."""

    chosen: tuple[int, ...]
    """Empty where the row does not say."""
    rejected: tuple[int, ...]
    margin: float
    """Infinite where the row has none."""


def pair_row(pair: PreferencePair, out: Path, *, tokens: bool) -> dict[str, Any]:
    """A pair as a row of the file `out`; an infinite margin is written as null."""
    problem = pair.prompt.problem
    row: dict[str, Any] = {
        "id": problem.id,
        "question": problem.question,
        "images": [seen_from(out, image.path) for image in problem.images],
        "answer": problem.answer,
        "chosen": pair.chosen.text,
        "rejected": pair.rejected.text,
        "chosen_finish": str(pair.chosen.finish),
        "rejected_finish": str(pair.rejected.finish),
        "source": pair.source,
        "margin": pair.margin if math.isfinite(pair.margin) else None,
    }
    if tokens:
        row |= {"chosen_tokens": _ids(pair.chosen), "rejected_tokens": _ids(pair.rejected)}
    return row


def pair_lines(pairs: Sequence[PreferencePair], out: Path, *, tokens: bool) -> str:
    """The content of a file of pairs."""
    return "".join(json.dumps(pair_row(pair, out, tokens=tokens), ensure_ascii=False) + "\n" for pair in pairs)


def tokens_of(row: Row, where: str) -> PairTokens:
    """Tokens and margin of a row; `where` names it.

    Raises DataError naming the key for the first that is neither absent nor what it should be.
    """
    chosen, rejected = (_checked_ids(where, row, f"{side}_tokens") for side in SIDES)
    margin = row.get("margin")
    if margin is not None and (not isinstance(margin, (int, float)) or isinstance(margin, bool)):
        raise DataError(f'{where}: "margin" must be a number or null, found {margin!r:.60}')
    return PairTokens(chosen, rejected, math.inf if margin is None else float(margin))


def check_tokens(rows: Rows) -> None:
    """Raises DataError for the first row whose tokens or margin are wrong."""
    for index in range(len(rows)):
        tokens_of(rows[index], rows.where(index))


def written_alike(pair: PreferencePair) -> bool:
    """Whether the two responses differ in their tokens alone, such as the end token: a file cannot tell them apart."""
    return pair.chosen.text == pair.rejected.text


def problems_with_pairs(pairs: Sequence[PreferencePair]) -> int:
    """How many problems have at least one pair."""
    return len({pair.prompt.problem.id for pair in pairs})


def _ids(completion: Completion) -> list[int]:
    ids: list[int] = completion.token_ids.tolist()
    return ids


def _checked_ids(where: str, row: Row, key: str) -> tuple[int, ...]:
    value = row.get(key, [])
    if not isinstance(value, list) or not all(type(one) is int and one >= 0 for one in value):
        raise DataError(f'{where}: "{key}" must be a list of token numbers, found {value!r:.60}')
    return tuple(value)
