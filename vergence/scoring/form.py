"""The scoring form that OpenAI-style servers speak (vLLM's Score API): requests and answers as JSON, both ways.

    POST /v1/score   {"model": NAME, "queries": QUERY, "documents": [RESPONSE, ...]}
    answer           {"object": "list", "model": NAME, "data": [{"index": 0, "object": "score", "score": 1.25}, ...]}

A query is a question with its pictures: a string, or {"content": [PART, ...]} with parts {"type": "text", "text": ...}
and {"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}}. One query may stand with many documents,
or a list of queries with a list of documents of the same length. `text_1` and `text_2` are the older names of the two.
`finish_reasons` is ours: for each document "stop" or "length", because a response that was cut off is judged as such.
So is `pictures` in an answer: what the server has read, for the client to compare with what it has sent.
"""

import base64
import binascii
import hashlib
import math
import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from vergence.data.images import check_unchanged, plain_content
from vergence.errors import DataError, IntegrityError
from vergence.types import Completion, Doubles, Finish, ImageRef, Prompt, response

NAMES = (("queries", "documents"), ("text_1", "text_2"))
"""The two names of a request's two sides, the newer first."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One response to be scored, as a request brings it."""

    question: str
    images: tuple[bytes, ...]
    """Encoded pictures: the bytes of their files."""
    response: str
    finish: Finish


def request_body(model: str, prompt: Prompt, completions: Sequence[Completion]) -> dict[str, Any]:
    """One prompt with all its completions, so that its pictures travel once. Scores are asked for without activation.

    Raises DataError if a picture cannot be read.
    """
    problem = prompt.problem
    query: Any = problem.question
    if problem.images:
        parts = [{"type": "image_url", "image_url": {"url": data_uri(image)}} for image in problem.images]
        query = {"content": [*parts, {"type": "text", "text": problem.question}]}
    body = {
        "model": model,
        "queries": query,
        "documents": [response(prompt, one) for one in completions],
        "use_activation": False,
    }
    if any(one.finish is not Finish.STOP for one in completions):
        body["finish_reasons"] = [str(one.finish) for one in completions]
    return body


def data_uri(image: ImageRef) -> str:
    """A picture as a data URI. Raises DataError if it is not there, IntegrityError if it has changed.

    Its file, or a PNG of what the policy is shown where that is something else: a server need not turn a photograph,
    and would lay transparent pixels on black.
    """
    data = check_unchanged(image)
    kind = mimetypes.guess_type(image.path)[0] or "image/png"
    if _sent_digest(image) != hashlib.sha256(data).hexdigest():
        data, kind = plain_content(data, image.path), "image/png"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@lru_cache(maxsize=4096)
def _sent_digest(image: ImageRef) -> str:
    """SHA-256 of what is sent for a picture."""
    return hashlib.sha256(plain_content(check_unchanged(image), image.path)).hexdigest()


def answered(body: Any, count: int) -> list[float]:
    """The scores of an answer, in the order of the documents. Raises ValueError if it is not of the form."""
    if not isinstance(body, Mapping) or not isinstance(body.get("data"), list):
        raise ValueError('expected an object with a list "data"')
    scores: dict[int, float] = {}
    for place, row in enumerate(body["data"]):
        score = row.get("score") if isinstance(row, Mapping) else None
        if isinstance(score, list) and len(score) == 1:  # some servers wrap it
            score = score[0]
        if not isinstance(score, (int, float)) or isinstance(score, bool) or not math.isfinite(score):
            raise ValueError(f'data[{place}]: expected a finite number "score", found {score!r:.60}')
        index = row.get("index", place)
        if not isinstance(index, int) or index in scores:
            raise ValueError(f'data[{place}]: expected an "index" of its own, found {index!r:.60}')
        scores[index] = float(score)
    if scores.keys() != set(range(count)):
        raise ValueError(f"expected scores 0 to {count - 1}, found {sorted(scores)!s:.60}")
    return [scores[index] for index in range(count)]


