"""Taking erased people out of the landing folder's sealed files, file by file, each replaced whole or not at all."""

import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import columns as c
from pipelines.artifacts import sync_parent
from serving.erased import Erased
from serving.landing import USERS, Drop, LandingUnavailable

SWEPT = ".swept"  # number of the last erasure that the whole folder was swept for; its lock is the sweep's
_BESIDE = ".beside"


class Swept(NamedTuple):
    """What was gone through, and what of it goes."""

    files: int
    size: int  # bytes
    rows: int  # that go
    newest_us: int | None  # time of the newest of these
    in_journals: int  # of the rows: in journals of running processes, which leave them out when they seal


def sweep(folder: Path, drop: Drop, *, is_dry: bool) -> Swept:
    """Remove the rows of events and merges for which `drop` says so; files that are empty then go.

    Args:
        folder: of the shop; need not exist.
        drop: what is to go.
        is_dry: only count.

    Raises:
        LandingUnavailable: a file cannot be read or written; what was swept stays swept, do it again.
    """
    if not folder.is_dir():
        return Swept(0, 0, 0, None, 0)
    if is_dry:
        return _sweep(folder, drop, is_dry=True)
    with _locked(folder):
        return _sweep(folder, drop, is_dry=False)


def keep_swept(folder: Path, erased: Erased) -> None:
    """Remove what `erased` covers, once for each erasure, whichever process of the folder comes first."""
    with _locked(folder) as mark:
        if mark.read_text(encoding="utf-8") != str(erased.number):
            _sweep(folder, erased.covers, is_dry=False)
            mark.write_text(str(erased.number), encoding="utf-8")


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """One sweep at a time: two that replace the same file would bring back what the other took out."""
    path = folder / SWEPT
    try:
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield path
    except OSError as error:
        raise LandingUnavailable(f"{folder} cannot be swept of who was erased ({error}): free space or give the folder "
                                 "back its rights, then do it again") from error


def _sweep(folder: Path, drop: Drop, *, is_dry: bool) -> Swept:
    files = size = rows = in_journals = 0
    newest = list[int]()
    if not is_dry:
        for path in folder.rglob(f".*{_BESIDE}"):  # of a sweep that was killed
            path.unlink()
    for path in sorted(folder.rglob("[!.]*.parquet")):
        files, size = files + 1, size + path.stat().st_size
        columns = [name for name in (*USERS, c.TIME) if name in pq.read_schema(path).names]
        goes, times = _going(pq.read_table(path, columns=columns, partitioning=None), drop)
        if not goes.any():
            continue
        rows += int(goes.sum())
        newest.append(int(times[goes].max()))
        if not is_dry:
            _without(path, goes)
    for path in sorted(folder.glob("*/.live-*.jsonl")):
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # sealed meanwhile
            continue
        files, size = files + 1, size + len(content)
        # Without its newline a last line is being written.
        for row in map(json.loads, content.split(b"\n")[:-1]):
            if any(drop(row.get(name) or "", row[c.TIME]) for name in USERS):
                rows, in_journals = rows + 1, in_journals + 1
                newest.append(row[c.TIME])
    return Swept(files, size, rows, max(newest, default=None), in_journals)


def _going(table: pa.Table, drop: Drop) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Which rows go [rows], and their times in microseconds."""
    times = table.column(c.TIME).cast(pa.int64()).to_numpy()
    goes = np.zeros(len(table), bool)
    for name in (name for name in USERS if name in table.column_names):
        users = table.column(name).to_pylist()
        goes |= [bool(user) and drop(user, int(time)) for user, time in zip(users, times, strict=True)]
    return goes, times


def _without(path: Path, goes: npt.NDArray[np.bool_]) -> None:
    """Replace a file by what stays of it."""
    if goes.all():
        path.unlink()
    else:
        table = pq.read_table(path, partitioning=None)
        beside = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:12]}{_BESIDE}")
        with beside.open("xb") as file:
            pq.write_table(table.filter(pa.array(~goes)), file)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
    sync_parent(path)
