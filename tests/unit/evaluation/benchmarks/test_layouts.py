"""Each published layout, made by hand, is read as its authors mean it, and asked in the words of its templates.

Whoever changes what a template writes changes these texts, and raises the template's version.
"""

import json
import pickle
from pathlib import Path

import pytest

from vergence.data.layouts.livecodebench import pickled_string, unpacked_tests
from vergence.errors import DataError
from vergence.evaluation.benchmarks.benchmark import Item, Style
from vergence.evaluation.benchmarks.files import read_items
from vergence.evaluation.benchmarks.known import BENCHMARKS, benchmark_named
from vergence.types import AnswerType

from . import layouts

THINK = "\n\nThink step by step, then put "
LETTER = "\n\nAnswer with the letter of the right option alone."
SHORT = "\n\nAnswer with a number, a word or a short phrase alone."


def items_of(name: str, folder: Path, split: str = "", limit: int | None = None) -> list[Item]:
    benchmark = BENCHMARKS[name]
    layouts.MADE[name](folder)
    first = "release_v1" if name == "livecodebench" else benchmark.default_split
    return read_items(benchmark, folder, split or first, limit)


EXPECTED: dict[str, list[tuple[str, str, AnswerType, int]]] = {
    "olympiadbench": [
        ("OE_MM_maths_en_COMP-olympiadbench-7", "$5$", AnswerType.MATH, 2),
        ("OE_TO_maths_en_COMP-olympiadbench-7", "$5$", AnswerType.MATH, 0),
    ],
    "aime2024": [("aime-60", "204", AnswerType.NUMERIC, 0), ("aime-61", "25", AnswerType.NUMERIC, 0)],
    "livecodebench": [("a1", "passes its tests", AnswerType.CODE, 0), ("b2", "passes its tests", AnswerType.CODE, 0)],
    "mmmu": [
        ("mmmu-validation_Art_1", "B", AnswerType.CHOICE, 2),
        ("mmmu-validation_Math_2", "7", AnswerType.MATH, 1),
    ],
    "mathvista": [("mathvista-1", "B", AnswerType.CHOICE, 1), ("mathvista-2", "1.2", AnswerType.NUMERIC, 1)],
    "mathvision": [("mathvision-3", "B", AnswerType.CHOICE, 1), ("mathvision-4", "61", AnswerType.MATH, 1)],
    "mathverse": [("mathverse-1", "B", AnswerType.CHOICE, 1), ("mathverse-2", "12", AnswerType.MATH, 1)],
    "mmmu-pro": [("mmmu-test_Art_1", "C", AnswerType.CHOICE, 1)],
    "hallusionbench": [("VS_ocr_6_0_0", "yes", AnswerType.YESNO, 0), ("VS_ocr_6_2_0", "no", AnswerType.YESNO, 1)],
    "pope": [
        (f"coco_pope_{kind}-{number}", answer, AnswerType.YESNO, 1)
        for kind in ("random", "popular", "adversarial")
        for number, answer in ((1, "yes"), (2, "no"))
    ],
    "gsm8k": [("gsm8k-0", "1018", AnswerType.NUMERIC, 0)],
    "math500": [("math500-test/algebra/1.json", r"\frac{14}{3}", AnswerType.MATH, 0)],
}


def test_every_benchmark_has_a_layout_made_by_hand() -> None:
    assert list(BENCHMARKS) == list(layouts.MADE)
    assert BENCHMARKS.keys() == EXPECTED.keys()


@pytest.mark.parametrize("name", BENCHMARKS)
def test_items(name: str, tmp_path: Path) -> None:
    found = [
        (one.problem.id, one.problem.answer, one.problem.grading.type, len(one.problem.images))
        for one in items_of(name, tmp_path / "data")
    ]
    assert EXPECTED[name] == found


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_first_item_alone(name: str, tmp_path: Path) -> None:
    assert EXPECTED[name][0][0] == items_of(name, tmp_path / "data", limit=1)[0].problem.id


