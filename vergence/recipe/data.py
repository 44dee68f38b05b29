"""The keys of `[data]`: a built-in task, or data of the user's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from vergence.recipe.sections import Positive, Section

DataFile = Literal["train", "captions", "tuning", "test", "probe", "pairs"]
"""What a data file is for; `pairs` are the files of preference pairs that stages name."""
LayoutName = Literal[
    "vergence",
    "columns",
    "geometry3k",
    "mathvista",
    "mathverse",
    "mathvision",
    "mmmu",
    "olympiadbench",
    "virl39k",
    "mmpr",
    "gsm8k",
    "aime",
    "math500",
    "puzzlevqa",
    "hallusionbench",
    "livecodebench",
    "pope",
]
"""Our own keys, the columns that the section names, or a published set (`vergence/data/layouts/known.py`)."""


class DigitsData(Section):
    """The built-in task: four handwritten digits on a grid. Written into the run directory, offline."""

    type: Literal["digits"]
    train: Positive = 4096
    """Scenes with a question, for preference optimisation and reinforcement."""
    captions: Positive = 2048
    """Scenes with a caption, for alignment."""
    tuning: Positive = 480
    """Scenes for choosing settings and for stopping; their pictures of digits are in no training scene."""
    test: Positive = 960
    """Scenes for published numbers; their pictures of digits are in no other scene."""
    wording: Literal["symbols", "english"] = "symbols"
    """symbols: in the words of the task's own language parent; english: in plain English, for a language model that
    comes from elsewhere. Every scene with a caption then has a solved question without its picture beside it."""


class ColumnsSection(Section):
    """Which column holds what: dotted names, or text with columns in braces. A key that is left out is no column."""

    question: str
    answer: str | None = None
    images: str | None = None
    """Paths, bytes, data URIs, or structs of bytes and path; one or a list."""
    id: str | None = None
    """The row's number, if left out."""
    category: str | None = None
    type: str | None = None
    """How the answer is graded; if left out, a choice where there are options, and otherwise the same string."""
    options: str | None = None
    tolerance: str | None = None
    tests: str | None = None
    objects: str | None = None
    mentions: str | None = None
    target: str | None = None
    """The response to imitate, for captions."""
    chosen: str | None = None
    rejected: str | None = None
    """Two responses, for files of pairs."""
    source: str | None = None
    """What made the pair."""


class ConstantsSection(Section):
    """Values that all rows have, in place of a column."""

    category: str | None = None
    type: Literal["exact", "math", "choice", "numeric", "yesno", "code"] | None = None
    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    mentions: str | None = None
    source: str | None = None


class FileData(Section):
    """Your own data, as described in docs/data.md. A path is a file, a folder, or a pattern of files."""

    type: Literal["files"]
    train: Path
    tuning: Path
    test: Path
    captions: Path | None = None
    """Rows with a `target`, for the align stage; may be the train file if its rows have one."""
    probe: Path | None = None
    """Held-out yes/no problems, for the monitor of that name."""
    layout: LayoutName = "vergence"
    """How rows are read: by our own keys, by the columns named below, or as a published set has them."""
    layouts: Mapping[DataFile, LayoutName] = {}
    """The same for one of the files, where it differs. Pairs have our own keys unless they are named here."""
    columns: ColumnsSection | None = None
    """Which column holds what, for the layout `columns`."""
    constants: ConstantsSection = ConstantsSection()
    """What the layout `columns` says of every row."""
    prompt: str = ""
    """How `{question}` and `{options}` become what is asked; empty is the layout's own way."""
    images: Path | None = None
    """The folder that relative paths of pictures start from; the data file's own, if left out."""
    network: bool = False
    """Whether pictures may be fetched from addresses."""
    store_mb: Positive = 102400
    """Millions of bytes of pictures that are kept as files because the data hold them as bytes."""
    filter_overlong_prompts: bool = False
    """Whether rows are left out whose prompt does not fit into the model's context together with the longest response
    that will be sampled. Without it the first such row stops the run before it begins."""
    check: Literal["whole", "headers"] = "whole"
    """What is read of every picture before a run: all of it, or its header alone (truncation is then found late)."""

    @model_validator(mode="after")
    def _one_layout(self) -> "FileData":
        named = {self.layout, *self.layouts.values()}
        if self.columns is None and "columns" in named:
            raise ValueError('layout = "columns", and no columns are named; add [data.columns]')
        if self.columns is not None and "columns" not in named:
            raise ValueError('columns are named and no layout is "columns"; add layout = "columns"')
        if self.columns is None and self.constants != ConstantsSection():
            raise ValueError("constants stand beside columns; add [data.columns], or remove them")
        return self


Data = Annotated[DigitsData | FileData, Field(discriminator="type")]
