"""`vergence eval --benchmark`, through the real command line: a whole run, a killed one, a judged one, wrong input."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from families import tiny_policy
from unit.evaluation.benchmarks import layouts

from vergence.cli import main
from vergence.evaluation.benchmarks import predictions
from vergence.evaluation.benchmarks.known import BENCHMARKS

from .conftest import rows, vergence
from .killer import run_and_die

ITEMS = 7
BUDGET = ("--max-new-tokens", "12", "--chunk", "2")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_policy("llava", folder)
    return folder / "llava-0"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A benchmark without pictures."""
    problems = [{"id": str(number), "problem": f"what is {number}?", "answer": str(number)} for number in range(ITEMS)]
    layouts.lines(tmp_path / "data/aime2024.jsonl", problems)
    return tmp_path / "data"


def results(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "results.json").read_text())
    return found


def test_a_benchmark_without_pictures(model: Path, text: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = vergence("eval", model, "--benchmark", "AIME-2024", "--data", text, "--out", out, *BUDGET).stdout
    assert "AIME 2024, test: 7 of 30 items: part of it" in told
    assert "template aime2024@1" in told
    found = rows(out / "predictions.jsonl")
    assert [f"aime-{number}" for number in range(ITEMS)] == [row["id"] for row in found]
    assert all(row["tokens"] <= 12 and row["verdict"] in ("correct", "wrong") for row in found)
    assert ITEMS == results(out)["counts"]["responses"]
    assert results(out)["strict"]["average"]["mean"] == sum(row["verdict"] == "correct" for row in found) / ITEMS
    assert not results(out)["complete"]


def test_a_benchmark_with_pictures_under_the_papers_protocol(model: Path, tmp_path: Path) -> None:
    layouts.pope(tmp_path / "data")
    arguments = (
        "--data",
        tmp_path / "data",
        "--protocol",
        "r1v2",
        "--samples",
        "3",
        "--out",
        tmp_path / "out",
        *BUDGET,
    )
    told = vergence("eval", model, "--benchmark", "pope", *arguments).stdout
    assert "3 answers each, temperature 0.6, top-p 0.95, repetition penalty 1.05, up to 12 tokens" in told
    assert "avg@3, our grader" in told
    assert "yes_ratio, official (POPE, evaluate.py)" in told
    found = results(tmp_path / "out")
    assert (6, 3, 18) == (found["items"], found["samples"], found["counts"]["responses"])
    assert {"random", "popular", "adversarial"} == set(found["categories"]["kind"])
    assert len({row["response"] for row in rows(tmp_path / "out/predictions.jsonl")}) > 3
    answers = [path for path in (tmp_path / "data").rglob("*") if path.suffix in (".json", ".jsonl", ".parquet")]
    pictures = [path for path in (tmp_path / "data").rglob("*") if path.suffix in (".jpg", ".png")]
    for path, key in ((sorted(pictures)[0], 'picture of data "'), (sorted(answers)[0], "data: ")):
        content = path.read_bytes()
        path.write_bytes(content + b"\n")
        done = vergence("eval", model, "--benchmark", "pope", *arguments, check=False)
        path.write_bytes(content)
        assert (2, 1) == (done.returncode, done.stderr.count("\n")), done.stderr
        assert all(word in done.stderr for word in (key, str(path), "expected", "restore them to go on")), done.stderr


def dying(arguments: list[str], out: str, error: str, count: int) -> None:
    """A child that is killed in the middle of writing its COUNT-th chunk."""
    append = predictions.Predictions.append
    seen = 0

    def torn(self: predictions.Predictions, some: list[dict[str, Any]]) -> None:
        nonlocal seen
        seen += 1
        if seen == count:
            text = "".join(json.dumps(row) + "\n" for row in some)
            with self._path.open("a") as file:
                file.write(text[: len(text) * 2 // 3])
            os.kill(os.getpid(), signal.SIGKILL)
        append(self, some)

    predictions.Predictions.append = torn
    run_and_die(arguments, out, error, "", 0)


@pytest.mark.parametrize("count", [1, 3])
def test_a_killed_run_goes_on_to_the_same_bytes(count: int, model: Path, text: Path, tmp_path: Path) -> None:
    def command(out: Path) -> list[str]:
        fixed = ["eval", str(model), "--benchmark", "aime2024", "--data", str(text), "--protocol", "r1v2"]
        return [*fixed, "--samples", "2", "--out", str(out), *BUDGET]

    vergence(*command(tmp_path / "whole"))
    context = multiprocessing.get_context("forkserver")
    said = [str(tmp_path / name) for name in ("said", "error")]
    process = context.Process(target=dying, args=(command(tmp_path / "torn"), *said, count))
    process.start()
    process.join()
    assert -signal.SIGKILL == process.exitcode
    left = (tmp_path / "torn/predictions.jsonl").read_text()
    assert (count - 1) * 4 <= left.count("\n") < count * 4
    assert not left.endswith("\n")
    vergence(*command(tmp_path / "torn"))
    for name in ("predictions.jsonl", "results.json", "manifest.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "torn" / name).read_bytes()


def test_a_finished_run_is_told_again_and_asks_nobody(model: Path, text: Path, tmp_path: Path) -> None:
    arguments = ("eval", model, "--benchmark", "aime2024", "--data", text, "--out", tmp_path / "out", *BUDGET)
    first = vergence(*arguments).stdout
    before = (tmp_path / "out/predictions.jsonl").read_bytes()
    again = vergence(*arguments).stdout.splitlines()
    assert again == [line for line in first.splitlines() if " step " not in line]
    assert before == (tmp_path / "out/predictions.jsonl").read_bytes()


def test_another_run_is_not_continued(model: Path, text: Path, tmp_path: Path) -> None:
    arguments = ("eval", model, "--benchmark", "aime2024", "--data", text, "--out", tmp_path / "out", *BUDGET)
    vergence(*arguments)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    for change, told in {
        ("--seed", "1"): "was made with seed = 0, asked for now is 1",
        ("--chunk", "3"): "chunk = 2, asked for now is 3",
        ("--limit", "3"): "items = 7, asked for now is 3",
        ("--max-new-tokens", "9"): "sampling.max_new_tokens = 12, asked for now is 9",
    }.items():
        done = vergence(*arguments, *change, check=False)
        assert 2 == done.returncode
        assert told in done.stderr
        assert 1 == done.stderr.count("\n")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}


class Three(BaseHTTPRequestHandler):
    """A judge that reads 3 in every response."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        content = json.dumps({"choices": [{"message": {"content": "3"}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def judge() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Three)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_judge_is_named_and_its_word_is_kept(judge: str, model: Path, text: Path, tmp_path: Path) -> None:
    arguments = ("--benchmark", "aime2024", "--data", text, "--out", tmp_path / "out", *BUDGET)
    told = vergence("eval", model, *arguments, "--judge", judge, "--judge-model", "small-judge").stdout
    assert "judge small-judge" in told
    assert "small-judge" == results(tmp_path / "out")["judge"]
    found = rows(tmp_path / "out/predictions.jsonl")
    judged = [row for row in found if "judge" in row]
    assert judged
    assert all(row["judge"] == {"answer": "3", "error": ""} and row["extracted"] == "3" for row in judged)
    assert len(judged) == results(tmp_path / "out")["counts"]["judged"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--benchmark", "aime2025"), "--benchmark aime2025: no such benchmark; known are"),
        (("--benchmark", "aime2024", "--split", "x"), "--split x: AIME 2024 has test"),
        (("--benchmark", "mmmu"), "nothing of MMMU"),
        (("--benchmark", "aime2024", "--samples", "3"), "greedy answers are all equal"),
        (("--benchmark", "aime2024", "--samples", "0"), "--samples 0: at least one answer"),
        (("--benchmark", "aime2024", "--judge", "http://x"), "--judge and --judge-model: one needs the other"),
        (("--benchmark", "aime2024", "--form", "boxed"), "--form: a benchmark has templates of its own"),
        (("--benchmark", "pope", "--download"), "--download: the authors of POPE have not put it on the hub"),
        (("--limit", "3"), "--limit: belongs to --benchmark"),
        ((), "is a folder; name a file in it, or a benchmark with --benchmark"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(
    arguments: tuple[str, ...], told: str, model: Path, text: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert 2 == main(["eval", str(model), "--data", str(text), "--out", str(tmp_path / "out"), *arguments])
    error = capfd.readouterr().err
    assert told in error
    assert 1 == error.count("\n")
    assert before == sorted(tmp_path.rglob("*"))


def test_a_prompt_that_fills_the_context_is_named_and_never_cut(model: Path, tmp_path: Path) -> None:
    problems = [{"id": "short", "problem": "a", "answer": "1"}, {"id": "long", "problem": "a" * 600, "answer": "1"}]
    layouts.lines(tmp_path / "aime2024.jsonl", problems)
    command = ("eval", model, "--benchmark", "aime2024", "--data", tmp_path, "--out", tmp_path / "out")
    done = vergence(*command, check=False)
    assert 2 == done.returncode
    assert "item aime-long: its prompt has" in done.stderr
    assert "the model's context 512" in done.stderr
    assert "instead of 2,048" in vergence(*command, "--limit", "1").stdout  # the budget is cut, and it is said


def test_the_list_needs_no_torch() -> None:
    code = "import sys; from vergence.cli import main; main(['eval', '--list']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert list(BENCHMARKS) == [line.split()[0] for line in done.stdout.splitlines()[1 : 1 + len(BENCHMARKS)]]
    for name, benchmark in BENCHMARKS.items():
        assert f"{benchmark.splits[benchmark.default_split].size:,}" in done.stdout, name


def test_all_about_one() -> None:
    told = vergence("eval", "--list", "mathvista").stdout
    for part in ("2310.02255", "CC BY-SA 4.0", "mathvista-direct@1, mathvista-boxed@1", "testmini", "1,000", "images/"):
        assert part in told
