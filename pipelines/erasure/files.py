"""What a file says of a person: rows of a table with user ids, or an id among any other bytes."""

import mmap
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from pipelines import columns as c
from pipelines.erasure.person import Person

TABLES = (".parquet", ".csv")
_READ = (c.USER, c.ITEM, c.TIME)
_WORD = re.compile(rb"[A-Za-z0-9_-]")


class Rows(NamedTuple):
    """The person's rows of a table."""

    number: int = 0
    newest_us: int | None = None
    events: frozenset[tuple[str, int]] = frozenset()  # (item id, microseconds), where the table says so
    is_torn: bool = False  # it cannot be read: somebody writes it, or was killed over it


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder, what is being written and what was left half too; links are not followed."""
    for inner, names, files in os.walk(folder):  # which passes over what is removed meanwhile
        names.sort()
        yield from (path for name in sorted(files) if (path := Path(inner, name)).is_file() and not path.is_symlink())


def rows_of(path: Path, person: Person) -> Rows:
    """The person's rows of a Parquet or CSV file; none in one without a column of user ids, or removed meanwhile."""
    try:
        if path.suffix == ".parquet":
            names = pq.read_schema(path).names
            columns = [name for name in _READ if name in names]
            return _rows_of_parquet(path, columns, person) if c.USER in names else Rows()
        with path.open("rb") as file:
            if c.USER.encode() not in file.readline(1 << 16):
                return Rows()
        strings = csv.ConvertOptions(column_types={c.USER: pa.string()}, include_columns=[c.USER])
        return _rows(_own(csv.read_csv(path, convert_options=strings), person))
    except FileNotFoundError:
        return Rows()
    except (pa.ArrowInvalid, pa.ArrowKeyError):
        return Rows(is_torn=True)


def mentions(path: Path, person: Person) -> bool:
    """Whether one of the person's ids stands among the bytes of a file, not as a part of a longer word."""
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                return False
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return any(_has_word(content, one.encode()) for one in person.ids)
    except FileNotFoundError:  # removed meanwhile
        return False


def _has_word(content: mmap.mmap, word: bytes) -> bool:
    at = content.find(word)
    while at >= 0:
        before, after = content[max(at - 1, 0) : at], content[at + len(word) : at + len(word) + 1]
        if not _WORD.match(before) and not _WORD.match(after):
            return True
        at = content.find(word, at + 1)
    return False


def _rows_of_parquet(path: Path, columns: Sequence[str], person: Person) -> Rows:
    with pq.ParquetFile(path) as file:
        # Batch by batch: a feed of millions of customers is not to be held at once.
        own = [_own(pa.Table.from_batches([batch]), person) for batch in file.iter_batches(columns=columns)]
    return _rows(pa.concat_tables(own)) if own else Rows()


def _own(table: pa.Table, person: Person) -> pa.Table:
    return table.filter(pa.array(person.rows(table.column(c.USER))))


def _rows(own: pa.Table) -> Rows:
    if not len(own) or c.TIME not in own.column_names:
        return Rows(len(own))
    times = own.column(c.TIME).cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    items = own.column(c.ITEM).to_pylist() if c.ITEM in own.column_names else []
    return Rows(len(own), int(np.max(times)), frozenset(zip(items, times.tolist(), strict=False)))
