"""Labelled pairs for the graders, made from real data: `python scripts/grading_pairs.py DATA OUT`.

    python scripts/grading_pairs.py ../shared/data pairs.jsonl
    vergence grade pairs.jsonl --check

DATA is the folder that holds `text/`, `annotations/` and `mathvision_testmini/`. The pairs contain its data, so OUT
lies outside the repository. No label comes from a grader of ours:

- GSM8K: the solutions of four models, labelled by those who published them.
- MATH-500, OlympiadBench, AIME 2024: a right answer rewritten by a rule that keeps its value (another spelling, a
  sentence around it, its list in another order, a fraction as its decimal) is right; one rewritten by a rule that
  changes its value (a digit, a sign, an operand, an element left out, a pair turned round) is wrong; and of two rows'
  answers that are integers or simple fractions Python's own arithmetic says whether they are equal.
- MATH-Vision, MathVista: an option named by letter, by text, by both, or another one; two at once.
- HallusionBench: yes and no, with the words that models put around them.
"""

import json
import random
import re
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

Pair = dict[str, Any]

SENTENCES = (
    r"\boxed{%s}",
    r"We get $\boxed{%s}$.",
    "<think>Let me see. It could be \\boxed{17}, or not.</think>The result: \\boxed{%s}",
    "The final answer is $%s$. I hope it is correct.",
    "So we are done.\n\n**Answer:** $%s$",
    "<answer>%s</answer>",
    r"Hence \[ \boxed{ %s } \]",
)


def pair(source: str, kind: str, answer: str, prediction: str, label: bool, **more: Any) -> Pair:
    """One row of the file."""
    row: Pair = {"source": source, "type": kind, "answer": answer, "prediction": prediction, "label": label}
    return row | more


