"""The lake: a shop's log by days, each day published whole and never half.

    lake.json                        what makes a folder a lake: format and shop
    files/SHA256.parquet             events of a day, items, users, merges; named by their content and never changed
    days/2026-03-01/00000001.json    a revision of a day: which files, how many events, what the audit said

A day is published by putting the record of its next revision where there is none, as the release log does: readers see
the revision before or the new one, and whoever looked at an older one than is there now is refused. The highest
revision counts, and a window counts only what was known at its end: `known_at` is the end of the interval that was
ingested. So a retrain as of a past day reads what it would have read then, also where days were opened again since.
"""

import os
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from pydantic import ValidationError

from pipelines import columns as c
from pipelines.artifacts import canonical, file_digest, read_json, sync_parent, write_json
from pipelines.contracts import Check, Document, UtcTime
from pipelines.errors import CorruptArtifact, DataError, LakeConflict, SettingsError
from pipelines.shop_spec import ShopSpec
from serving.local_storage import LocalStorage

MARKER = "lake.json"
FORMAT = 1
DAY = timedelta(days=1)
_FILES, _DAYS = "files", "days"


class Partition(Document):
    """A revision of one day.

    Attributes:
        day: of UTC.
        revision: 1 for the first; the highest counts.
        known_at: end of the interval whose ingest wrote it; windows that end before do not see it.
        events, items, users, merges: names in `files/`; no users where the shop has no such table, no merges before
            the online process was told of one.
        rows: events of the day.
        spec: how the source was read. Names are Vitrine's in the files, so that only kinds and weights matter.
        source: where it was read from, without a password.
        checks: what the audit looked at.
        actor, reason: who asked for it and why.
    """

    day: date
    revision: int
    known_at: UtcTime
    events: str
    items: str
    users: str | None
    merges: str | None = None
    rows: int
    spec: ShopSpec
    source: str
    checks: tuple[Check, ...] = ()
    actor: str = "cli"
    reason: str = "ingest"

    @property
    def content(self) -> tuple[str, str, str | None, str | None, ShopSpec]:
        """What readers get of it: two revisions of the same content are the same."""
        return self.events, self.items, self.users, self.merges, self.spec


def midnight(day: date) -> datetime:
    """The instant at which a day of UTC begins."""
    return datetime.combine(day, time(), UTC)


def is_lake(folder: str | Path) -> bool:
    """Whether a folder is a lake."""
    return "://" not in str(folder) and (Path(folder) / MARKER).is_file()


