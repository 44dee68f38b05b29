"""Digests of files: taken, written, compared. What a digest must be is said by `sha256sum`, or by the standard."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from vergence.errors import DirectoryError
from vergence.run.digests import (
    Digests,
    FileDigest,
    Inputs,
    changes,
    digests_of,
    file_digests,
    files_below,
    is_sealed,
    parse_digests,
    read_digests,
    seal,
    unchanged,
    write_digests,
)
from vergence.types import ImageRef

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""SHA-256 of "abc": FIPS 180-2, appendix B.1."""


def folder_of(path: Path, **files: str) -> Path:
    for name, text in files.items():
        place = path / name.replace("__", "/").replace("_", ".")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return path


def inputs_of(folder: Path, picture: str = "aa" * 32) -> Inputs:
    pictures = {"data.train": {"p7": (ImageRef(str(folder / "7.png"), picture),)}}
    return Inputs({"data.train": files_below(folder)}, pictures)


def flip(path: Path, place: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_a_digest_is_that_of_the_standard_and_the_same_for_every_size(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"abc")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "large").write_bytes(bytes(range(256)) * 5000)
    found = file_digests(sorted(tmp_path.iterdir()))
    assert FileDigest(3, ABC) == found[tmp_path / "small"]
    told = subprocess.run(["sha256sum", *map(str, found)], capture_output=True, text=True, check=True).stdout
    assert [line.split()[0] for line in told.splitlines()] == [one.sha256 for one in found.values()]
    assert [0, 1_280_000, 3] == [one.bytes for one in found.values()]


def test_a_file_that_is_not_there_has_no_digest(tmp_path: Path) -> None:
    assert {} == file_digests([tmp_path / "none", tmp_path])


def test_files_of_a_folder_are_named_relative_and_what_decides_nothing_is_left_out(tmp_path: Path) -> None:
    folder_of(tmp_path, b_txt="b", a__c_json="c", README_md="for people", _git__config="hidden", _lock="")
    assert ["a/c.json", "b.txt"] == list(files_below(tmp_path))


def test_a_record_reads_back_as_it_was_and_is_sorted(tmp_path: Path) -> None:
    files = {"stage.load.path": {"b": FileDigest(2, "22"), "a": FileDigest(1, "11")}, "data.train": {}}
    digests = Digests(files, {"data.train": {'"ü\ud800': ("33", "44")}}, held=True)
    write_digests(tmp_path / "digests.json", digests)
    assert digests == read_digests(tmp_path / "digests.json")
    raw = json.loads((tmp_path / "digests.json").read_text())
    assert ["data.train", "stage.load.path"] == list(raw["files"])
    assert {"a": {"bytes": 1, "sha256": "11"}, "b": {"bytes": 2, "sha256": "22"}} == raw["files"]["stage.load.path"]


def test_no_record_is_none(tmp_path: Path) -> None:
    assert read_digests(tmp_path / "digests.json") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": {"a": {"b": 1}}, "pictures": {}}', '{"files": 1}', "\x00"])
def test_a_record_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "digests.json").write_text(text)
    with pytest.raises(DirectoryError, match=r"digests\.json: not a record of digests .* restore it, or delete it"):
        read_digests(tmp_path / "digests.json")


def test_moved_files_are_the_same(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "here", train_jsonl="{}", more__shard_parquet="abc")
    before = digests_of(inputs_of(folder))
    shutil.move(folder, tmp_path / "there")
    moved = inputs_of(tmp_path / "there")
    assert [] == changes(before, digests_of(moved), moved)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda folder: flip(folder / "a.txt"), "data.train: {}/a.txt: sha256 "),
        (lambda folder: (folder / "a.txt").write_text("ab"), "data.train: {}/a.txt: 2 bytes, expected 3"),
        (lambda folder: (folder / "a.txt").unlink(), "data.train: a.txt: missing or unreadable, expected 3 bytes"),
        (lambda folder: (folder / "new.txt").write_text(""), "data.train: {}/new.txt: was not there before"),
    ],
    ids=["flipped", "cut", "gone", "new"],
)
def test_what_became_of_a_file_is_told(tmp_path: Path, harm, told: str) -> None:
    folder = folder_of(tmp_path, a_txt="abc", b_txt="b")
    before = digests_of(inputs_of(folder))
    harm(folder)
    now = inputs_of(folder)
    (found,) = changes(before, digests_of(now), now)
    assert found.startswith(told.format(folder)), found
    if "sha256" in told:
        assert found.endswith(f", expected {ABC[:12]}")


