"""`vergence data` from the command line: planted faults are named, the clean set is clean, overlaps are found."""

import base64
import hashlib
import io
import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from families import tiny_policy
from PIL import Image
from unit.data.formats import write_lines, write_parquet

from vergence.cli import main
from vergence.data.lint.finding import Fault
from vergence.data.lint.prompts import Limits, Prompts
from vergence.data.problems import read_problems
from vergence.data.source import Source

FINE = {"question": "how many?", "answer": "3", "type": "numeric"}


def noise(seed: int, size: tuple[int, int] = (40, 40), kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


PLANTED: list[tuple[dict[str, Any], Fault | None]] = [
    ({"id": "fine", "images": ["fine.png"]}, None),
    ({"id": "fine-text", "images": [], "question": "what is one and two?"}, None),
    ({"id": "gone", "images": ["fine.png", "gone.png"]}, Fault.MISSING),
    ({"id": "no-picture", "images": ["text.png"]}, Fault.BROKEN),
    ({"id": "cut", "images": ["cut.png"]}, Fault.TRUNCATED),
    ({"id": "cut-jpeg", "images": ["cut.jpg"]}, Fault.TRUNCATED),
    ({"id": "ribbon", "images": ["ribbon.png"]}, Fault.ABSURD),
    ({"id": "online", "images": ["https://example.org/a.png"]}, Fault.MISSING),
    ({"id": "silent", "images": ["fine.png"], "question": "  "}, Fault.QUESTION),
    ({"id": "unanswered", "images": [], "answer": "  "}, Fault.ROW),
    ({"id": "unreadable", "images": [], "question": "say a number", "answer": "several"}, Fault.GOLD),
    ({"id": "no-option", "images": [], "answer": "E", "type": "choice", "options": ["x", "y"]}, Fault.ROW),
    ({"id": "marks", "images": ["fine.png"], "question": "<image> or <image>?"}, Fault.MARKS),
    ({"id": "fine", "images": [], "question": "another with this id?"}, Fault.SAME_ID),
    ({"id": "again", "images": ["copy.png"]}, Fault.SAME),
    ({"id": "against", "images": ["fine.png"], "answer": "4"}, Fault.CONTRADICTION),
    ({"id": "long", "images": ["fine.png"] * 40}, Fault.TOO_LONG),
    ({"id": "tight", "images": ["fine.png"] * 33}, Fault.NO_ROOM),
    ({"id": "unknown-key", "images": [], "anwser": "3"}, Fault.ROW),
]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with every fault, and beside it a model whose context is short."""
    folder = tmp_path_factory.mktemp("planted")
    (folder / "fine.png").write_bytes(noise(0))
    (folder / "copy.png").write_bytes(noise(0))
    (folder / "text.png").write_text("this is no picture")
    (folder / "cut.png").write_bytes(noise(1)[:-2000])
    (folder / "cut.jpg").write_bytes(noise(1, kind="JPEG")[:-1000])
    (folder / "ribbon.png").write_bytes(noise(2, (1005, 5)))
    write_lines(folder / "set.jsonl", [FINE | row for row, _ in PLANTED])
    with (folder / "set.jsonl").open("a") as file:
        file.write('{"id": "torn", "ques\n')
    tiny_policy("qwen2_5_vl", folder)
    config = folder / "qwen2_5_vl-0" / "config.json"
    config.write_text(re.sub(r'("max_position_embeddings":) \d+', r"\1 640", config.read_text()))
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


@pytest.fixture(scope="module")
def checked(planted: Path) -> Path:
    out = planted / "out"
    command = ["data", "check", planted / "set.jsonl", "--model", planted / "qwen2_5_vl-0", "--max-new-tokens", 100]
    assert 0 == main([*map(str, command), "--out", str(out), "--quiet"])
    return out


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_planted_fault_is_named_and_nothing_else(checked: Path) -> None:
    expected = [(place, str(fault)) for place, (_, fault) in enumerate(PLANTED) if fault]
    expected.append((len(PLANTED), "unreadable row"))
    assert expected == [(row["row"], row["fault"]) for row in lines(checked / "findings.jsonl")]
    for row in lines(checked / "findings.jsonl"):
        assert f"line {row['row'] + 1}" in row["where"]
        assert row["text"]
        assert "\n" not in row["text"]
    (tight,) = (row for row in lines(checked / "findings.jsonl") if row["fault"] == str(Fault.NO_ROOM))
    # 16 tokens and 2 around them for each picture, a token for each letter, one that begins
    length = 33 * 18 + len("how many?") + 1
    assert f"{length} tokens leave {640 - length} of 640; a response may have 100" == tight["text"]


def test_the_clean_set_has_the_rest_and_is_clean_itself(
    checked: Path, planted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = lines(checked / "clean.jsonl")
    assert ["fine", "fine-text"] == [row["id"] for row in clean]
    assert [FINE["question"], ["../fine.png"], "numeric"] == [clean[0][key] for key in ("question", "images", "type")]
    assert [1, 0] == [len(problem.images) for problem in read_problems(checked / "clean.jsonl", decode=True)]
    again = planted / "again"
    model = planted / "qwen2_5_vl-0"
    code, out, _ = said(capsys, "data", "check", checked / "clean.jsonl", "--strict", "--model", model, "--out", again)
    assert (0, "") == (code, (again / "findings.jsonl").read_text())
    assert "clean set:" in out
    assert (checked / "clean.jsonl").read_text().replace("../fine", "../fine") == (again / "clean.jsonl").read_text()


def test_the_page_shows_what_it_speaks_of(checked: Path) -> None:
    page = (checked / "report.html").read_text()
    assert page.isascii()
    for fault in {fault for _, fault in PLANTED if fault}:
        assert f'id="{str(fault).replace(" ", "-").replace(",", "")}"' in page
    pictures = re.findall(r'src="data:image/\w+;base64,([^"]+)"', page)
    assert noise(0) in [base64.b64decode(picture) for picture in pictures], "the marked picture itself"
    assert "picture cannot be read" in page, "where a picture is broken"
    assert "<script" not in page
    assert [] == re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page), "nothing from elsewhere"


def test_findings_are_a_result_and_an_error_only_if_asked_for(
    planted: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Without a model no length is counted."""
    code, out, err = said(capsys, "data", "check", planted / "set.jsonl", "--out", tmp_path / "a")
    assert (0, "") == (code, err)
    assert "20 rows, 85 pictures" in out
    assert re.search(r"truncated image +2 ", out)
    code, _, err = said(capsys, "data", "check", planted / "set.jsonl", "--strict", "--out", tmp_path / "b", "--quiet")
    assert 1 == code
    assert re.match(r"vergence: .*set\.jsonl: 16 findings in 20 rows; see .*report\.html\n$", err)
    assert (tmp_path / "b" / "clean.jsonl").is_file(), "the result is there all the same"


def test_a_folder_that_holds_something_else_is_left_alone(
    planted: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    code, _, err = said(capsys, "data", "check", planted / "set.jsonl", "--out", tmp_path)
    assert (2, ["mine.txt"]) == (code, [path.name for path in tmp_path.iterdir()])
    assert "holds no findings.jsonl" in err
    code, _, err = said(capsys, "data", "check", planted / "none.jsonl", "--out", tmp_path / "a")
    assert (2, False) == (code, (tmp_path / "a").exists())
    assert "no such data file" in err
    code, _, err = said(capsys, "data", "check", planted / "set.jsonl", "--layout", "mine", "--out", tmp_path / "a")
    assert 2 == code
    assert "known are vergence, geometry3k" in err


def test_another_layout_becomes_our_own_with_its_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contents = [noise(1), noise(2)[:-2000], noise(3)]
    rows = [
        {"images": [{"bytes": content, "path": None}], "problem": f"<image>Find {number}.", "answer": "\\frac12"}
        for number, content in enumerate(contents)
    ]
    path = write_parquet(tmp_path / "train.parquet", rows)
    out = tmp_path / "out"
    assert 0 == said(capsys, "data", "check", path, "--layout", "geometry3k", "--out", out)[0]
    problems = read_problems(out / "clean.jsonl", decode=True)
    assert ["geometry3k-0", "geometry3k-2"] == [problem.id for problem in problems]
    assert [noise(1), noise(3)] == [Path(one.images[0].path).read_bytes() for one in problems]
    assert {out / "images"} == {Path(one.images[0].path).parents[1] for one in problems}
    assert ("<image>Find 0.", "\\frac12", "math") == (
        problems[0].question,
        problems[0].answer,
        problems[0].grading.type,
    )


def test_pairs_are_checked_as_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = {"question": "sum?", "chosen": "15", "rejected": "16"}
    rows = [asked, asked | {"rejected": "17"}, asked | {"chosen": ""}, asked | {"rejected": "15"}, asked]
    write_lines(tmp_path / "pairs.jsonl", rows)
    assert 0 == said(capsys, "data", "check", tmp_path / "pairs.jsonl", "--out", tmp_path / "out")[0]
    found = [(row["row"], row["fault"]) for row in lines(tmp_path / "out" / "findings.jsonl")]
    assert [(2, "no pair"), (3, "no pair"), (4, "duplicate")] == found
    assert [row | {"images": []} for row in rows[:2]] == lines(tmp_path / "out" / "clean.jsonl")


# ── what cannot stop it ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("place", [0, 1, 2])
def test_nothing_in_a_row_ends_the_check(place: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where the first row is the one; every other row is in the clean set."""
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "fine.png").write_bytes(noise(0))
    (tmp_path / "drawing.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n")
    row = {"question": "how many?", "images": ["fine.png"], "answer": "3"}
    hostile = [
        "{",
        "[" * 100_000,
        json.dumps(row | {"id": "half", "question": "\udfff?"}),
        json.dumps(row | {"id": "number", "answer": [1]}),
        json.dumps(row | {"id": "\x1b]0;pwned\x07", "images": ["fifo.png"]}),
        *(json.dumps(row | {"id": name, "images": [name]}) for name in ("/dev/zero", ".", "a\x00b", "x" * 5000)),
        json.dumps(row | {"id": "drawing", "images": ["drawing.png"]}),
    ]
    hostile.insert(place, json.dumps(row | {"id": "good"}))
    (tmp_path / "set.jsonl").write_text("\n".join(hostile) + "\n")
    code, out, err = said(capsys, "data", "check", tmp_path / "set.jsonl", "--out", tmp_path / "out")
    assert (0, "") == (code, err)
    assert "\x1b" not in out
    assert ["good"] == [one["id"] for one in lines(tmp_path / "out" / "clean.jsonl")]
    found = lines(tmp_path / "out" / "findings.jsonl")
    assert [index for index in range(len(hostile)) if index != place] == [one["row"] for one in found]
    assert {"unreadable row", "missing image", "broken image"} == {one["fault"] for one in found}


def test_the_kind_of_a_set_is_told_by_its_first_readable_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = {"question": "sum?", "chosen": "15", "rejected": "16"}
    (tmp_path / "pairs.jsonl").write_text("torn\n" + json.dumps(pair) + "\n")
    assert 0 == said(capsys, "data", "check", tmp_path / "pairs.jsonl", "--out", tmp_path / "out")[0]
    assert [(0, "unreadable row")] == [(one["row"], one["fault"]) for one in lines(tmp_path / "out" / "findings.jsonl")]


def test_a_row_that_a_library_chokes_on_is_a_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is raised, wherever: a layout, the graders, a tokenizer."""
    write_lines(tmp_path / "set.jsonl", [FINE | {"id": str(one), "question": f"{one}?"} for one in range(3)])

    def fails_on(id_: str, inner: Any) -> Any:
        def check(problems: Any, *rest: Any) -> Any:
            if any(one.id == id_ for one in (problems if isinstance(problems, Sequence) else [problems])):
                raise ZeroDivisionError("of a library")
            return inner(problems, *rest)

        return check

    def chokes(draft: Any) -> Any:
        def read(row: Any, place: Any) -> Any:
            return 1 / 0 if row["id"] == "0" else draft(row, place)

        return read

    from vergence.commands import data as command
    from vergence.data.layouts.ours import OURS

    monkeypatch.setattr(command, "faults_in", fails_on("1", command.faults_in))
    monkeypatch.setattr(
        command, "prompts_for", lambda *_: Prompts(fails_on("2", lambda problem: 1), len, Limits(10, 1))
    )
    monkeypatch.setattr(
        command, "source_for", lambda *_: Source(tmp_path / "set.jsonl", replace(OURS, draft=chokes(OURS.draft)))
    )
    out = tmp_path / "out"
    assert 0 == said(capsys, "data", "check", tmp_path / "set.jsonl", "--model", tmp_path, "--out", out)[0]
    found = [(one["id"], one["fault"]) for one in lines(out / "findings.jsonl")]
    assert [("", "unreadable row"), ("1", "answer that cannot be graded"), ("2", "no prompt")] == found


def test_what_is_done_to_a_picture_is_told_and_is_no_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = Image.open(io.BytesIO(noise(1)))
    plain.save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000).save(tmp_path / "deep.png")
    plain.convert("CMYK").save(tmp_path / "ink.jpg")
    plain.save(tmp_path / "moving.gif", save_all=True, append_images=[plain.rotate(90)])
    (tmp_path / "plain.png").write_bytes(noise(2))
    names = ["turned.jpg", "clear.png", "deep.png", "ink.jpg", "moving.gif", "plain.png"]
    write_lines(tmp_path / "set.jsonl", [FINE | {"id": name, "images": [name, "plain.png"]} for name in names])
    code, out, _ = said(capsys, "data", "check", tmp_path / "set.jsonl", "--out", tmp_path / "out", "--strict")
    assert 0 == code, "they are notes"
    found = [
        (one["id"], one["fault"], one["text"], one["left_out"]) for one in lines(tmp_path / "out" / "findings.jsonl")
    ]
    kinds = [
        "turned image",
        "transparent image",
        "image of more than 8 bits",
        "image in CMYK",
        "image of several frames",
    ]
    assert [(name, kind, name, False) for name, kind in zip(names, kinds, strict=False)] == found
    assert all(re.search(rf"{kind} +1 ", out) for kind in kinds)
    assert names == [one["id"] for one in lines(tmp_path / "out" / "clean.jsonl")]


def test_a_column_that_no_row_has_is_a_finding_of_the_check_and_an_error_of_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row may lack a column; where all rows of all files do, it is misspelt."""
    tiny_policy("llava", tmp_path)
    write_lines(tmp_path / "a.jsonl", [{"q": f"{one}?", "a": "1"} for one in range(4)])
    columns = '[data.columns]\nquestion = "q"\nanswer = "a"\nimages = "picture"\n'
    text = RECIPE.replace('[grading]\nform = "boxed"\n', "")
    path = tmp_path / "a.jsonl"
    (tmp_path / "recipe.toml").write_text(
        text.format(train=path, tuning=path, keys=f'layout = "columns"\n{columns}', model=tmp_path / "llava-0")
    )
    command = ["data", "check", path, "--recipe", tmp_path / "recipe.toml", "--out", tmp_path / "out"]
    assert 0 == said(capsys, *command)[0]
    (found,) = lines(tmp_path / "out" / "findings.jsonl")
    assert ("column that no row has", '"picture"', False) == (found["fault"], found["text"], found["left_out"])
    code, _, err = said(capsys, "run", tmp_path / "recipe.toml", "--out", tmp_path / "run")
    assert (2, False) == (code, (tmp_path / "run").exists())
    assert 'no row of any data file has the column "picture"' in err


# ── overlap ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_problems_of_a_benchmark_are_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    question = "how many of the seven balls in the box are red if three of them are blue and one is green"
    Image.open(io.BytesIO(noise(5, (90, 60)))).resize((180, 120)).save(tmp_path / "copy.jpg", quality=60)
    (tmp_path / "b.png").write_bytes(noise(5, (90, 60)))
    asked = {"images": [], "answer": "3"}
    train = [
        asked | {"id": "copied", "question": f"Think first. {question.upper()}?"},
        asked | {"id": "own", "question": "how many trees stand on the hill behind the old house by the river"},
        asked | {"id": "seen", "question": "what is it", "images": ["copy.jpg"]},
    ]
    bench = [{"question": question, "answer": "so it is 3\n#### 3"}, {"question": "say it", "answer": "#### 1"}]
    write_lines(tmp_path / "train.jsonl", train)
    write_lines(tmp_path / "gsm8k.jsonl", bench)
    write_lines(tmp_path / "ours.jsonl", [asked | {"id": "x", "question": "what colour is it", "images": ["b.png"]}])
    against = ["--against", f"gsm8k={tmp_path}/gsm8k.jsonl", tmp_path / "ours.jsonl"]
    code, out, _ = said(capsys, "data", "overlap", tmp_path / "train.jsonl", *against, "--out", tmp_path / "out")
    assert 0 == code
    assert "3 rows against 3 problems" in out
    found = [(row["train"]["id"], row["kind"], row["left_out"]) for row in lines(tmp_path / "out" / "overlaps.jsonl")]
    assert [("copied", "same problem", True), ("seen", "same picture, other question", False)] == found
    assert ["own", "seen"] == [row["id"] for row in lines(tmp_path / "out" / "clean.jsonl")]
    page = (tmp_path / "out" / "report.html").read_text()
    assert 2 == page.count("data:image/jpeg") + page.count("data:image/png"), "both pictures of the pair"
    assert page.count(question) == 1
    assert page.count(question.upper()) == 1
    strict = ["data", "overlap", tmp_path / "train.jsonl", *against, "--strict", "--quiet", "--out", tmp_path / "again"]
    code, _, err = said(capsys, *strict)
    assert 1 == code
    assert "1 of 3 rows are in the benchmarks" in err
    code, _, err = said(capsys, "data", "overlap", tmp_path / "train.jsonl", "--against", tmp_path / "none.jsonl")
    assert 2 == code
    assert "none.jsonl: no such data file" in err


def test_rows_that_cannot_be_read_do_not_end_the_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = {"images": [], "answer": "3", "question": "how many trees stand on the hill behind the old house"}
    write_lines(tmp_path / "bench.jsonl", [asked | {"id": "x", "question": "what colour is it"}])
    path = write_lines(tmp_path / "train.jsonl", [asked | {"id": "good"}, asked | {"id": "number", "answer": [1]}])
    with path.open("a") as file:
        file.write("torn\n")
    command = ["data", "overlap", path, "--against", tmp_path / "bench.jsonl", "--out", tmp_path / "out"]
    code, out, _ = said(capsys, *command)
    assert 0 == code
    assert ["good"] == [row["id"] for row in lines(tmp_path / "out" / "clean.jsonl")]
    assert "2 rows cannot be read and are left out" in out
    assert "(1 rows, 2 left out)" in " ".join(out.split())


# ── a run ────────────────────────────────────────────────────────────────────────────────────────────────────────

RECIPE = """
name = "shown"
device = "cpu"
[grading]
form = "boxed"
[data]
type = "files"
train = "{train}"
tuning = "{tuning}"
test = "{tuning}"
{keys}
[[stage]]
type = "load"
path = "{model}"
[[stage]]
type = "grpo"
steps = 2
prompts_per_step = 3
minibatch_size = 12
rollouts_every = 1
sampling = {{num_completions = 4, max_new_tokens = 5}}
evaluation = {{problems = 2, blank_problems = 0}}
reward = {{preset = "rules"}}
monitor = {{mode = "off"}}
"""


def shown_rows(seed: int) -> list[dict[str, Any]]:
    return [
        {
            "images": [{"bytes": noise(10 * seed + number), "path": None}],
            "problem": f"<image>find {number}.",
            "answer": str(number),
        }
        for number in range(6)
    ]


def run_of(folder: Path, **names: object) -> Path:
    (folder / "recipe.toml").write_text(RECIPE.format(**names))
    assert 0 == main(["run", str(folder / "recipe.toml"), "--out", str(folder / "run"), "--quiet"])
    return folder / "run"


def without_times(run: Path) -> list[dict[str, Any]]:
    times = re.compile(r"seconds|memory|tokens_per_second|cpu_")
    return [{key: value for key, value in row.items() if not times.search(key)} for row in lines(run / "metrics.jsonl")]


@pytest.mark.slow
def test_a_run_learns_the_same_from_parquet_and_from_its_clean_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reads pictures out of a published layout when they are needed, the other files beside JSON lines."""
    monkeypatch.setenv("VERGENCE_CACHE", str(tmp_path / "cache"))
    tiny_policy("llava", tmp_path)
    model = tmp_path / "llava-0"
    for part, seed in (("train", 1), ("tuning", 2)):
        write_parquet(tmp_path / f"{part}.parquet", shown_rows(seed), group=2)
        command = ["data", "check", str(tmp_path / f"{part}.parquet"), "--layout", "geometry3k", "--quiet"]
        assert 0 == main([*command, "--out", str(tmp_path / part)])
    runs = []
    for name, keys, place in (("one", 'layout = "geometry3k"', "{}.parquet"), ("two", "", "{}/clean.jsonl")):
        (tmp_path / name).mkdir()
        files = {part: tmp_path / place.format(part) for part in ("train", "tuning")}
        runs.append(run_of(tmp_path / name, **files, keys=keys, model=model))
    assert without_times(runs[0]) == without_times(runs[1])
    weights = [(run / "final" / "model.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1]
    kept = [path for path in (tmp_path / "cache" / "images").rglob("*") if path.is_file()]
    assert kept
    assert all(path.stem == hashlib.sha256(path.read_bytes()).hexdigest() for path in kept)


@pytest.mark.parametrize(
    ("question", "said_of_it"),
    [
        ("<image><image>max?", "the question says 2 times where a picture stands (<image>), and the row has 1"),
        ("max?<video>", "no prompt: problem 3: its question holds <video>, which this model reads as a picture"),
        ("max? " + "a" * 500, "longer than the context: 524 tokens, the context has 512"),
        ("max? " + "a" * 481, "no room for a response: 505 tokens leave 7 of 512; a response may have 8"),
    ],
)
def test_a_prompt_that_cannot_be_used_is_refused_before_anything_is_written(
    question: str, said_of_it: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A token for each letter, one that begins, and 18 of a picture: 16, and two around them."""
    path, recipe = asked_at(tmp_path, question)
    capsys.readouterr()  # what transformers says of the model
    code, _, err = said(capsys, "run", recipe, "--out", tmp_path / "run", "--quiet")
    assert (2, False) == (code, (tmp_path / "run").exists())
    assert f"{path}, line 4: {said_of_it}" in err
    assert 1 == len(err.strip().splitlines())


def test_prompts_that_are_too_long_are_left_out_if_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others keep their names and are drawn as ever; without enough of them nothing is begun."""
    monkeypatch.setenv("VERGENCE_CACHE", str(tmp_path / "cache"))
    path, recipe = asked_at(tmp_path, "max? " + "a" * 500, "filter_overlong_prompts = true\n")
    all_of_them = ["--set", "stage.grpo.prompts_per_step=5", "stage.grpo.minibatch_size=20", "stage.grpo.steps=1"]
    code, out, _ = said(capsys, "run", recipe, "--out", tmp_path / "run", *all_of_them)
    assert 0 == code
    assert f"left out of {path} (train): 1 rows".replace(" ", "") in "".join(out.split()), (
        "lines may be broken anywhere"
    )
    drawn = {row["problem"] for name in (tmp_path / "run" / "rollouts").rglob("*.jsonl") for row in lines(name)}
    assert drawn <= {"0", "1", "2", "4", "5"}, "of the five that a step asks for"
    assert drawn
    tight = ["--set", "stage.grpo.prompts_per_step=6", "stage.grpo.minibatch_size=24"]
    code, _, err = said(capsys, "run", recipe, "--out", tmp_path / "other", *tight)
    assert (2, False) == (code, (tmp_path / "other").exists())
    assert "the training data has 5 problems" in err


def asked_at(folder: Path, question: str, keys: str = "") -> tuple[Path, Path]:
    """A data file of six rows, the fourth of which asks this, and a recipe over it and a model of 512 tokens."""
    tiny_policy("qwen2_5_vl", folder)
    (folder / "fine.png").write_bytes(noise(0))
    rows = [FINE | {"id": str(one), "question": f"max {one}?", "images": ["fine.png"]} for one in range(6)]
    rows[3]["question"] = question
    write_lines(folder / "train.jsonl", rows)
    write_lines(folder / "tuning.jsonl", rows[:3])
    names = {"train": folder / "train.jsonl", "tuning": folder / "tuning.jsonl", "model": folder / "qwen2_5_vl-0"}
    text = RECIPE.replace("max_new_tokens = 5", "max_new_tokens = 8")
    (folder / "recipe.toml").write_text(text.format(**names, keys=keys))
    return names["train"], folder / "recipe.toml"


def test_a_set_with_a_fault_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERGENCE_CACHE", str(tmp_path / "cache"))
    tiny_policy("llava", tmp_path)
    rows = shown_rows(1)
    rows[4]["images"][0]["bytes"] = rows[4]["images"][0]["bytes"][:-1500]
    path = write_parquet(tmp_path / "train.parquet", rows)
    names = {"train": path, "tuning": path, "keys": 'layout = "geometry3k"', "model": tmp_path / "llava-0"}
    (tmp_path / "recipe.toml").write_text(RECIPE.format(**names))
    code, _, err = said(capsys, "run", tmp_path / "recipe.toml", "--out", tmp_path / "run", "--quiet")
    assert (2, False, False) == (code, (tmp_path / "run").exists(), (tmp_path / "cache" / "images").exists())
    assert re.search(r"train\.parquet, row 5: image .*cannot be decoded", err)
