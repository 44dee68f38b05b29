"""The tokenizer of a model in its authors' layout, read without its authors' code; its tokens of pictures by name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vergence.errors import ModelError
from vergence.model.families import internvl
from vergence.model.pretrained import fast_tokenizer_from, reason_of, tokenizer_from

_PICTURES = {
    "start_image_token": internvl.IMAGE_START,
    "end_image_token": internvl.IMAGE_END,
    "context_image_token": internvl.IMAGE_TOKEN,
}
"""What transformers' processor looks up by name. It wants a token for videos too, which are never read here."""
_VIDEO = (internvl.VIDEO_TOKEN, "<|video_pad|>")
"""The first that the vocabulary has; where it has neither, the first is added."""


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """What a converted model reads and writes."""

    tokenizer: Any
    rows: int
    """Of the embedding: the published ones, and one more only where a token was added and found no spare one."""
    image_token_id: int
    added: int | None
    """The id of a token that the published vocabulary lacks; None if there is none."""


def read_tokens(directory: Path, *, rows: int) -> Tokens:
    """`rows` is how many the embedding has.

    Raises ModelError where the tokenizer needs code of its own, lacks a token of pictures, or belongs to another model.
    """
    old = _load(directory, {})
    ids: dict[str, int] = old.get_vocab()
    lacking = [token for token in _PICTURES.values() if token not in ids]
    if lacking:
        raise ModelError(
            f"{directory}: its tokenizer has no token {', '.join(lacking)}, which its model was trained with; copy its "
            "tokenizer files again, added_tokens.json among them"
        )
    last, number = max(ids.items(), key=lambda item: item[1])
    if number >= rows:
        raise ModelError(
            f"{directory}: the tokenizer gives {last!r} the id {number} and the language model has {rows} rows; the "
            "tokenizer belongs to another model"
        )
    video = next((token for token in _VIDEO if token in ids), _VIDEO[0])
    new = _load(directory, _PICTURES | {"video_token": video})
    grown: dict[str, int] = new.get_vocab()
    if any(grown.get(token) != number for token, number in ids.items()):
        raise ModelError(
            f"{directory}: the tokenizer gives its tokens other ids when they are named; copy its files again"
        )
    added = None if video in ids else grown[video]
    return Tokens(new, max(rows, *(number + 1 for number in grown.values())), grown[internvl.IMAGE_TOKEN], added)


def _load(directory: Path, named: dict[str, str]) -> Any:
    """By transformers' own class for it; where it names code of its own, by the whole tokenizer in `tokenizer.json`."""
    try:
        return tokenizer_from(directory, **named)
    except ModelError as error:  # it comes with code
        if not (directory / "tokenizer.json").is_file():
            raise ModelError(
                f"{directory}: its tokenizer is read by code of its own, which is never run; put a tokenizer.json "
                "beside it (any published conversion of this model has one)"
            ) from error
        return fast_tokenizer_from(directory, **named)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise ModelError(
            f"{directory}: its tokenizer cannot be read ({reason_of(error)}); copy its files again"
        ) from error