def test_a_picture_is_named_by_its_problem_and_its_file(tmp_path: Path) -> None:
    before, now = digests_of(inputs_of(tmp_path)), inputs_of(tmp_path, "bb" * 32)
    expected = f'picture of data.train "p7": {tmp_path}/7.png: sha256 {"bb" * 6}, expected {"aa" * 6}'
    assert [expected] == changes(before, digests_of(now), now)


def test_a_file_that_several_keys_name_is_told_once(tmp_path: Path) -> None:
    file = folder_of(tmp_path, a_txt="abc") / "a.txt"
    inputs = Inputs({f"data.{key}": {"a.txt": file} for key in ("train", "tuning", "test", "captions")})
    before = digests_of(inputs)
    flip(file)
    (found,) = changes(before, digests_of(inputs), inputs)
    assert found.startswith(f"data.train, data.tuning, data.test, ...: {file}: ")


def test_an_input_that_only_one_side_has_is_not_compared(tmp_path: Path) -> None:
    """A run of a study begins with the record of its shared stages, and has inputs of its own."""
    folder = folder_of(tmp_path, a_txt="abc")
    before = Digests({"stage.other.path": {"x": FileDigest(1, "11")}}, {})
    assert [] == changes(before, digests_of(inputs_of(folder)), inputs_of(folder))


def test_changed_inputs_stop_what_has_begun_and_nothing_else(tmp_path: Path) -> None:
    record, folder = tmp_path / "run" / "digests.json", folder_of(tmp_path / "data", a_txt="abc")
    first, differs = unchanged(record, inputs_of(folder), begun=False)
    assert not differs
    record.parent.mkdir()
    write_digests(record, first)
    (folder / "a.txt").write_text("changed")
    with pytest.raises(DirectoryError, match=r"run: inputs are not .*a\.txt: 7 bytes, expected 3; restore .*--out"):
        unchanged(record, inputs_of(folder), begun=True)
    again, differs = unchanged(record, inputs_of(folder), begun=False)
    assert differs
    assert FileDigest(7, again.files["data.train"]["a.txt"].sha256) == again.files["data.train"]["a.txt"]
    write_digests(record, replace(first, held=True))  # other runs of the study were computed from them
    with pytest.raises(DirectoryError, match=r"a\.txt: 7 bytes, expected 3"):
        unchanged(record, inputs_of(folder), begun=False)


def test_what_a_record_knew_and_what_is_new_are_both_kept(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "data", a_txt="abc")
    write_digests(tmp_path / "digests.json", Digests({"data": {"x": FileDigest(1, "11")}}, {}))
    now, differs = unchanged(tmp_path / "digests.json", inputs_of(folder), begun=True)
    assert not differs
    assert {"data": {"x": FileDigest(1, "11")}, "data.train": {"a.txt": FileDigest(3, ABC)}} == now.files


def test_an_error_names_three_files_and_counts_the_rest(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "data", **{f"file{number}_txt": "abc" for number in range(5)})
    write_digests(tmp_path / "digests.json", digests_of(inputs_of(folder)))
    for path in folder.iterdir():
        flip(path)
    with pytest.raises(DirectoryError) as caught:
        unchanged(tmp_path / "digests.json", inputs_of(folder), begun=True)
    assert "; and 2 more; restore them" in str(caught.value)
    assert ["file0.txt", "file1.txt", "file2.txt"] == [
        f"file{n}.txt" for n in range(5) if f"file{n}" in str(caught.value)
    ]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("harm", ["nothing", "flip", "cut", "gone", "unsealed", "broken"])
def test_a_sealed_folder_is_whole_until_a_bit_changes(tmp_path: Path, harm: str) -> None:
    folder = folder_of(tmp_path, vision__model_safetensors="abc", config_json="{}")
    seal(folder)
    match harm:
        case "flip":
            flip(folder / "vision" / "model.safetensors", 1)
        case "cut":
            (folder / "config.json").write_text("{")
        case "gone":
            (folder / "config.json").unlink()
        case "unsealed":
            (folder / "digests.json").unlink()
        case "broken":
            (folder / "digests.json").write_text("{")
    assert (harm == "nothing") == is_sealed(folder)


def test_digests_travel_as_part_of_other_json(tmp_path: Path) -> None:
    digests = digests_of(inputs_of(folder_of(tmp_path, a_txt="abc")))
    assert digests == parse_digests(json.loads(json.dumps(digests.as_json())))