def rows_of(path: Path) -> list[dict[str, Any]]:
    """JSON lines, or a JSON list or object of rows."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    found = json.loads(text)
    return list(found.values()) if isinstance(found, dict) else list(found)


def gsm8k(data: Path) -> Iterator[Pair]:
    """Real solutions with their published labels, as numbers and as mathematics."""
    for row in rows_of(data / "text" / "gsm8k_model_solutions_labelled.jsonl"):
        gold = row["ground_truth"].rsplit("\nA: ", 1)[-1]
        for model, said in row.items():
            if isinstance(said, dict):
                for kind in ("numeric", "math"):
                    yield pair(f"gsm8k/{model}", kind, gold, said["solution"], said["is_correct"])


# --- rules that keep a value


def respelled(gold: str) -> Iterator[str]:
    r"""The same answer in another spelling."""
    yield gold.replace(r"\frac", r"\dfrac")
    yield gold.replace("(", r"\left(").replace(")", r"\right)") if r"\left" not in gold and "]" not in gold else gold
    yield re.sub(r"(?<=[-+=,])(?!\\)", r"\\;", gold)
    yield f"${gold}$"
    yield gold.replace(r"\sqrt{2}", r"\sqrt2").replace(r"\sqrt{5}", r"\sqrt5")
    yield gold.replace("-", "\N{MINUS SIGN}").replace(r"\pi", "π")
    simple = re.fullmatch(r"(-?)\\d?frac\{([0-9]+)\}\{([0-9]+)\}", gold)
    if simple:
        sign, above, below = simple.groups()
        yield f"{sign}{above}/{below}"
        yield rf"{sign}\frac{{{3 * int(above)}}}{{{3 * int(below)}}}"
        yield f"{sign}({above})/({below})"
        decimal = Fraction(int(above), int(below))
        if re.fullmatch(r"2*5*", "".join(str(prime) for prime in _primes(decimal.denominator))):
            yield sign + str(float(decimal))
    if re.fullmatch(r"-?[0-9]+", gold):
        yield f"{gold}.0"
        yield f"{int(gold):,}"
        yield f"x = {gold}"
        yield rf"{gold} \text{{ units}}"
        yield rf"\frac{{{6 * int(gold)}}}{{6}}"
        yield f"{int(gold) - 5}+5"
    root = re.fullmatch(r"([0-9]+) ?\\sqrt\{([0-9]+)\}", gold)
    if root:
        yield rf"\sqrt{{{int(root.group(1)) ** 2 * int(root.group(2))}}}"
    if gold.endswith(r"^\circ"):
        yield gold.removesuffix(r"^\circ")
        yield gold.removesuffix(r"^\circ") + r"\text{ degrees}"
    if gold.startswith(r"\text{"):
        yield gold.removeprefix(r"\text{").removesuffix("}")
    terms = re.fullmatch(r"([0-9a-z^]+) ?\+ ?([0-9a-z^]+)", gold)
    if terms:
        yield f"{terms.group(2)} + {terms.group(1)}"


def _primes(number: int) -> list[int]:
    found = []
    for prime in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47):
        while number % prime == 0:
            found.append(prime)
            number //= prime
    return sorted(found) + ([number] if number > 1 else [])


# --- rules that change it


def spoiled(gold: str) -> Iterator[str]:
    """Another value, near the right one."""
    digits = list(re.finditer(r"[0-9]+", gold))
    if digits and not re.search(
        r"[_^]", gold
    ):  # one more in one place is another value, in a base or a power too often
        one = digits[-1]
        yield gold[: one.start()] + str(int(one.group()) + 1) + gold[one.end() :]
    if re.fullmatch(r"[0-9]+", gold) and gold != "0":
        yield f"-{gold}"
        yield f"{gold}0"
        yield f"{gold},{gold}" if len(gold) < 3 else f"({gold}, {gold})"
        yield rf"\frac{{1}}{{{int(gold) + 1}}}"
        yield f"{gold}.5"
        yield f"{gold} x"
    simple = re.fullmatch(r"(-?)\\d?frac\{([0-9]+)\}\{([0-9]+)\}", gold)
    if simple and simple.group(2) != simple.group(3):
        sign, above, below = simple.groups()
        yield rf"{sign}\frac{{{below}}}{{{above}}}"
        yield rf"{sign}\frac{{{above}}}{{{int(below) + 1}}}"
    point = re.fullmatch(r"(?:\\left)?\( ?(-?[0-9]+), ?(-?[0-9]+) ?(?:\\right)?\)", gold)
    if point and point.group(1) != point.group(2):
        first, second = point.groups()
        yield f"({second}, {first})"
        yield f"{first}, {second}"
        yield rf"\{{{first}, {second}\}}"
        yield f"[{first}, {second}]"
        yield f"({first}, {second}, 0)"
    if gold.startswith(r"\text{") and len(gold) > 10:
        yield r"\text{none}"
        yield "7"
    if r"\pi" in gold:
        yield gold.replace(r"\pi", "3.14")
    if r"\sqrt" in gold:
        yield gold.replace(r"\sqrt", "", 1)
    if re.search(r"[a-z0-9] ?\+ ?[0-9a-z]", gold):
        yield re.sub(r"(?<=[a-z0-9]) ?\+ ?(?=[0-9a-z])", "-", gold, count=1)


def math500(data: Path, draw: random.Random) -> Iterator[Pair]:
    """Right answers, rewritten."""
    golds = [row["answer"] for row in rows_of(data / "text" / "math500.jsonl")]
    for gold in golds:
        yield pair("math500/same", "math", gold, draw.choice(SENTENCES) % gold, True)
        for other in dict.fromkeys(respelled(gold)):
            if other != gold:
                yield pair("math500/respelled", "math", gold, draw.choice(SENTENCES) % other, True)
        for other in dict.fromkeys(spoiled(gold)):
            yield pair("math500/spoiled", "math", gold, draw.choice(SENTENCES) % other, False)
    yield from _crossed("math500/other row", golds, draw)


def _crossed(source: str, golds: list[str], draw: random.Random) -> Iterator[Pair]:
    """Answers of other rows, where plain arithmetic tells whether they are equal."""
    plain = [(gold, value) for gold in golds if (value := _plain_value(gold)) is not None]
    for gold, value in plain:
        other, its = draw.choice(plain)
        yield pair(source, "math", gold, draw.choice(SENTENCES) % other, value == its)


def _plain_value(text: str) -> Fraction | None:
    whole = re.fullmatch(r"\$?(-?[0-9]+)\$?", text)
    if whole:
        return Fraction(whole.group(1))
    simple = re.fullmatch(r"\$?(-?)\\d?frac\{([0-9]+)\}\{([0-9]+)\}\$?", text)
    return Fraction(f"{simple.group(1)}{simple.group(2)}/{simple.group(3)}") if simple else None


def olympiad(data: Path, draw: random.Random) -> Iterator[Pair]:
    """Several answers in one, tuples, tolerances."""
    rows = rows_of(data / "text" / "olympiadbench_text_half.jsonl")
    for row in rows:
        gold = ", ".join(row["final_answer"])
        if gold.replace("$", "") != re.sub(r"\$([^$]*)\$", r"\1", gold):
            continue  # dollar signs that do not match: no answer that could be rewritten
        inner = gold.replace("$", "")
        more = {"tolerance": float(row["error"])} if row["error"] else {}
        yield pair("olympiadbench/same", "math", gold, rf"\boxed{{{inner}}}", True, **more)
        if row["is_multiple_answer"] and row["answer_type"] == "Numerical":
            parts = [part.strip() for part in inner.split(",")]
            if not any(re.search(r"\\left|\(", part) for part in parts) and len(parts) > 1:
                turned = parts[1:] + parts[:1]
                yield pair("olympiadbench/turned", "math", gold, rf"\boxed{{{', '.join(turned)}}}", True)
                listed = r" \text{ and } ".join(turned)
                yield pair("olympiadbench/turned", "math", gold, rf"\boxed{{{listed}}}", True)
                yield pair("olympiadbench/short", "math", gold, rf"\boxed{{{', '.join(parts[1:])}}}", False)
                yield pair("olympiadbench/as a tuple", "math", gold, rf"\boxed{{({', '.join(parts)})}}", False)
        if re.fullmatch(r"-?[0-9.]+", inner):
            for other in spoiled(inner):
                yield pair("olympiadbench/spoiled", "math", gold, rf"\boxed{{{other}}}", False)
            step = 2 * more.get("tolerance", 0.5)
            off = f"{float(inner) + step:g}" if "." in inner else str(int(inner) + 1)
            yield pair("olympiadbench/off", "math", gold, rf"\boxed{{{off}}}", False, **more)
    yield from _crossed("olympiadbench/other row", [row["final_answer"][0] for row in rows], draw)


def aime(data: Path, draw: random.Random) -> Iterator[Pair]:
    """Three digits, as numbers and as mathematics."""
    for row in rows_of(data / "text" / "aime2024.jsonl"):
        gold = str(row["answer"])
        for kind in ("numeric", "math"):
            for sentence in SENTENCES:
                yield pair("aime2024/same", kind, gold, sentence % gold, True)
                yield pair("aime2024/one more", kind, gold, sentence % str(int(gold) + 1), False)
            yield pair("aime2024/turned", kind, gold, rf"\boxed{{{gold[::-1]}}}", gold[::-1] == gold)
            yield pair("aime2024/cut off", kind, gold, rf"so the answer would be \boxed{{{gold}", False)
            yield pair("aime2024/thought", kind, gold, rf"<think>It is \boxed{{{gold}}}, I think", False)


def _letter_forms(letter: str) -> tuple[str, ...]:
    return (
        letter,
        f"({letter})",
        rf"\boxed{{{letter}}}",
        rf"\boxed{{\text{{{letter}}}}}",
        rf"Therefore it is $\boxed{{\textbf{{({letter})}}}}$.",
        f"Answer: {letter}",
        f"The correct answer is ({letter}).",
        f"**{letter}**",
        f"The correct option is {letter} because the others do not fit.",
        f"<think>Not C, not D. Maybe (A)?</think><answer>{letter}</answer>",
    )


def choices(source: str, options: list[str], place: int, gold: str, draw: random.Random) -> Iterator[Pair]:
    """One question with options, answered in many ways."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(options)]
    letter, more = letters[place], {"options": options}
    right = draw.sample(_letter_forms(letter), 4)
    wrong_place = draw.choice([other for other in range(len(options)) if options[other] != options[place]])
    wrong = draw.sample(_letter_forms(letters[wrong_place]), 3)
    texts_differ = len(set(options)) == len(options)
    wordy = all(len(option) > 1 and not re.fullmatch(r"\(?[A-Z]\)?", option) for option in options)
    if wordy and texts_differ:
        right += [options[place], f"{letter}. {options[place]}", f"The answer is: ({letter}) {options[place]}"]
        wrong += [options[wrong_place], f"{letter}. {options[wrong_place]}"]
    other = letters[wrong_place]
    wrong += [f"{letter} or {other}", rf"\boxed{{{letter}, {other}}}", f"It is not ({letter})."]
    wrong += [f"({letter}) is wrong.", "I cannot tell from the picture."]
    for prediction in right:
        yield pair(source, "choice", gold, prediction, True, **more)
    for prediction in wrong:
        yield pair(source, "choice", gold, prediction, False, **more)


