"""Opening a shop's tables, wherever they lie, as one DuckDB behind Ibis.

Files are read where they are. A database is copied once, so that what was checked is what is ingested
even while the shop goes on writing, and no two engines have to agree on what a timestamp is.
"""

import hashlib
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pyarrow as pa
from ibis.backends.duckdb import Backend
from ibis.common.exceptions import TableNotFound

from pipelines import columns as c
from pipelines.addresses import redacted, scrubbed
from pipelines.artifacts import digest_of, file_digest
from pipelines.errors import CorruptArtifact, DataError, VitrineError
from pipelines.lake import is_lake, tables_of

BATCH_ROWS = 122_880  # a DuckDB row group
FILE_DATABASES = ("duckdb", "sqlite")
UTC_TIME = dt.Timestamp("UTC", scale=6)
_FINE = "TIMESTAMPTZ_NS"


class Between(NamedTuple):
    """Events that are asked for: start <= time < stop, `column` being the source's name of their time."""

    column: str
    start: datetime
    stop: datetime


@dataclass(frozen=True)
class Source:
    """An opened source: the tables that exist, under their own column names and in a fixed row order.

    `name` is what people read: the path or URL without a password. `files` are a table's files (none for
    a database), `text` the tables whose columns are all strings because they were CSV. Files of a lake are named by
    their content.
    """

    name: str
    engine: Backend
    tables: frozenset[str]
    files: Mapping[str, tuple[Path, ...]]
    text: frozenset[str]
    is_lake: bool = False

    def table(self, name: str) -> ir.Table | None:
        """One of events, items, users, and of a lake merges; None where the source does not have it.

        Instants of nanoseconds, as pandas wrote them until its third version, become such of microseconds.
        """
        if name not in self.tables:
            return None
        table = self.engine.table(name)
        # Ibis has no name for DuckDB's type.
        fine = [n for n, kind in table.schema().items() if isinstance(kind, dt.Unknown) and str(kind.raw_type) == _FINE]
        return table.mutate(**{n: table[n].cast(UTC_TIME) for n in fine}) if fine else table

    def stream(self, expression: ir.Table) -> Iterator[pa.RecordBatch]:
        """Rows of an expression in its order, batch by batch."""
        query = ibis.to_sql(expression, dialect="duckdb")
        # Not expression.to_pyarrow_batches(): Ibis 12 calls a method that DuckDB 2 no longer has.
        yield from self.engine.con.sql(query).to_arrow_reader(BATCH_ROWS)

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the content: of a folder's files, or of every row of a database's tables.

        A table that moved between Parquet and CSV, or was split into other files, has another fingerprint.

        Raises:
            CorruptArtifact: a file of a lake is not what its name says.
        """
        if self.files:
            digests = {path: file_digest(path) for files in self.files.values() for path in files}
            for path, found in digests.items():
                if self.is_lake and found != path.stem:
                    raise CorruptArtifact(f"{path} has the SHA-256 {found[:12]}: restore it from a backup")
            return digest_of({name: [[p.relative_to(self.name).as_posix(), digests[p]] for p in files]
                              for name, files in self.files.items()})
        return digest_of({name: self._row_digest(name) for name in sorted(self.tables)})

    def _row_digest(self, name: str) -> str:
        table = self.engine.table(name)
        digest = hashlib.sha256(str(table.schema()).encode())
        reader = self.engine.con.sql(f"SELECT CAST(to_json({name}) AS VARCHAR) FROM {name}").to_arrow_reader(BATCH_ROWS)
        for batch in reader:
            for row in batch.column(0).to_pylist():
                digest.update(row.encode() + b"\n")
        return digest.hexdigest()


@contextmanager
def open_source(
    source: str, as_of: datetime | None = None, between: Between | None = None, only: Collection[str] = c.LAKE_TABLES,
) -> Iterator[Source]:
    """Open a folder of tables, a lake, or an Ibis URL (`postgres://...`, `duckdb://shop.db`, `sqlite://shop.db`).

    A folder holds `events`, `items` and perhaps `users`, each as NAME.parquet, as a folder NAME/ of Parquet
    files, or as NAME.csv; files whose name begins with a dot are being written. A database holds tables or views of
    these names. Of a lake (pipelines/lake.py) the days before `as_of` are read, as they were known then.

    Of a database no more events are copied than those `between`, and those without a time; other sources are opened
    whole. Tables that are not among `only` are as if they were not there.

    Raises:
        DataError: the folder or file does not exist, or is broken (also when that shows only while reading).
        VitrineError: a database does not answer; another try may help.
    """
    name = redacted(source)
    with tempfile.TemporaryDirectory(prefix="vitrine-") as spill:
        engine = ibis.duckdb.connect(temp_directory=spill)
        try:
            # The session's time zone is that of texts without one, and of the times handed out.
            engine.raw_sql("SET TimeZone = 'UTC'")
            engine.raw_sql("SET enable_progress_bar = false")  # it would write into the log
            if is_lake(source):
                yield _view_lake(Path(source), name, engine, as_of, only)
            else:
                yield (_copy_database(source, name, engine, between, only) if "://" in source
                       else _view_folder(Path(source), name, engine, only))
        except duckdb.OutOfMemoryException:
            raise  # no fault of the data
        except duckdb.Error as error:
            raise DataError(f"{name} cannot be read: {error}") from error
        finally:
            engine.disconnect()


def _view_folder(folder: Path, name: str, engine: Backend, only: Collection[str]) -> Source:
    if not folder.is_dir():
        raise DataError(f"{name} is no folder: give a folder that holds events and items as .parquet or .csv, "
                        "or a database URL such as duckdb://shop.db")
    files: dict[str, tuple[Path, ...]] = {}
    text = set()
    for table in (name for name in c.TABLES if name in only):
        parquet, parts, csv = folder / f"{table}.parquet", folder / table, folder / f"{table}.csv"
        found = [p for p in (parquet, parts, csv) if p.exists()]
        if len(found) > 1:
            raise DataError(f"{name} holds {' and '.join(p.name for p in found)}: keep one, so that it is clear "
                            f"which are the {table}")
        if not found:
            continue
        inner = parquet if parquet.is_dir() else parts
        files[table] = _parts(inner) if found[0].is_dir() else (found[0],)
        if not files[table]:
            raise DataError(f"{found[0]} holds no .parquet file: write the {table} there or remove the folder")
        paths = [str(p) for p in files[table]]
        if found == [csv]:
            text.add(table)
            engine.read_csv(paths, table_name=table, all_varchar=True, header=True, delim=",", quote='"', escape='"')
        else:
            engine.read_parquet(paths, table_name=table, union_by_name=True, hive_types_autocast=False)
    return Source(name, engine, frozenset(files), files, frozenset(text))


def _parts(folder: Path) -> tuple[Path, ...]:
    found = (path for path in folder.rglob("*.parquet") if not any(
        part.startswith(".") for part in path.relative_to(folder).parts))
    return tuple(sorted(found))


def _view_lake(folder: Path, name: str, engine: Backend, as_of: datetime | None, only: Collection[str]) -> Source:
    files = {table: paths for table, paths in tables_of(folder, as_of).items() if table in only}
    for table, paths in files.items():
        # By name: a day may have a column more than the day before it.
        engine.read_parquet([str(p) for p in paths], table_name=table, union_by_name=True)
    return Source(name, engine, frozenset(files), files, frozenset(), is_lake=True)


def _copy_database(
    source: str, name: str, engine: Backend, between: Between | None, only: Collection[str]
) -> Source:
    tables = _read_database(source, name, between, only)
    for table, rows in tables.items():
        engine.con.register("incoming", rows)
        # A database promises no order: sorted by all columns, the same rows always come in the same order.
        engine.raw_sql(f"CREATE TABLE {table} AS SELECT * FROM incoming ORDER BY ALL")
        engine.con.unregister("incoming")
    return Source(name, engine, frozenset(tables), {}, frozenset())


def _read_database(
    source: str, name: str, between: Between | None, only: Collection[str]
) -> dict[str, pa.Table]:
    scheme, _, place = source.partition("://")
    # These two would create the file that they do not find.
    if scheme in FILE_DATABASES and not Path(place.partition("?")[0]).is_file():
        raise DataError(f"{name} does not exist: check the path, relative to the working folder")
    options: dict[str, Any] = {"read_only": True} if scheme == "duckdb" else {}
    try:
        database = ibis.connect(source, **options)
        try:
            found = {}
            for table in (name for name in c.TABLES if name in only):
                # Not database.list_tables(): of DuckDB 2, Ibis 12 cannot list any.
                with suppress(TableNotFound):
                    asked = database.table(table)
                    asked = _asked(asked, between) if between and table == c.EVENTS else asked
                    found[table] = asked.to_pyarrow()
            return found
        finally:
            database.disconnect()
    except Exception as error:  # every driver has its own family of exceptions
        said = scrubbed(str(error), source)
        # Not "from error": a log that shows the cause would show the password.
        raise VitrineError(f"{name} cannot be read ({said}): check address, rights and driver") from None


def _asked(events: ir.Table, between: Between) -> ir.Table:
    """Events of the time that is asked for, where the database can tell by a comparison with the column as it is."""
    kind = events[between.column].type() if between.column in events.columns else None
    if kind is None or not (kind.is_timestamp() or kind.is_date()):
        return events
    time, zone = events[between.column], kind.timezone if kind.is_timestamp() else None
    # A column without a time zone is compared with moments without one: they are UTC, or refused by the check.
    start, stop = (moment if zone else moment.replace(tzinfo=None) for moment in between[1:])
    return events.filter(((time >= start) & (time < stop)) | time.isnull())