def check_seen(body: Any, prompt: Prompt) -> None:
    """Whether the server has read the pictures that were sent to it, where it says what it has read (ours does).

    Raises IntegrityError naming the problem if not.
    """
    said = body.get("pictures") if isinstance(body, Mapping) else None
    if said is None:
        return
    sent = [_sent_digest(image) for image in prompt.problem.images]
    wrong = [row for row in said if row != sent] if isinstance(said, list) else [said]
    if wrong:
        raise IntegrityError(
            f"vision integrity, problem {prompt.problem.id}: {len(sent)} pictures were sent to the scoring server, and "
            f"it has read {wrong[0]!r:.100}, not their SHA-256; a picture was dropped, swapped or changed on its way"
        )


def parse_request(body: Any) -> list[Asked]:
    """What a request asks for. Raises DataError in one line if it is not of the form."""
    if not isinstance(body, Mapping):
        raise DataError(f"expected a JSON object, found {type(body).__name__}")
    sides = next((names for names in NAMES if names[0] in body or names[1] in body), NAMES[0])
    for name in sides:
        if name not in body:
            raise DataError(f'the key "{name}" is missing; a request has "{sides[0]}" and "{sides[1]}"')
    queries = [_content(one, sides[0]) for one in _listed(body[sides[0]])]
    documents = [_content(one, sides[1]) for one in _listed(body[sides[1]])]
    if not documents or not queries:
        raise DataError(f'"{sides[0]}" and "{sides[1]}" must not be empty')
    if len(queries) not in (1, len(documents)):
        raise DataError(
            f'{len(queries)} "{sides[0]}" for {len(documents)} "{sides[1]}"; one for all of them, or one for each'
        )
    if any(images for _, images in documents):
        raise DataError(f'a picture among "{sides[1]}"; pictures belong to the question, which is in "{sides[0]}"')
    reasons = body.get("finish_reasons", ["stop"] * len(documents))
    if not isinstance(reasons, list) or len(reasons) != len(documents) or not set(reasons) <= {"stop", "length"}:
        raise DataError(f'"finish_reasons" must be "stop" or "length" for each of the {len(documents)} documents')
    queries = queries * len(documents) if len(queries) == 1 else queries
    return [
        Asked(question, images, response, Finish(reason))
        for (question, images), (response, _), reason in zip(queries, documents, reasons, strict=True)
    ]


def answer_body(
    model: str, scores: Doubles | Sequence[float], asked: Sequence[Asked], *, name: str, created: int
) -> dict[str, Any]:
    """The answer to a request: a score for each document, and the SHA-256 of the pictures that were read for it."""
    return {
        "id": name,
        "object": "list",
        "created": created,
        "model": model,
        "data": [{"index": index, "object": "score", "score": float(score)} for index, score in enumerate(scores)],
        "pictures": [[hashlib.sha256(image).hexdigest() for image in one.images] for one in asked],
        "usage": {"prompt_tokens": 0, "total_tokens": 0, "completion_tokens": 0},
    }


def error_body(message: str, kind: str, code: int) -> dict[str, Any]:
    """An error as OpenAI's interface words it."""
    return {"error": {"message": message, "type": kind, "code": code}}


def _listed(side: Any) -> list[Any]:
    return side if isinstance(side, list) else [side]


def _content(value: Any, side: str) -> tuple[str, tuple[bytes, ...]]:
    """Text and pictures of a string, or of an object with content parts."""
    if isinstance(value, str):
        return value, ()
    parts = value.get("content") if isinstance(value, Mapping) else None
    if not isinstance(parts, list):
        raise DataError(f'"{side}" must hold strings, or objects with a list "content"; found {value!r:.60}')
    texts, images = [], []
    for part in parts:
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "image_url", "image_url": {"url": str(url)}}:
                images.append(_picture(url, side))
            case _:
                raise DataError(f'"{side}": a content part of type text or image_url was expected, found {part!r:.60}')
    return "\n".join(texts), tuple(images)


def _picture(url: str, side: str) -> bytes:
    head, comma, data = url.partition(",")
    if not (comma and head.startswith("data:image/") and head.endswith(";base64")):
        raise DataError(
            f'"{side}": pictures must be data URIs (data:image/png;base64,...), found {url!r:.40}; nothing is fetched'
        )
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f'"{side}": a picture is not valid base64 ({error})') from None