def mathvision(data: Path, draw: random.Random) -> Iterator[Pair]:
    """Options by letter; numbers where there are none."""
    for row in rows_of(data / "mathvision_testmini" / "testmini.jsonl"):
        gold, options = row["answer"], row["options"]
        if options:
            yield from choices("mathvision", options, "ABCDEFGH".index(gold), gold, draw)
        elif re.fullmatch(r"-?[0-9]+", gold):
            yield from numbers("mathvision", gold, draw)


def numbers(source: str, gold: str, draw: random.Random) -> Iterator[Pair]:
    """One whole number, answered in many ways."""
    value = int(gold)
    for prediction in (
        rf"\boxed{{{gold}}}",
        f"The answer is {gold}.",
        f"Answer: {gold} cm",
        f"So there are {gold} of them.",
        rf"\boxed{{{gold}\text{{ squares}}}}",
        f"2 + 3 + 4 = {gold}",
    ):
        yield pair(source, "numeric", gold, prediction, True)
    for prediction in (
        rf"\boxed{{{value + draw.randint(1, 9)}}}",
        f"Either {value} or {value + 1}.",
        f"The answer is {value}{draw.randint(1, 9)}.",
        f"There are {value + 1} rows and {value} columns.",
        rf"\boxed{{({value}, {value})}}",
        rf"\boxed{{{value}x}}",
        f"The answer is not {value}.",
        f"{value}.5",
    ):
        yield pair(source, "numeric", gold, prediction, False)


