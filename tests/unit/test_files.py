"""Where commands write: regular files are whole or absent, and whatever is no regular file keeps its nature."""

import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vergence.errors import DirectoryError, RunError
from vergence.files import TEMPORARY, check_output, is_stream, seen_from, whole_file, write_whole

ROOT = Path(__file__).resolve().parents[2]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_regular_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("old")
    out.chmod(0o600)
    with out.open() as reader, whole_file(out) as file:
        file.write(b"new")
        file.flush()
        assert "old" == out.read_text()
        assert [f"{TEMPORARY}{os.getpid()}-out.jsonl", "out.jsonl"] == names(tmp_path)
        assert "old" == reader.read()
    assert "new" == out.read_text()
    assert 0o600 == stat.S_IMODE(out.stat().st_mode)
    assert ["out.jsonl"] == names(tmp_path)


def half_written(out: Path, failure: type[BaseException]) -> None:
    with whole_file(out) as file:
        file.write(b"half")
        raise failure


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path, failure: type[BaseException]) -> None:
    out = tmp_path / "out"
    out.write_text("old")
    with pytest.raises(failure):
        half_written(out, failure)
    assert (["out"], "old") == (names(tmp_path), out.read_text())


def test_a_symbolic_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    first, second, new = tmp_path / "first", tmp_path / "second", tmp_path / "new"
    first.symlink_to("second")
    second.symlink_to("there/target")
    new.symlink_to(tmp_path / "there" / "not_yet")
    for link in (first, new):
        write_whole(link, link.name)
    assert all(one.is_symlink() for one in (first, second, new))
    assert ["first", "new"] == [(tmp_path / "there" / name).read_text() for name in ("target", "not_yet")]
    assert "../picture.png" == seen_from(first, str(tmp_path / "picture.png"))


def test_a_device_is_written_into_and_stays_one(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(os.devnull)
    before = os.stat(os.devnull)
    for path in (Path(os.devnull), link):
        write_whole(path, "gone")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    assert before.st_ino == os.stat(os.devnull).st_ino
    assert ["link"] == names(tmp_path)
    assert not [name for name in os.listdir("/dev") if name.startswith(TEMPORARY)]
    assert str(tmp_path / "a") == seen_from(link, str(tmp_path / "a"))


def test_a_fifo_is_written_into_and_its_reader_gets_everything(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(fifo.read_bytes()), daemon=True)
    reader.start()
    write_whole(fifo, "x" * 200_000)
    reader.join(10)
    assert [200_000] == [len(one) for one in found]
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert ["fifo"] == names(tmp_path)


WRITER = (
    "import sys\nfrom pathlib import Path\nfrom vergence.files import write_whole\n"
    "print('before')\nwrite_whole(Path(sys.argv[1]), 'inside\\n')\nprint('after')\n"
)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="descriptors have no names here")
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
@pytest.mark.parametrize("piped", [True, False])
def test_standard_output_is_written_where_it_stands(tmp_path: Path, name: str, piped: bool) -> None:
    """Also where the shell appends it to a file: what was there before, and what is printed later, stays."""
    if name == "link":
        (tmp_path / name).symlink_to("/dev/stdout")
        name = str(tmp_path / name)
    command = [sys.executable, "-c", WRITER, name]
    if piped:
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    else:
        (tmp_path / "log").write_text("first\n")
        with (tmp_path / "log").open("a") as log:
            subprocess.run(command, cwd=ROOT, stdout=log, check=True)
        said = (tmp_path / "log").read_text().removeprefix("first\n")
    assert "before\ninside\nafter\n" == said


def test_what_cannot_be_written_is_one_line_before_any_work(tmp_path: Path) -> None:
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "socket"))
    (tmp_path / "loop").symlink_to("loop/x")
    for path, said in (
        (tmp_path, "is a directory"),
        (tmp_path / "socket", "is a socket"),
        (tmp_path / "none" / "out", "does not exist; create it first"),
        (tmp_path / "socket" / "out", "does not exist; create it first"),
    ):
        with pytest.raises(DirectoryError, match=said) as error:
            check_output(path)
        assert 1 == len(str(error.value).splitlines())
    unix.close()
    assert not is_stream(tmp_path / "new")


def test_a_full_disk_is_a_failure_of_the_run_in_one_line() -> None:
    if not Path("/dev/full").is_char_device():
        pytest.skip("no device that is always full")
    with pytest.raises(RunError, match=r"/dev/full: cannot be written \(No space left on device\)"):
        write_whole(Path("/dev/full"), "x")
