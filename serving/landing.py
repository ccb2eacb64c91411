"""The landing folder: what the online process learned, laid down for the next ingest.

    events/day=YYYY-MM-DD/live-*.parquet    columns of the events table, and event_id; day is that of arrival
    merges/day=YYYY-MM-DD/live-*.parquet    merge_id, alias, user_id, timestamp, undone_at
    exposures/day=YYYY-MM-DD/live-*.parquet experiment, version, variant, user_id, timestamp, release, item_ids
    TABLE/.live-*.jsonl                     rows of a running process that are not yet in a Parquet file

A row is acknowledged once it is synced to its process's own journal. Every minute a journal is sealed: its rows are
written as Parquet beside, synced and renamed, so that readers see whole files only. Exposures are not synced one by
one, for a shopper waits for them: a power cut may take those of the last minute, a killed process loses none. The
journal of a process that died is sealed by the next one that starts, under the same name: sealed twice is sealed once.
What was erased meanwhile is left out; `serving/landing_sweep.py` takes it out of the files that are sealed already.
"""

import fcntl
import json
import os
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import columns as c
from pipelines.artifacts import sync_parent
from pipelines.errors import VitrineError
from serving.experiments.exposure import Exposure
from serving.sessions.contract import Event, Merge

_TIME = pa.timestamp("us", "UTC")
EVENTS = pa.schema([(c.EVENT, pa.string()), (c.USER, pa.string()), (c.ITEM, pa.string()), (c.TIME, _TIME),
                    (c.TYPE, pa.string())])
MERGES = pa.schema([(c.MERGE, pa.string()), (c.ALIAS, pa.string()), (c.USER, pa.string()), (c.TIME, _TIME),
                    ("undone_at", _TIME)])
EXPOSURES = pa.schema([("experiment", pa.string()), ("version", pa.int64()), ("variant", pa.string()),
                       (c.USER, pa.string()), (c.TIME, _TIME), ("release", pa.int64()),
                       ("item_ids", pa.list_(pa.string()))])
USERS = (c.USER, c.ALIAS)  # columns that name people
SEAL_AFTER_S, MOST_ROWS = 60.0, 100_000

Drop = Callable[[str, int], bool]  # is what this user did at this time (microseconds) to go?


class LandingUnavailable(VitrineError):
    """The landing folder cannot be written; what was to be laid down is not acknowledged."""


class LandingFolder:
    """Lays rows down; safe for use by many threads, and by many processes at once."""

    def __init__(
        self, folder: Path, seal_after_s: float = SEAL_AFTER_S, clock: Callable[[], float] = time.time,
        drop: Drop = lambda user_id, time_us: False,
    ) -> None:
        """Seal what processes that died have left.

        Args:
            folder: of the shop.
            seal_after_s: a journal is sealed when it is so old.
            clock: seconds since 1970.
            drop: what is not to be sealed, because it was erased.

        Raises:
            LandingUnavailable: the folder cannot be written.
        """
        self.folder = Path(folder)
        self._tables = {name: _Table(self.folder / name, schema, seal_after_s, clock, drop)
                        for name, schema in (("events", EVENTS), ("merges", MERGES), ("exposures", EXPOSURES))}

    def add_events(self, events: Sequence[Event]) -> None:
        """Append events; durable on return.

        Raises:
            LandingUnavailable: the folder cannot be written; bring them again.
        """
        self._tables["events"].add([
            {c.EVENT: e.event_id, c.USER: e.user_id, c.ITEM: e.item_id, c.TIME: e.time_us, c.TYPE: e.event_type}
            for e in events])

    def add_merge(self, merge: Merge) -> None:
        """Append a merge, or that it was undone; durable on return."""
        self._tables["merges"].add([{c.MERGE: merge.merge_id, c.ALIAS: merge.alias, c.USER: merge.user_id,
                                     c.TIME: merge.time_us, "undone_at": merge.undone_us}])

    def add_exposure(self, exposure: Exposure) -> None:
        """Append an exposure; it outlives this process, and not the machine's power."""
        self._tables["exposures"].add([{
            "experiment": exposure.experiment, "version": exposure.version, "variant": exposure.variant,
            c.USER: exposure.user_id, c.TIME: exposure.time_us, "release": exposure.release,
            "item_ids": list(exposure.item_ids)}], is_synced=False)

    def seal(self) -> None:
        """Make everything that was added visible to ingest."""
        for table in self._tables.values():
            table.seal()


