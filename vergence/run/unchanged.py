"""Whether a run may go on: its inputs are those that it began with, and what it has made is as it was made."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vergence.errors import DirectoryError
from vergence.run.checkpoint import steps_taken
from vergence.run.digests import (
    NOTHING,
    RECORD,
    Digests,
    FileDigest,
    Inputs,
    file_changes,
    file_digests,
    first_named,
    read_digests,
    unchanged,
)
from vergence.run.directory import RunDirectory

TOLD_BYTES = 4_000_000_000
"""From so many bytes on reading all of them takes seconds, and is told of."""


def check_unchanged(
    directory: RunDirectory, labels: Sequence[str], inputs: Inputs, say: Callable[[str], None]
) -> tuple[Digests, bool]:
    """Read every input, and every file that finished stages have left; `labels` are the recipe's stages in order.

    Gives the inputs' digests to record, and whether they differ from those recorded although nothing was computed from
    them yet, so that the run begins anew. Raises DirectoryError naming the files that differ; nothing is changed.
    """
    made = {label: directory.made(label) for label in labels}
    size = _size([*(path for named in inputs.files.values() for path in named.values()), *_joined(made)])
    if size > TOLD_BYTES:
        say(f"reading {size / 1e9:.0f} GB of inputs and models, to see that they are unchanged")
    begun = any(made.values()) or steps_taken(directory.path / "checkpoints") > 0
    now, anew = unchanged(directory.digests, inputs, begun=begun)
    _check_stages(directory, made)
    _check_data(directory)
    known = {
        path: now.files[key][name]
        for key, named in inputs.files.items()
        for name, path in named.items()
        if name in now.files[key]
    }
    _check_final(directory, labels, known | _joined(made))
    if begun and not directory.digests.is_file():
        say(f"no {RECORD} there: inputs are recorded as they are now, and were not compared")
    if anew:
        say("inputs have changed, and nothing was computed from them yet: beginning with what is there now")
    return now, anew


def _check_stages(directory: RunDirectory, made: Mapping[str, Mapping[Path, FileDigest]]) -> None:
    found = file_digests(_joined(made))
    labels = [label for label, files in made.items() if files]
    for place, label in enumerate(labels):
        again = ", ".join(directory.entry(directory.stage_folder(later)) for later in labels[place:])
        _check(directory, made[label], found, f"delete {again} and final to do these stages again")


def _check_data(directory: RunDirectory) -> None:
    """What a built-in task wrote; a folder that is gone is written again."""
    recorded = read_digests(directory.digests) or NOTHING
    if directory.data.is_dir():
        expected = {directory.data / name: digest for name, digest in recorded.files.get("data", {}).items()}
        _check(directory, expected, file_digests(expected), "delete data to have it written again")


def _check_final(directory: RunDirectory, labels: Sequence[str], known: Mapping[Path, FileDigest]) -> None:
    """The copy of the last policy, once every stage is done."""
    outcomes = [outcome for label in labels if (outcome := directory.outcome(label)) is not None]
    policies = [outcome.models["policy"] for outcome in outcomes if "policy" in outcome.models]
    if directory.final.is_dir() and len(outcomes) == len(labels) and policies:
        policy = directory.model_path(policies[-1])
        expected = {
            directory.final / path.relative_to(policy): digest
            for path, digest in known.items()
            if path.is_relative_to(policy)
        }
        _check(directory, expected, file_digests(expected), f"delete final to have it copied from {policies[-1]}")


def _check(
    directory: RunDirectory, expected: Mapping[Path, FileDigest], found: Mapping[Path, FileDigest], remedy: str
) -> None:
    told = file_changes(expected, found, {path: str(path) for path in expected})
    if told:
        raise DirectoryError(
            f"{directory.path}: not as the run made it: {first_named(told)}; restore it from a copy, or {remedy}"
        )


def _joined(made: Mapping[str, Mapping[Path, FileDigest]]) -> dict[Path, FileDigest]:
    return {path: digest for files in made.values() for path, digest in files.items()}


def _size(paths: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in set(paths) if path.is_file())
