"""Some days of a source, with what the online process laid down for them, opened as a source of their own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from ibis.backends.duckdb import Backend

from pipelines import columns as c
from pipelines.errors import VitrineError
from pipelines.lake import DAY, midnight
from pipelines.shop_spec import ShopSpec
from pipelines.source import Between, Source, open_source
from pipelines.tables import DEFAULT_TYPE

# Rows arrive after they happened, and by a clock that may be somewhat late.
_SKEW = DAY
_LANDED = (c.EVENT, c.USER, c.ITEM, c.TIME, c.TYPE)


@dataclass(frozen=True)
class Slice:
    """Days of a source. `left_out` landed events have an item that the catalogue does not have (yet)."""

    source: Source
    left_out: int
    _files: Mapping[Path, tuple[int, int]]

    @property
    def size(self) -> int:
        """Bytes of the source's files, which its days cannot exceed by much; 0 of a database, copied beside already."""
        return sum(size for size, _ in self._files.values())

    def hold(self) -> None:
        """Make sure that what was read is one state of the source.

        Raises:
            VitrineError: a file changed since the source was opened; another try helps.
        """
        changed = [path for path, stamp in self._files.items() if _stamp(path) != stamp]
        if changed:
            raise VitrineError(f"{changed[0]} changed while it was read: ingest it again when its writer has finished")


@contextmanager
def open_days(
    source: str, first: date, last: date, spec: ShopSpec, landing: Path | None = None, merges: Path | None = None,
) -> Iterator[Slice]:
    """Open the events of the days from `first` to `last`, the whole catalogue, and the merges in force at the end.

    Events without a readable time come along, so that the check can name them.

    Args:
        source: as for `open_source`.
        first, last: days of UTC, both included.
        spec: the shop's specification.
        landing: landing folder of the online process (serving/landing.py). An event that was laid down twice counts
            once, by its id.
        merges: those that were in force before, which need not lie in the landing folder any more.

    Raises:
        DataError, VitrineError: as `open_source`.
    """
    between = Between(spec.names_of(c.EVENTS).get(c.TIME, c.TIME), midnight(first), midnight(last + DAY))
    with open_source(source, between=between) as opened:
        files = {path: _stamp(path) for paths in opened.files.values() for path in paths}
        if c.EVENTS in opened.tables:
            _cut(opened, between)
        left_out = 0 if landing is None else _add_landed(opened, landing, between, spec)
        tables = opened.tables if landing is None else opened.tables | {c.EVENTS}
        if _add_merges(opened.engine, landing, merges, between.stop):
            tables |= {c.MERGES}
        yield Slice(replace(opened, files={}, tables=tables), left_out, files)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _cut(opened: Source, between: Between) -> None:
    """Put the events of the time that is asked for in the place of all."""
    kind = _types(opened.engine, c.EVENTS).get(between.column)
    if kind is None or not kind.startswith(("TIMESTAMP", "DATE", "VARCHAR")):
        return  # the check says what is wrong with it
    column = _named(between.column)
    time = column if kind == "TIMESTAMP WITH TIME ZONE" else f"TRY_CAST({column} AS TIMESTAMPTZ)"
    _put(opened.engine, f"SELECT * FROM {c.EVENTS} WHERE {time} IS NULL OR {_inside(time, between)}")


def _put(engine: Backend, query: str) -> None:
    """Let the rows of a query be the events; they keep their order."""
    engine.raw_sql(f"CREATE TABLE sliced AS {query}")
    for kind, in engine.raw_sql(
            f"SELECT table_type FROM information_schema.tables WHERE table_name = '{c.EVENTS}'").fetchall():
        engine.raw_sql(f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} {c.EVENTS}")
    engine.raw_sql(f"ALTER TABLE sliced RENAME TO {c.EVENTS}")


def _inside(time: str, between: Between) -> str:
    return f"({time} >= TIMESTAMPTZ '{between.start}' AND {time} < TIMESTAMPTZ '{between.stop}')"


def _types(engine: Backend, table: str) -> dict[str, str]:
    return {name: kind for name, kind, *_ in engine.raw_sql(f"DESCRIBE {table}").fetchall()}


