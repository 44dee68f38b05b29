"""A reward model for others: the scoring form over HTTP, with the standard library's server.

GET  /health      200 while it lives
GET  /v1/models   the one model that is served, with a fingerprint of its files
POST /v1/score    scores of responses (also /score); see vergence/scoring/form.py
"""

import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, final

from vergence.data.images import check_whole
from vergence.data.images import reference as image_reference
from vergence.errors import DataError, InputError
from vergence.pairs.comparisons import Wording
from vergence.scoring.batcher import Batcher
from vergence.scoring.form import Asked, answer_body, error_body, parse_request
from vergence.scoring.plain import asked_problem, question_key
from vergence.scoring.scorer import PreferenceScorer
from vergence.types import ImageRef, Prompt

MAX_BODY = 256_000_000
"""Bytes of a request."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """What is served: asked responses in, raw scores out."""

    name: str
    fingerprint: str
    scorer: PreferenceScorer
    wording: Wording

    def scores(self, asked: Sequence[Asked]) -> list[float]:
        """[N] raw scores; each distinct question with its pictures becomes one prompt.

        Raises DataError if a picture cannot be decoded. Pictures are files for as long as they are needed.
        """
        with tempfile.TemporaryDirectory(prefix="vergence-scores-") as folder:
            prompts: dict[str, Prompt] = {}
            members = []
            for one in asked:
                key = question_key(one.question, one.images)
                if key not in prompts:
                    images = tuple(_written(Path(folder), image) for image in one.images)
                    prompts[key] = self.wording.prompt(asked_problem(key, one.question, images))
                members.append((prompts[key], self.wording.completion(one.response, one.finish)))
            return [float(score) for score in self.scorer.raw(members)]


def _written(folder: Path, data: bytes) -> ImageRef:
    path = folder / f"{len(list(folder.iterdir()))}.picture"
    path.write_bytes(data)
    check_whole(path, "the request")
    return image_reference(path, "the request")


class ScoreServer(ThreadingHTTPServer):
    """Threads take requests; the batcher computes them."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, service: Service, *, host: str, port: int, wait: float) -> None:
        self.service = service
        self.batcher = Batcher(service.scores, wait=wait)
        self.numbers = count()
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        """Where it can be reached."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone is nobody's business; anything else is told as usual."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def server_close(self) -> None:
        """Close the socket, then end the computing thread."""
        super().server_close()
        self.batcher.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ScoreServer
    known: ClassVar[frozenset[str]] = frozenset(("/score", "/v1/score"))

    def do_GET(self) -> None:
        """Health, and the list of models."""
        match self.path.rstrip("/"):
            case "/health":
                self._send(200, {"status": "ok"})
            case "/v1/models":
                service = self.server.service
                entry = {
                    "id": service.name,
                    "object": "model",
                    "owned_by": "vergence",
                    "fingerprint": service.fingerprint,
                }
                self._send(200, {"object": "list", "data": [entry]})
            case _:
                self._send(404, error_body(f"no such path: {self.path}", "NotFoundError", 404))

    def do_POST(self) -> None:
        """Scores."""
        if self.path.rstrip("/") not in self.known:
            self._refuse(404, f"no such path: {self.path}; scores are at /v1/score", "NotFoundError")
            return
        try:
            body = self._body()
            self._check_model(body)
            asked = parse_request(body)
            scores = self.server.batcher.scores(asked)
        except _RefusedError as refused:
            self._refuse(refused.code, str(refused), refused.kind)
        except InputError as error:
            self._send(400, error_body(str(error), "BadRequestError", 400))
        except Exception as error:  # whatever else goes wrong is an answer too
            reason = " ".join(str(error).split())[:300]
            self._send(500, error_body(f"{type(error).__name__}: {reason}", "InternalServerError", 500))
        else:
            if body.get("use_activation"):
                scores = [1 / (1 + math.exp(-score)) if score > -700 else 0.0 for score in scores]
            name = f"score-{next(self.server.numbers)}"
            self._send(200, answer_body(self.server.service.name, scores, asked, name=name, created=int(time.time())))

    def _body(self) -> dict[str, Any]:
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            raise _RefusedError(411, "a request needs the header Content-Length", "BadRequestError") from None
        if not 0 <= length <= MAX_BODY:
            raise _RefusedError(413, f"a request of {length} bytes; the limit is {MAX_BODY}", "BadRequestError")
        try:
            body = json.loads(self.rfile.read(length))
        except (ValueError, RecursionError) as error:
            raise DataError(f"the request is not JSON ({error})") from None
        if not isinstance(body, dict):
            raise DataError(f"expected a JSON object, found {type(body).__name__}")
        return body

    def _check_model(self, body: Mapping[str, Any]) -> None:
        served = self.server.service.name
        if body.get("model") not in (None, "", served):
            message = f"no model {body['model']!r:.60} here; this server has {served}"
            raise _RefusedError(404, message, "NotFoundError")

    def _refuse(self, code: int, message: str, kind: str) -> None:
        """An answer without having read the request: the connection cannot be used again."""
        self.close_connection = True
        self._send(code, error_body(message, kind, code))

    def _send(self, code: int, body: Mapping[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: the terminal belongs to whoever started the server."""


class _RefusedError(Exception):
    """A request that is answered with a status of its own."""

    def __init__(self, code: int, message: str, kind: str) -> None:
        super().__init__(message)
        self.code = code
        self.kind = kind
