"""Study files: read, checked, written back."""

import re
from pathlib import Path

import pytest

from vergence.errors import RecipeError
from vergence.study.load import load_study, study_toml
from vergence.study.plan import make_plan
from vergence.study.schema import EqualBudget, FigureSection, Study, TableSection, VariantSection

WHOLE = """
name = "whole"
base = "digits"
seeds = [0, 3]
set = ["stage.grpo.steps=60"]
without = ["reward_model"]
reference = "none"

[budget]
stage = "grpo"
tokens = 2000

[[variant]]
name = "none"
set = ['stage.grpo.buffer.capacity=0']

[[variant]]
name = "ssb"
without = ["mpo"]

[grid]
"stage.grpo.buffer.exponent" = [0.0, 1.0]

[[figure]]
stage = "grpo"
metric = "tuning/sampled_accuracy"
against = "tokens"

[table]
columns = ["test/greedy_accuracy", "grpo:effective/fresh:last"]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "study.toml"
    path.write_text(text)
    return path


def test_every_section_is_read_and_the_written_study_is_equal(tmp_path: Path):
    study = load_study(written(tmp_path, WHOLE))
    assert (study.seeds, study.set, study.without) == ((0, 3), ("stage.grpo.steps=60",), ("reward_model",))
    assert study.budget is not None
    assert study.budget.override() == "stage.grpo.budget.tokens=2000"
    assert [one.name for one in study.variant] == ["none", "ssb"]
    assert study.grid == {"stage.grpo.buffer.exponent": (0.0, 1.0)}
    assert study.figure[0].against == "tokens"
    again = tmp_path / "again"
    again.mkdir()
    assert load_study(written(again, study_toml(study))) == study


def test_a_base_beside_the_study_is_found_from_anywhere(tmp_path: Path):
    (tmp_path / "mine.toml").write_text("")
    study = load_study(written(tmp_path, 'name = "a"\nbase = "mine.toml"\nseeds = [0]\n[[variant]]\nname = "a"\n'))
    assert study.base == str((tmp_path / "mine.toml").resolve())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = [0, 3]", "", "seeds: this key is required"),
        ("seeds = [0, 3]", "seeds = []", "seeds: Tuple should have at least 1 item.*; found '\\[\\]'"),
        ("seeds = [0, 3]", "seeds = [2, 2]", "seeds: each once, found \\[2, 2\\]"),
        ("seeds = [0, 3]", 'seeds = ["0"]', "seeds.0: Input should be a valid integer; found '0'"),
        ('base = "digits"', 'base = "digits"\nsize = 3', "size: unknown key; remove it or correct its spelling .*"),
        ("tokens = 2000", "", "budget: give one of tokens and cpu_seconds"),
        ("tokens = 2000", "tokens = 5\ncpu_seconds = 1.0", "budget: give one of tokens and cpu_seconds"),
        ('name = "ssb"', 'name = "a/b"', "variant.1.name: String should match pattern .*; found 'a/b'"),
        ('against = "tokens"', 'against = "time"', "figure.0.against: Input should be .*; found 'time'"),
        ('"stage.grpo.buffer.exponent" = [0.0, 1.0]', "exponent = []", "grid.exponent: Tuple should have .*"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path: Path, old: str, new: str, message: str):
    assert old in WHOLE
    path = written(tmp_path, WHOLE.replace(old, new))
    with pytest.raises(RecipeError, match=f"^{re.escape(str(path))}: {message}$"):
        load_study(path)


def test_a_study_without_variants_is_refused(tmp_path: Path):
    path = written(tmp_path, 'name = "a"\nbase = "digits"\nseeds = [0]\n')
    with pytest.raises(RecipeError, match=r"nothing to run: give \[\[variant\]\] entries"):
        load_study(path)


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path):
    with pytest.raises(RecipeError, match="not valid TOML"):
        load_study(written(tmp_path, "name = "))
    with pytest.raises(RecipeError, match="cannot be read"):
        load_study(tmp_path / "absent.toml")


def test_the_example_is_valid():
    assert load_study(Path(__file__).parents[3] / "studies" / "example.toml").reference == "grpo"


def test_the_studies_of_the_page_are_valid(tmp_path: Path):
    page = (Path(__file__).parents[3] / "docs" / "studies.md").read_text()
    studies = re.findall(r"^```toml\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    assert len(studies) == 2
    for text in studies:
        make_plan(load_study(written(tmp_path, text)), "docs/studies.md")


def test_the_page_has_a_row_for_every_key_of_a_study():
    page = (Path(__file__).parents[3] / "docs" / "studies.md").read_text()
    table = page.split("| key | meaning | default |")[1].split("\n\n")[0]
    listed = {
        name
        for row in table.splitlines()
        for name in re.findall(r"`([a-z_.]+)`", row.split("|")[1:2][0] if "|" in row else "")
    }
    parts = {"budget": EqualBudget, "variant": VariantSection, "figure": FigureSection, "table": TableSection}
    keys = {f"{part}.{key}" for part, section in parts.items() for key in section.model_fields}
    assert listed == keys | set(Study.model_fields) - set(parts)