class Lake:
    """A lake at a folder; safe for use by many processes at once."""

    def __init__(self, folder: Path) -> None:
        """Open a lake.

        Raises:
            CorruptArtifact: the folder is no lake.
            SettingsError: it is of another format than this version reads.
        """
        found = read_json(folder / MARKER)["format"]
        if found != FORMAT:
            raise SettingsError(f"{folder} is a lake of format {found}, and this version reads format {FORMAT}: "
                                "use the version that wrote it")
        self.folder = folder
        self._records = LocalStorage(folder)

    @classmethod
    def make(cls, folder: Path, shop: str) -> "Lake":
        """The lake at `folder`; a new one where there is none."""
        if not (folder / MARKER).exists():
            beside = folder / f".{MARKER}-{uuid.uuid4().hex[:12]}"
            write_json(beside, {"format": FORMAT, "shop": shop})
            beside.replace(folder / MARKER)
            sync_parent(folder / MARKER)
        return cls(folder)

    def path(self, name: str) -> Path:
        """Where a file that a record names lies."""
        return self.folder / _FILES / name

    def days(self) -> list[date]:
        """Days with a revision, in order."""
        return sorted({date.fromisoformat(entry.key.split("/")[1]) for entry in self._records.entries(_DAYS)})

    def latest(self, day: date, as_of: datetime | None = None) -> Partition | None:
        """The revision of a day that counts, or counted as of a moment; None where there is none.

        Raises:
            CorruptArtifact: a record is damaged.
        """
        numbers = sorted((int(Path(entry.key).stem) for entry in self._records.entries(f"{_DAYS}/{day}")), reverse=True)
        revisions = (self._read(day, number) for number in numbers)
        return next((one for one in revisions if as_of is None or one.known_at <= as_of), None)

    def partitions(self, as_of: datetime | None = None) -> list[Partition]:
        """The days that a window ending at `as_of` reads, in order: every one from the lake's first on.

        Raises:
            DataError: none was published, or one of those in between or before `as_of` is missing.
        """
        days = [day for day in self.days() if as_of is None or midnight(day) < as_of]
        found = [one for day in days if (one := self.latest(day, as_of)) is not None]
        if not found:
            raise DataError(f"{self.folder} has no day that was published before {as_of or 'now'}: ingest some with "
                            "`vitrine lake ingest` or the DAG ingest")
        end = midnight(found[-1].day + DAY) if as_of is None else as_of
        missing = self._missing({one.day for one in found}, found[0].day, end)
        if missing:
            raise DataError(f"{self.folder} lacks {len(missing)} of the days from {found[0].day} to before {end}: "
                            f"{spans(missing)}; ingest them with `vitrine lake ingest --from {missing[0]} "
                            f"--to {missing[-1]}` or `airflow backfill create --dag-id ingest`, or choose as_of before")
        return found

    @staticmethod
    def _missing(found: set[date], first: date, end: datetime) -> list[date]:
        whole = (end - midnight(first)) // DAY
        return [day for number in range(whole) if (day := first + number * DAY) not in found]

    def keep(self, path: Path) -> str:
        """Copy a file into the lake, durable on return; its name there. What is there already stays."""
        name = f"{file_digest(path)}.parquet"
        final = self.path(name)
        if not final.exists():
            final.parent.mkdir(parents=True, exist_ok=True)
            beside = final.parent / f".incoming-{name[:12]}-{uuid.uuid4().hex[:12]}"
            try:
                shutil.copyfile(path, beside)
                descriptor = os.open(beside, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                beside.replace(final)  # who was quicker wrote the same
            finally:
                beside.unlink(missing_ok=True)
        sync_parent(final)
        return name

    def publish(self, partition: Partition) -> Partition:
        """Append a revision; the one that is there where this very revision was published before.

        Raises:
            LakeConflict: another revision came between, or the one before it is not there.
        """
        before = self.latest(partition.day)
        if partition.revision != (before.revision if before else 0) + 1:
            if before is not None and before.revision == partition.revision and before.content == partition.content:
                return before
            raise self._conflict(partition, before)
        key = f"{_DAYS}/{partition.day}/{partition.revision:08d}.json"
        if self._records.create(key, canonical(partition)):
            return partition
        taken = self._read(partition.day, partition.revision)
        if taken.content != partition.content:
            raise self._conflict(partition, taken)
        self._records.settle(key)
        return taken

    def _conflict(self, partition: Partition, found: Partition | None) -> LakeConflict:
        there = f"revision {found.revision} of {found.actor}" if found else "no revision"
        return LakeConflict(
            f"{self.folder}: day {partition.day} was to become revision {partition.revision}, and there is {there}: it "
            "was published by somebody else since its source was read; ingest it again")

    def _read(self, day: date, revision: int) -> Partition:
        path = self.folder / _DAYS / str(day) / f"{revision:08d}.json"
        try:
            return Partition.model_validate(read_json(path))
        except ValidationError as error:
            raise CorruptArtifact(f"{path} is no record of a day ({error}): restore it from a backup") from error


def tables_of(folder: Path, as_of: datetime | None) -> Mapping[str, tuple[Path, ...]]:
    """Files of a lake by table: events of every day that a window ending at `as_of` reads, the others of the last.

    Raises:
        DataError: a day is missing.
        CorruptArtifact: a record or a file of it is.
    """
    lake = Lake(folder)
    partitions = lake.partitions(as_of)
    last = partitions[-1]
    named: dict[str, Sequence[str]] = {c.EVENTS: [one.events for one in partitions], c.ITEMS: [last.items]}
    if last.users is not None:
        named[c.USERS] = [last.users]
    if last.merges is not None:
        named[c.MERGES] = [last.merges]
    found = {table: tuple(map(lake.path, names)) for table, names in named.items()}
    for path in (path for paths in found.values() for path in paths):
        if not path.is_file():
            raise CorruptArtifact(f"{path} is gone, and a published day names it: restore it from a backup")
    return found


def spans(days: Iterable[date]) -> str:
    """Days as people write them: runs of them as first to last."""
    runs: list[list[date]] = []
    for day in days:
        if runs and day - runs[-1][-1] == DAY:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]} ({len(run)} days)" for run in runs)