DIRECT = {
    "mmmu": ["<image> shows?\nA. a cat\nB. <image>" + LETTER, "What is <image>?" + SHORT],
    "mathvista": [
        "How large?\nA. 30°\nB. 60°" + LETTER,
        "How far?" + SHORT + " Round the answer to 1 decimal place. Its unit is m.",
    ],
    "mmmu-pro": ["<image> shows?\nA. x\nB. y\nC. z" + LETTER],
    "hallusionbench": ["Is it 6?\n\nAnswer with yes or no."] * 2,
    "pope": [
        f"{question}\n\nAnswer with yes or no."
        for kind in ("random", "popular", "adversarial")
        for question in (f"Is there a {kind} dog?", "Is there a boat?")
    ],
}
ANSWER = THINK + r"the final answer in \boxed{}."
OPTION = THINK + r"the letter of the right option in \boxed{}."
YESNO = THINK + r"yes or no in \boxed{}."
FENCED = " Give all of it in one ```python block at the end."
BOXED = {
    "olympiadbench": ["In <image> and <image>, find it." + ANSWER, "Find it." + ANSWER],
    "aime2024": ["Find $x$." + ANSWER, "Find $y$." + ANSWER],
    "livecodebench": [
        "Add two numbers.\n\nWrite a Python program that reads from standard input and prints the answer." + FENCED,
        "Add them.\n\n```python\nclass Solution:\n    def add(self, a, b):\n```\n\n"
        "Complete the code above so that it solves the problem." + FENCED,
    ],
    "mmmu": ["<image> shows?\nA. a cat\nB. <image>" + OPTION, "What is <image>?" + ANSWER],
    "mathvista": [
        "How large?\nA. 30°\nB. 60°" + OPTION,
        "How far?" + ANSWER + " Round the answer to 1 decimal place. Its unit is m.",
    ],
    "mathvision": ["Which one?\n<image>\nA\nB\nC\nD\nE" + OPTION, "How many?" + ANSWER],
    "mathverse": ["How large?\nChoices:\nA:30°\nB:60°" + OPTION, "What is y?" + ANSWER],
    "mmmu-pro": ["<image> shows?\nA. x\nB. y\nC. z" + OPTION],
    "hallusionbench": ["Is it 6?" + YESNO] * 2,
    "pope": [text.replace("\n\nAnswer with yes or no.", YESNO) for text in DIRECT["pope"]],
    "gsm8k": ["How many?" + ANSWER],
    "math500": ["Sum?" + ANSWER],
}
LABELS = {name: (name, name) for name in BENCHMARKS} | {
    name: (f"{name}-direct", f"{name}-boxed") for name in ("mmmu", "mathvista", "mmmu-pro", "hallusionbench", "pope")
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_words_of_version_one(name: str, tmp_path: Path) -> None:
    benchmark, items = BENCHMARKS[name], items_of(name, tmp_path / "data")
    brief, thoughtful = benchmark.templates[Style.DIRECT], benchmark.templates[Style.BOXED]
    assert tuple(f"{label}@1" for label in LABELS[name]) == (brief.label, thoughtful.label)
    assert BOXED[name] == [thoughtful.write(item) for item in items]
    assert DIRECT.get(name, BOXED[name]) == [brief.write(item) for item in items]


def test_the_question_of_the_vision_part_is_in_its_picture(tmp_path: Path) -> None:
    (item,) = items_of("mmmu-pro", tmp_path / "data", "vision")
    template = BENCHMARKS["mmmu-pro"].templates[Style.BOXED]
    assert "The picture shows a question and its options." + OPTION == template.write(item)
    assert ("C", 1) == (item.problem.answer, len(item.problem.images))


def test_groups_of_tables(tmp_path: Path) -> None:
    choice, _ = items_of("mathvista", tmp_path / "mathvista")
    assert (("GeoQA+",), ("geometry reasoning", "algebra")) == (choice.groups["source"], choice.groups["skills"])
    art, _ = items_of("mmmu", tmp_path / "mmmu")
    assert (("Art and Design",), ("Art",)) == (art.groups["discipline"], art.groups["subject"])
    task, _ = items_of("livecodebench", tmp_path / "code")
    assert {"difficulty": ("easy",), "platform": ("atcoder",), "month": ("2024-05",)} == task.groups


def test_the_hubs_files_of_aime_hold_the_same(tmp_path: Path) -> None:
    layouts.aime2024_hub(tmp_path)
    (item,) = read_items(BENCHMARKS["aime2024"], tmp_path, "test", None)
    assert ("aime-60", "204", "Find $x$.") == (item.problem.id, item.problem.answer, item.problem.question)


def test_published_sizes() -> None:
    sizes = {name: one.splits[one.default_split].size for name, one in BENCHMARKS.items()}
    assert {"aime2024": 30, "math500": 500, "gsm8k": 1319, "mathvista": 1000, "mathvision": 304, "mathverse": 3940} == {
        name: sizes[name] for name in ("aime2024", "math500", "gsm8k", "mathvista", "mathvision", "mathverse")
    }
    assert (900, 1730, 1129, 9000, 1055) == tuple(
        sizes[name] for name in ("mmmu", "mmmu-pro", "hallusionbench", "pope", "livecodebench")
    )
    assert 8476 - 1748 == sizes["olympiadbench"]  # the paper's total without its proofs
    assert 1516 == BENCHMARKS["olympiadbench"].splits["open-en"].size


# ── tests of programs ────────────────────────────────────────────────────────────────────────────────────────────


def test_tests_are_read_when_a_program_is_graded(tmp_path: Path) -> None:
    printed, called = items_of("livecodebench", tmp_path / "data")
    assert "" == printed.problem.grading.tests
    graded = BENCHMARKS["livecodebench"].graded
    assert {
        "kind": "stdin",
        "cases": [{"input": "1 2\n", "output": "3\n"}, {"input": "5 5\n", "output": "10\n"}],
        "tolerance": 0,
    } == json.loads(graded(printed).grading.tests)
    assert {
        "kind": "call",
        "function": "add",
        "cases": [{"input": [[1, 2], 3], "output": 6}],
        "tolerance": 0,
    } == json.loads(graded(called).grading.tests)


class Trap:
    def __reduce__(self):
        return (Path.touch, (Path("trap"),))


@pytest.mark.parametrize("content", [Trap(), ["a", "b"], 7, b"bytes", {"a": "b"}])
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_nothing_is_unpickled(content: object, protocol: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="a pickle"):
        pickled_string(pickle.dumps(content, protocol))
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "x", "ü" * 300, "[{}]" * 30_000])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickled_string_is_cut_out(text: str, protocol: int) -> None:
    assert text == pickled_string(pickle.dumps(text, protocol))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"public_test_cases": "[]", "private_test_cases": "[]"}, "has no test"),
        ({"public_test_cases": "[1]", "private_test_cases": "[]"}, "must be a list of tests"),
        ({"public_test_cases": "[]", "private_test_cases": "%%%"}, "cannot be read"),
        ({"public_test_cases": "[]"}, "must be a list of tests"),
        (
            {"public_test_cases": '[{"input": "", "output": "", "testtype": "x"}]', "private_test_cases": "[]"},
            "must be stdin or functional",
        ),
        (
            {
                "public_test_cases": '[{"input": "a", "output": "1", "testtype": "functional"}]',
                "private_test_cases": "[]",
                "metadata": '{"func_name": "f"}',
            },
            "a test of a function cannot be read",
        ),
    ],
)
def test_bad_tests_are_told_in_one_line(row: dict, message: str) -> None:
    with pytest.raises(DataError, match=f"^here: .*{message}"):
        unpacked_tests(row, "here")