def mathvista(data: Path, draw: random.Random) -> Iterator[Pair]:
    """Options whose right answer is a text; numbers with a precision."""
    for row in rows_of(data / "annotations" / "mathvista_testmini.json"):
        gold = str(row["answer"])
        if row["question_type"] == "multi_choice" and row["choices"].count(gold) == 1:
            yield from choices("mathvista", row["choices"], row["choices"].index(gold), gold, draw)
        elif row["answer_type"] == "integer":
            yield from numbers("mathvista", gold, draw)
        elif row["answer_type"] == "float":
            places = int(row["precision"])
            near, far = float(gold) + 0.4 * 10**-places, float(gold) + 2 * 10**-places
            more = {"tolerance": 0.5 * 10**-places}
            yield pair("mathvista", "numeric", gold, rf"\boxed{{{near:.6f}}}", True, **more)
            yield pair("mathvista", "numeric", gold, rf"\boxed{{{far:.6f}}}", False, **more)


def hallusionbench(data: Path, draw: random.Random) -> Iterator[Pair]:
    """Yes and no."""
    forms = ("{}.", "{}, as the picture shows.", "\\boxed{{{}}}", "The answer is {}.", "<answer>{}</answer>", "**{}**")
    unclear = ("I cannot tell.", "Yes and no.", "Yes. On the other hand, no", "")
    for row in rows_of(data / "annotations" / "hallusionbench.json"):
        gold = row["gt_answer"]
        right, wrong = ("Yes", "No") if gold == "1" else ("No", "Yes")
        form = draw.choice(forms)
        yield pair("hallusionbench", "yesno", gold, form.format(right), True)
        yield pair("hallusionbench", "yesno", gold, form.format(wrong.lower()), False)
        if draw.random() < 0.2:
            yield pair("hallusionbench", "yesno", gold, draw.choice(unclear), False)


def pairs(data: Path, seed: int = 0) -> Iterator[Pair]:
    """All of them, always the same for one seed."""
    draw = random.Random(seed)
    yield from gsm8k(data)
    for source in (math500, olympiad, aime, mathvision, mathvista, hallusionbench):
        yield from source(data, draw)


def main() -> None:
    """Write the file."""
    if len(sys.argv) != 3:
        sys.exit("usage: python scripts/grading_pairs.py DATA OUT")
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    if out.resolve().is_relative_to(Path(__file__).resolve().parents[1]):
        sys.exit("OUT lies within the repository, and the pairs contain data that must not be in it")
    count = 0
    with out.open("w", encoding="utf-8") as lines:
        for count, row in enumerate(pairs(data), start=1):  # noqa: B007 - the last one is the count
            lines.write(json.dumps(row) + "\n")
    print(f"{count} pairs in {out}")


if __name__ == "__main__":
    main()
