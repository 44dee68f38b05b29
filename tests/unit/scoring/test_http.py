"""Over HTTP: the same scores as in this process, computed together where they come together, and one line if not."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vergence.data.images import reference
from vergence.errors import DataError, RunError
from vergence.pairs.comparisons import Member, Wording
from vergence.scoring.batcher import Batcher
from vergence.scoring.client import HttpScorer, Patience
from vergence.scoring.form import Asked
from vergence.scoring.plain import plain_completion, plain_prompt
from vergence.scoring.scorer import PreferenceScorer
from vergence.scoring.server import ScoreServer, Service
from vergence.types import Doubles, Finish

from ..builders import problem
from .fakes import Counting, score

HASTY = Patience(timeout=20.0, retries=2, pause=0.25)
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def serving(model: Any, *, wait: float = 0.0) -> Iterator[ScoreServer]:
    wording = Wording(plain_prompt, plain_completion)
    service = Service("fake", "f00", PreferenceScorer(model), wording)
    with ScoreServer(service, host="127.0.0.1", port=0, wait=wait) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def members(tmp_path, count: int = 3) -> list[Member]:
    """Some with a picture; responses of one prompt apart from each other; one cut off."""
    found = []
    for index in range(count):
        path = tmp_path / f"{index}.png"
        Image.new("RGB", (4 + index, 4)).save(path)
        images = (reference(path, "a test"),) if index % 2 == 0 else ()
        found.append(
            (plain_prompt(problem(f"p{index}", question=f"q{index}?", images=images)), plain_completion("one"))
        )
    again = [(where, plain_completion(f"two {index}")) for index, (where, _) in enumerate(found)]
    return [*found, *again, (found[0][0], plain_completion("cut of", Finish.LENGTH))]


def post(url: str, body: bytes) -> tuple[int, Any]:
    request = urllib.request.Request(url, data=body)
    try:
        with OPENER.open(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


class Seeing:
    """Scores by what arrives: the question, the response, how it ended, and the picture's bytes."""

    def raw(self, members: Sequence[Member]) -> Doubles:
        return np.array([score(member) + 100.0 * (member[1].finish is Finish.LENGTH) for member in members])


def test_scores_over_http_are_those_of_this_process(tmp_path) -> None:
    asked = members(tmp_path)
    with serving(Seeing()) as server:
        client = HttpScorer(server.url, patience=HASTY)
        np.testing.assert_array_equal(Seeing().raw(asked), client.raw(asked))
        assert "fake" == client.model
        assert client.fingerprint == HttpScorer(f"{server.url}/v1/score/", patience=HASTY).fingerprint
        assert client.fingerprint != HttpScorer(server.url, model="x", patience=HASTY)._url


def test_a_picture_travels_once_for_all_responses_of_its_prompt(tmp_path) -> None:
    model = Counting()
    with serving(model) as server:
        HttpScorer(server.url, patience=replace(HASTY, parallel=1)).raw(members(tmp_path, 2))
    assert [["one", "two 0", "cut of"], ["one", "two 1"]] == model.calls


def test_requests_that_come_together_are_computed_together() -> None:
    calls: list[int] = []
    together = threading.Barrier(4)

    def compute(asked: Sequence[Asked]) -> list[float]:
        calls.append(len(asked))
        return [float(len(one.response)) for one in asked]

    batcher = Batcher(compute, wait=5.0, limit=8)

    def ask(index: int) -> list[float]:
        together.wait()
        return batcher.scores([Asked("q", (), "x" * (index + part), Finish.STOP) for part in range(2)])

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, range(4)))
    assert [8] == calls, "eight responses are the limit, so nobody waits five seconds"
    assert [[float(index), float(index + 1)] for index in range(4)] == found
    batcher.close()


def test_without_waiting_every_request_is_computed_by_itself() -> None:
    calls: list[int] = []
    block = threading.Event()

    def compute(asked: Sequence[Asked]) -> list[float]:
        block.wait(10)
        calls.append(len(asked))
        return [0.0] * len(asked)

    batcher = Batcher(compute, wait=0.0)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(batcher.scores, [Asked("q", (), "r", Finish.STOP)]) for _ in range(3)]
        block.set()
        assert [[0.0]] * 3 == [one.result() for one in waiting]
    assert [1, 1, 1] == calls
    batcher.close()


def test_one_request_does_not_fail_for_the_mistake_of_another() -> None:
    together = threading.Barrier(2)

    def compute(asked: Sequence[Asked]) -> list[float]:
        if any(one.response == "bad" for one in asked):
            raise DataError("a bad one")
        return [1.0] * len(asked)

    batcher = Batcher(compute, wait=1.0, limit=2)

    def ask(text: str) -> object:
        together.wait()
        try:
            return batcher.scores([Asked("q", (), text, Finish.STOP)])
        except DataError as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        assert [[1.0], "a bad one"] == list(pool.map(ask, ["good", "bad"]))
    batcher.close()


def test_closing_a_batcher_answers_who_is_waiting() -> None:
    batcher = Batcher(lambda asked: [2.0] * len(asked), wait=0.3)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(batcher.scores, [Asked("q", (), "r", Finish.STOP)])
        time.sleep(0.05)
        batcher.close()
        assert [2.0] == waiting.result(5)