# ── what is wrong ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["MATH-500", "math500", "Math 500"])
def test_names_are_read_generously(name: str) -> None:
    assert "math500" == benchmark_named(name).name


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("mmmu", "validation", "nothing of MMMU"),
        ("mmmu", "test", "--split test: MMMU has validation, dev"),
        ("livecodebench", "release_v2", r"expected test.jsonl \+ test2.jsonl"),
    ],
)
def test_a_folder_without_the_files_is_told_what_is_expected(name, split, message, tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=message):
        read_items(BENCHMARKS[name], tmp_path, split, None)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder; AIME 2024 is read from aime2024\.jsonl or"):
        read_items(BENCHMARKS["aime2024"], tmp_path / "absent", "test", None)


def test_equal_ids(tmp_path: Path) -> None:
    layouts.lines(tmp_path / "aime2024.jsonl", [{"id": "1", "problem": "x", "answer": "1"}] * 2)
    with pytest.raises(DataError, match="two items of the id 'aime-1'"):
        read_items(BENCHMARKS["aime2024"], tmp_path, "test", None)


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    layouts.hallusionbench(tmp_path)
    (tmp_path / "hallusion_bench/VS/ocr/6_2.png").unlink()
    with pytest.raises(DataError, match=r"HallusionBench.json, .*6_2.png: no such file"):
        read_items(BENCHMARKS["hallusionbench"], tmp_path, "all", None)
    assert 1 == len(read_items(BENCHMARKS["hallusionbench"], tmp_path, "all", 1))
