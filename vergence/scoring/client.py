"""A reward model behind HTTP, as a `RawScorer`: vLLM's, ours, or any other that speaks the scoring form."""

import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np

from vergence.data.decoding import DECODING
from vergence.errors import RunError
from vergence.pairs.comparisons import Member
from vergence.scoring.form import answered, check_seen, request_body
from vergence.scoring.members import prompt_digest
from vergence.types import Completion, Doubles, Prompt

KEY = "VERGENCE_SCORING_KEY"
"""Environment variable whose value is sent as a bearer token, if it is set."""
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers that may be different the next time."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is waited for."""

    timeout: float = 60.0
    """Seconds for one request."""
    retries: int = 4
    """Further attempts after the first."""
    pause: float = 0.5
    """Seconds before the first further attempt; each later one waits twice as long, at most 30 s."""
    parallel: int = 8
    """Requests under way at a time."""
    documents: int = 64
    """Responses in one request."""


DEFAULT_PATIENCE = Patience()
"""A minute for a request, and five attempts."""


@final
class HttpScorer:
    """Asks a server; one request for each prompt, so that its pictures travel once, several requests at a time."""

    def __init__(
        self,
        url: str,
        *,
        model: str = "",
        patience: Patience = DEFAULT_PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = url.rstrip("/").removesuffix("/v1/score").removesuffix("/v1")
        self._named = model
        self._patience = patience
        self._sleep = sleep
        self._opener = _opener(self._url)

    @property
    def address(self) -> str:
        """Where scores are asked for."""
        return f"{self._url}/v1/score"

    def raw(self, members: Sequence[Member]) -> Doubles:
        """Members [N] -> the server's scores [N]. Raises RunError in one line if it gives none."""
        scores = np.zeros(len(members))
        batches = list(self._batches(members))
        with ThreadPoolExecutor(max(1, min(self._patience.parallel, len(batches)))) as pool:
            asked = [
                pool.submit(self._scores, members[rows[0]][0], [members[row][1] for row in rows]) for rows in batches
            ]
            try:
                for rows, answer in zip(batches, asked, strict=True):
                    scores[rows] = answer.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return scores

    @cached_property
    def model(self) -> str:
        """The model's name: the one asked for, or the first that the server lists."""
        return self._named or str(self._listed.get("id", ""))

    @cached_property
    def fingerprint(self) -> str:
        """Of address, name, what the server says of the model's weights, if it says anything, and how pictures are read
        that it is sent."""
        described = [self._url, self.model, str(self._listed.get("fingerprint", "")), str(DECODING)]
        return hashlib.sha256("\x1f".join(described).encode()).hexdigest()

    @cached_property
    def _listed(self) -> dict[str, Any]:
        """The entry of the model in the server's list of models."""
        listed = self._answer(urllib.request.Request(f"{self._url}/v1/models", headers=_headers()))
        models = listed.get("data") if isinstance(listed, dict) else None
        if not isinstance(models, list) or not all(isinstance(one, dict) for one in models) or not models:
            raise RunError(f"{self._url}/v1/models: expected a list of models; is this a scoring server?")
        found: dict[str, Any] = next((one for one in models if one.get("id") == self._named), models[0])
        if self._named and found.get("id") != self._named:
            names = ", ".join(str(one.get("id")) for one in models)
            raise RunError(f"{self._url}: serves no model {self._named!r}; it has {names}")
        return found

    def _batches(self, members: Sequence[Member]) -> list[list[int]]:
        by_prompt: dict[bytes, list[int]] = {}
        for row, (prompt, _) in enumerate(members):
            by_prompt.setdefault(prompt_digest(prompt), []).append(row)
        size = self._patience.documents
        return [rows[first : first + size] for rows in by_prompt.values() for first in range(0, len(rows), size)]

    def _scores(self, prompt: Prompt, completions: Sequence[Completion]) -> list[float]:
        body = json.dumps(request_body(self.model, prompt, completions)).encode()
        headers = _headers() | {"Content-Type": "application/json"}
        answer = self._answer(urllib.request.Request(self.address, data=body, headers=headers))
        try:
            check_seen(answer, prompt)
            return answered(answer, len(completions))
        except ValueError as error:
            raise RunError(f"{self.address}: an answer that is not of the scoring form ({error})") from None

    def _answer(self, request: urllib.request.Request) -> Any:
        """The decoded body, after as many attempts as patience allows."""
        reason = ""
        for attempt in range(self._patience.retries + 1):
            if attempt:
                self._sleep(min(30.0, self._patience.pause * 2 ** (attempt - 1)))
            try:
                with self._opener.open(request, timeout=self._patience.timeout) as response:
                    return json.loads(response.read())
            except urllib.error.HTTPError as error:
                reason = _said(error)
                if error.code not in PASSING:
                    raise RunError(f"{request.full_url}: refused with {reason}") from None
            except ValueError as error:
                raise RunError(f"{request.full_url}: the answer is not JSON ({error})") from None
            except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
                reason = str(getattr(error, "reason", "") or error or type(error).__name__)
        raise RunError(
            f"{request.full_url}: no answer after {self._patience.retries + 1} attempts ({reason}); "
            "start the server again, then run again to continue"
        )


def _headers() -> dict[str, str]:
    key = os.environ.get(KEY)
    return {"Accept": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Through the environment's proxy, except to this machine itself, where no proxy could be meant."""
    host = urllib.parse.urlsplit(url).hostname or ""
    local = host == "localhost" or host.startswith("127.") or host == "::1"
    return urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if local else []))


def _said(error: urllib.error.HTTPError) -> str:
    """Status and message of a refusal."""
    try:
        body = json.loads(error.read())
        said = body["error"]["message"] if isinstance(body.get("error"), dict) else body.get("message", "")
    except (ValueError, OSError, KeyError, AttributeError, http.client.HTTPException):
        said = ""
    return f"status {error.code}" + (f": {' '.join(str(said).split())[:300]}" if said else f" {error.reason}")