@pytest.mark.parametrize(
    ("path", "body", "code", "said"),
    [
        ("/v1/score", b"{", 400, "the request is not JSON"),
        ("/v1/score", b"[]", 400, "expected a JSON object, found list"),
        ("/v1/score", b'{"queries": "q"}', 400, 'the key "documents" is missing'),
        (
            "/score",
            b'{"queries": "q", "documents": "d", "model": "gpt"}',
            404,
            "no model 'gpt' here; this server has fake",
        ),
        ("/v1/chat", b"{}", 404, "no such path: /v1/chat; scores are at /v1/score"),
    ],
)
def test_wrong_requests_are_answered_with_a_reason(path: str, body: bytes, code: int, said: str) -> None:
    with serving(Seeing()) as server:
        status, answer = post(server.url + path, body)
        assert (code, code) == (status, answer["error"]["code"])
        assert said in answer["error"]["message"]


def test_a_broken_picture_is_a_mistake_of_the_request() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}
    body = {"queries": {"content": [part]}, "documents": ["d"]}
    with serving(Seeing()) as server:
        status, answer = post(f"{server.url}/v1/score", json.dumps(body).encode())
        assert status == 400
        assert "not a readable picture" in answer["error"]["message"]


def test_an_error_of_the_model_is_an_answer_too() -> None:
    class Broken:
        def raw(self, members: Sequence[Member]) -> Doubles:
            raise ZeroDivisionError("of all\nthings")

    with serving(Broken()) as server:
        status, answer = post(f"{server.url}/v1/score", b'{"queries": "q", "documents": "d"}')
        assert (500, "ZeroDivisionError: of all things") == (status, answer["error"]["message"])


def test_an_activation_is_a_sigmoid_and_only_on_request() -> None:
    with serving(Seeing()) as server:
        bare = post(f"{server.url}/score", b'{"text_1": "q", "text_2": "d"}')[1]["data"][0]["score"]
        squashed = post(f"{server.url}/score", b'{"text_1": "q", "text_2": "d", "use_activation": true}')[1]
        assert squashed["data"][0]["score"] == pytest.approx(1 / (1 + np.exp(-bare)))


class Answers(BaseHTTPRequestHandler):
    """Says what its server was given to say, one answer after the other."""

    def do_GET(self) -> None:
        self._say(200, {"data": [{"id": "m"}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._say(*self.server.answers.pop(0))

    def _say(self, code: int, body: Any) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def saying(*answers: tuple[int, Any]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.answers = list(answers)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


GOOD = (200, {"data": [{"index": 0, "score": 4.5}]})
ONE = [(plain_prompt(problem(images=())), plain_completion("r"))]


def test_passing_failures_are_tried_again_each_time_after_twice_the_wait() -> None:
    slept: list[float] = []
    with saying((503, {"error": {"message": "loading"}}), (500, b"oh"), GOOD) as url:
        assert [4.5] == HttpScorer(url, patience=HASTY, sleep=slept.append).raw(ONE).tolist()
    assert [0.25, 0.5] == slept


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (
            [(503, {"error": {"message": "still\nloading"}})] * 3,
            r"no answer after 3 attempts \(status 503: still loading\)",
        ),
        ([(400, {"error": {"message": "too long"}})], "refused with status 400: too long"),
        ([(404, b"")], "refused with status 404 Not Found"),
        ([(200, b"<html>")], "the answer is not JSON"),
        ([(200, {"data": []})], "an answer that is not of the scoring form .expected scores 0 to 0"),
    ],
)
def test_a_server_that_gives_no_scores_is_one_line(answers, said: str) -> None:
    with saying(*answers) as url, pytest.raises(RunError, match=said) as caught:
        HttpScorer(url, patience=HASTY, sleep=lambda seconds: None).raw(ONE)
    assert 1 == len(str(caught.value).splitlines())
    assert str(caught.value).startswith(f"{url}/v1/score: ")


def test_a_server_that_was_killed_is_one_line(tmp_path) -> None:
    with serving(Seeing()) as server:
        client = HttpScorer(server.url, patience=HASTY, sleep=lambda seconds: None)
        client.raw(ONE)
    with pytest.raises(RunError, match=r"no answer after 3 attempts \(.*refused.*\); start the server again") as caught:
        client.raw(ONE)
    assert 1 == len(str(caught.value).splitlines())


def test_a_server_that_never_answers_is_given_up(tmp_path) -> None:
    release = threading.Event()

    class Slow:
        def raw(self, members: Sequence[Member]) -> Doubles:
            release.wait(20)
            return np.zeros(len(members))

    with serving(Slow()) as server:
        patience = Patience(timeout=0.3, retries=1, pause=0.01)
        with pytest.raises(RunError, match=r"no answer after 2 attempts \(.*timed out"):
            HttpScorer(server.url, model="fake", patience=patience).raw(ONE)
        release.set()


def test_a_model_that_the_server_does_not_have_is_named() -> None:
    with serving(Seeing()) as server, pytest.raises(RunError, match="serves no model 'other'; it has fake"):
        _ = HttpScorer(server.url, model="other", patience=HASTY).fingerprint


def test_the_key_of_the_environment_is_sent(monkeypatch) -> None:
    monkeypatch.setenv("VERGENCE_SCORING_KEY", "secret")
    heard = []

    class Hearing(Answers):
        def do_POST(self) -> None:
            heard.append(self.headers["Authorization"])
            super().do_POST()

    with saying(GOOD) as url:
        HttpScorer(url, patience=HASTY).raw(ONE)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hearing)
    server.answers = [GOOD]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    HttpScorer(f"http://127.0.0.1:{server.server_address[1]}", patience=HASTY).raw(ONE)
    server.shutdown()
    server.server_close()
    assert ["Bearer secret"] == heard