def _add_landed(opened: Source, landing: Path, between: Between, spec: ShopSpec) -> int:
    """Append the landed events of the time that is asked for, under the source's names; how many were left out."""
    engine = opened.engine
    _read_landed(engine, landing, between)
    left_out = 0
    if c.ITEMS in opened.tables:
        item = spec.names_of(c.ITEMS).get(c.ITEM, c.ITEM)
        if item in _types(engine, c.ITEMS):
            column = _named(item)
            unknown = f"item_id NOT IN (SELECT CAST({column} AS VARCHAR) FROM {c.ITEMS} WHERE {column} IS NOT NULL)"
            left_out = engine.raw_sql(f"SELECT count(*) FROM landed WHERE {unknown}").fetchone()[0]
            engine.raw_sql(f"DELETE FROM landed WHERE {unknown}")
    names = {name: spec.names_of(c.EVENTS).get(name, name) for name in _LANDED}
    if c.EVENTS not in opened.tables:
        _put(engine, f"SELECT {', '.join(f'{_named(n)} AS {_named(names[n])}' for n in _LANDED)} FROM landed")
        return int(left_out)
    known = _types(engine, c.EVENTS)
    # As text where all is text; a time as the source writes it: one without a zone stays one, and is refused.
    kinds = {name: "VARCHAR" for name in _LANDED}
    kinds[c.TIME] = known.get(between.column, "TIMESTAMPTZ")
    landed = ", ".join(f"CAST({_named(n)} AS {kinds[n]}) AS {_named(names[n])}" for n in _LANDED)
    own = "*" if names[c.TYPE] in known else f"*, '{DEFAULT_TYPE}' AS {_named(names[c.TYPE])}"
    _put(engine, f"SELECT {own} FROM {c.EVENTS} UNION ALL BY NAME SELECT {landed} FROM landed")
    return int(left_out)


def _read_landed(engine: Backend, landing: Path, between: Between) -> None:
    """Make the table `landed`, in the order of arrival."""
    engine.raw_sql("CREATE TABLE landed (event_id VARCHAR, user_id VARCHAR, item_id VARCHAR, "
                   '"timestamp" TIMESTAMPTZ, event_type VARCHAR)')
    events = _parts(landing / "events", between.start - _SKEW)
    if not events:
        return
    engine.raw_sql(f"""
        INSERT INTO landed SELECT {', '.join(_LANDED)} FROM (
            SELECT *, row_number() OVER (PARTITION BY event_id ORDER BY filename, file_row_number) AS copy
            FROM read_parquet({events}, hive_partitioning = false, filename = true, file_row_number = true))
        WHERE copy = 1 AND {_inside('"timestamp"', between)} ORDER BY filename, file_row_number""")


def _add_merges(engine: Backend, landing: Path | None, before: Path | None, stop: datetime) -> bool:
    """Make the table of merges that were dated and not undone before `stop`; whether there are any.

    The first delivery of a merge counts, as in the session store. One that was undone is gone altogether: it was a
    mistake, and what it united never belonged together.
    """
    landed = "" if landing is None else _parts(landing / c.MERGES)
    arrived = []
    if before is not None:
        arrived.append(f"SELECT *, NULL::TIMESTAMPTZ AS undone_at, '' AS filename, file_row_number "
                       f"FROM read_parquet({_quoted(str(before))}, file_row_number = true)")
    if landed:
        arrived.append(f"SELECT * FROM read_parquet({landed}, hive_partitioning = false, filename = true, "
                       "file_row_number = true)")
    if not arrived:
        return False
    engine.raw_sql(f"CREATE TABLE arrived AS {' UNION ALL BY NAME '.join(arrived)}")
    first = ", ".join(f"arg_min({_named(name)}, (filename, file_row_number)) AS {_named(name)}"
                      for name in (c.ALIAS, c.USER, c.TIME))
    engine.raw_sql(f"""
        CREATE TABLE {c.MERGES} AS SELECT {c.MERGE}, {first} FROM arrived
        WHERE undone_at IS NULL AND {_named(c.TIME)} < TIMESTAMPTZ '{stop}' AND {c.MERGE} NOT IN (
            SELECT {c.MERGE} FROM arrived WHERE undone_at < TIMESTAMPTZ '{stop}')
        GROUP BY {c.MERGE} ORDER BY {_named(c.TIME)}, {c.MERGE}""")
    return bool(engine.raw_sql(f"SELECT 1 FROM {c.MERGES} LIMIT 1").fetchall())


def _parts(folder: Path, since: datetime | None = None) -> str:
    """Sealed files of a landed table that arrived on the day of `since` or later, as a list of SQL; "" for none."""
    first = f"day={since:%Y-%m-%d}" if since is not None else ""
    found = [path for path in sorted(folder.glob("day=*/*.parquet"))
             if path.parent.name >= first and not path.name.startswith(".")]
    return f"[{', '.join(_quoted(str(path)) for path in found)}]" if found else ""


def _named(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
