"""Rows from Parquet files, a row group at a time."""

import bisect
import itertools
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, final

from vergence.data.rows import Row, read_row
from vergence.errors import DataError

KEPT_BYTES = 256_000_000
"""Of row groups that are kept decoded, of all files together; one group is kept whatever its size."""


@final
class ParquetRows:
    """Parquet files, one behind the other. Kept in memory: their footers, and the row groups that were read last.

    A row group is the smallest thing that can be read, so drawing rows at random reads many of them; files whose groups
    hold some hundred rows at most are read well.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        """Raises DataError if one of the files is no Parquet file."""
        self._files = files
        self._footers = [_footer(path) for path in files]
        self._groups = [
            (file, group) for file, footer in enumerate(self._footers) for group in range(footer.num_row_groups)
        ]
        sizes = (self._footers[file].row_group(group).num_rows for file, group in self._groups)
        self._ends = list(itertools.accumulate(sizes))
        self._firsts: list[int] = [0, *itertools.accumulate(footer.num_rows for footer in self._footers)]
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._kept_bytes = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return self._firsts[-1]

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        group = bisect.bisect_right(self._ends, index)
        place = index - (self._ends[group - 1] if group else 0)
        with self._lock:  # pictures are checked in threads, and each may ask for a row
            table = self._group(group)
        return read_row(table, place, self.where(index))

    def where(self, index: int) -> str:
        """File and row in it, counted from 1."""
        file = self._file(index)
        return f"{self._files[file]}, row {index - self._firsts[file] + 1}"

    def folder(self, index: int) -> Path:
        """Beside the file."""
        return self._files[self._file(index)].parent

    def files(self) -> Sequence[Path]:
        """All of them."""
        return self._files

    def _file(self, index: int) -> int:
        return bisect.bisect_right(self._firsts, index) - 1

    def _group(self, group: int) -> Any:
        if group in self._kept:
            self._kept.move_to_end(group)
            return self._kept[group]
        table = self._read(*self._groups[group])
        self._kept[group] = table
        self._kept_bytes += table.nbytes
        while self._kept_bytes > KEPT_BYTES and len(self._kept) > 1:
            self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes
        return table

    def _read(self, file: int, group: int) -> Any:
        import pyarrow as pa
        from pyarrow import parquet

        path = self._files[file]
        try:
            with parquet.ParquetFile(path, metadata=self._footers[file]) as opened:
                return opened.read_row_group(group, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path}, row group {group}: cannot be read ({_line(error)})") from None


def _footer(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            return file.metadata
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: not a readable Parquet file ({_line(error)})") from None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