class _Table:
    """One table's journal, and the files that it becomes."""

    def __init__(
        self, folder: Path, schema: pa.Schema, seal_after_s: float, clock: Callable[[], float], drop: Drop
    ) -> None:
        self.folder, self.schema, self.seal_after_s, self._clock, self._drop = folder, schema, seal_after_s, clock, drop
        self._lock = Lock()
        self._journal: IO[bytes] | None = None
        self._begun, self._rows = 0.0, 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(folder.glob(".live-*.jsonl")):
                self._seal_left(path)
        except OSError as error:
            raise self._unavailable(error) from error

    def add(self, rows: Sequence[dict[str, Any]], is_synced: bool = True) -> None:
        with self._lock:
            try:
                self._append(self._open(), b"".join(json.dumps(row).encode() + b"\n" for row in rows), is_synced)
                self._rows += len(rows)
                if self._rows >= MOST_ROWS or self._clock() - self._begun >= self.seal_after_s:
                    self._seal()
            except OSError as error:
                raise self._unavailable(error) from error

    @staticmethod
    def _append(journal: IO[bytes], data: bytes, is_synced: bool) -> None:
        """Write all of `data` or none of it, and sync it where that is asked for."""
        before = journal.tell()
        try:
            left = memoryview(data)
            while left:
                left = left[journal.write(left) :]
            if is_synced:
                os.fdatasync(journal.fileno())
        except OSError:
            # Half a row would stand before the next one: what was not acknowledged is taken back.
            journal.truncate(before)
            journal.seek(before)
            raise

    def seal(self) -> None:
        with self._lock:
            try:
                self._seal()
            except OSError as error:
                raise self._unavailable(error) from error

    def _open(self) -> IO[bytes]:
        if self._journal is None:
            now = datetime.fromtimestamp(self._clock(), UTC)
            # Names sort by arrival, so that events of one instant are taken in the order in which they came.
            path = self.folder / f".live-{now:%Y-%m-%dT%H%M%S%f}-{uuid.uuid4().hex[:12]}.jsonl"
            self._journal = path.open("xb", buffering=0)
            # Held as long as this process lives: another one takes over only what nobody holds.
            fcntl.flock(self._journal, fcntl.LOCK_EX)
            sync_parent(path)
            self._begun, self._rows = self._clock(), 0
        return self._journal

    def _seal(self) -> None:
        if self._journal is not None:
            self._convert(Path(self._journal.name))
            self._journal.close()
            self._journal = None

    def _seal_left(self, path: Path) -> None:
        """Seal another process's journal, if it is no longer held."""
        try:
            with path.open("rb") as journal:
                fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.exists():
                    self._convert(path)
        except (BlockingIOError, FileNotFoundError):
            return  # its process lives, or has just sealed it

    def _convert(self, journal: Path) -> None:
        """Write a journal's rows as a Parquet file, beside and renamed, and remove it."""
        stem = journal.name.removeprefix(".").removesuffix(".jsonl")
        day = self.folder / f"day={stem[len('live-'):][:len('YYYY-MM-DD')]}"
        beside = day / f".{stem}.parquet"
        # Without its newline a last line was never acknowledged.
        rows = [json.loads(line) for line in journal.read_bytes().split(b"\n")[:-1]]
        if rows := [row for row in rows if not any(self._drop(row.get(name) or "", row[c.TIME]) for name in USERS)]:
            day.mkdir(exist_ok=True)
            with beside.open("wb") as file:
                pq.write_table(pa.Table.from_pylist(rows, self.schema), file)
                file.flush()
                os.fsync(file.fileno())
            beside.rename(day / f"{stem}.parquet")
            sync_parent(day / f"{stem}.parquet")
            sync_parent(day)
        beside.unlink(missing_ok=True)  # of a process that was killed here
        journal.unlink()

    def _unavailable(self, error: OSError) -> LandingUnavailable:
        return LandingUnavailable(f"{self.folder} cannot be written ({error}): free space or give the folder back its "
                                  "rights; what was brought is not acknowledged")
