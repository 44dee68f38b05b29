"""The language model's tokenizer with the tokens of pictures behind its own vocabulary, and room for them in the model.

No token that was there before changes its id, and none of the model's rows moves or changes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vergence.assembly.parts import EMBEDDING, LanguagePart
from vergence.assembly.stored import Extended, Held, Source, pieces
from vergence.assembly.template import extended_template
from vergence.errors import ModelError
from vergence.model.families import internvl
from vergence.model.needed_files import TOKENIZERS
from vergence.model.pretrained import reason_of, tokenizer_from

IMAGE_TOKENS = {"internvl": internvl.IMAGE_TOKEN, "llava": "<image>"}
"""By class: what stands for a picture."""

_NAMED = {
    "internvl": {
        "start_image_token": internvl.IMAGE_START,
        "end_image_token": internvl.IMAGE_END,
        "context_image_token": internvl.IMAGE_TOKEN,
        "video_token": internvl.VIDEO_TOKEN,
    },
    "llava": {"image_token": IMAGE_TOKENS["llava"]},
}
"""What the processor of a class looks up by name; those that the vocabulary lacks are added behind its end."""


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """What the assembled model reads and writes."""

    tokenizer: Any
    rows: int
    """Of the embedding: the language model's own, and more only where the new tokens found no spare ones."""
    image_token_id: int
    added: tuple[str, ...]
    """Tokens that the language model did not have."""
    template: str
    """What became of the chat template, in words."""


def vocabulary_with_images(part: LanguagePart, model_type: str) -> Vocabulary:
    """Raises ModelError if there is no tokenizer, or one of another model."""
    old = _tokenizer(part.directory)
    own = part.tensors[EMBEDDING].shape[0]
    ids = old.get_vocab()
    # a token that was added behind the vocabulary, such as a padding token, may lack its row, and gets one
    missing = sorted((number, token) for token, number in ids.items() if number >= own)
    if any(token not in old.get_added_vocab() for _, token in missing):
        raise ModelError(
            f"{part.directory}: the tokenizer gives {missing[-1][1]!r} the id {missing[-1][0]} and the language model "
            f"has {own} rows; the tokenizer belongs to another model"
        )
    new = _tokenizer(part.directory, **_NAMED[model_type])
    grown = new.get_vocab()
    added = tuple(token for token in _NAMED[model_type].values() if token not in ids)
    if any(grown.get(token) != number for token, number in ids.items()) or len(set(grown.values())) < len(grown):
        raise ModelError(
            f"{part.directory}: the tokenizer has gaps between its ids, and new tokens would take ids of old ones; "
            "add the tokens of pictures to it yourself"
        )
    image_token = IMAGE_TOKENS[model_type]
    new.chat_template, what = extended_template(old, image_token, part.directory)
    rows = max(max(grown.values()) + 1, own)
    return Vocabulary(new, rows, int(grown[image_token]), added, what)


def with_rows(matrix: Source, rows: int) -> Source:
    """The matrix with as many rows; new ones are the mean of its own, so that they start ordinary."""
    more = rows - matrix.shape[0]
    return Extended(matrix, _mean(matrix).to(matrix.dtype).expand(more, -1)) if more > 0 else matrix


def held_rows(matrix: Tensor, rows: int) -> Tensor:
    """`with_rows` of a matrix in memory."""
    return torch.cat(list(pieces(with_rows(Held(matrix), rows))))


def _mean(matrix: Source) -> Tensor:
    count = matrix.shape[0]
    total = torch.zeros(matrix.shape[1:])
    for piece in pieces(matrix):
        total += piece.float().mean(0) * (len(piece) / count)
    return total


def _tokenizer(directory: Path, **changes: Any) -> Any:
    if not any((directory / name).is_file() for name in TOKENIZERS):  # transformers would make an empty one
        raise ModelError(
            f"{directory}: no tokenizer beside the language model (none of {', '.join(TOKENIZERS)}); copy its files "
            "there"
        )
    try:
        return tokenizer_from(directory, **changes)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{directory}: the tokenizer beside the language model cannot be read ({reason_of(error)}); copy its files "
            "again"
        ) from error
