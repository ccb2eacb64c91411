"""Stage ingest: a checked copy of the shop's tables, in partitions of one day of events."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import columns as c
from pipelines.artifacts import seal, stage_key, write_json
from pipelines.check import inspect
from pipelines.contracts import Ingested, Window
from pipelines.days import split_days
from pipelines.erasure.exclusion import Exclusion
from pipelines.erasure.reading import known_merges, known_users, without_erased
from pipelines.errors import DataError, VitrineError
from pipelines.free_space import require_free
from pipelines.progress import Progress, log
from pipelines.schema import SHOP_FILE
from pipelines.shop_spec import ShopSpec
from pipelines.source import UTC_TIME, Source, open_source
from pipelines.tables import WRITTEN, normalised
from serving.erased import ErasureLog

EVENTS_FOLDER = "events"
PART = "part.parquet"


def ingest(
    source: str, window: Window, spec: ShopSpec, root: Path, erasures: ErasureLog | None = None,
) -> Ingested:
    """Check the source and copy what the window holds.

    Writes `events/day=YYYY-MM-DD/part.parquet` (start <= time < as_of, by time and then by the source's
    order; names of pipelines.columns, times microseconds UTC; the day is in the path only), `items.parquet`
    and `users.parquet` (all rows, in the source's order; without a user table, no rows), `merges.parquet`
    (where a lake was told who is who) and `shop.json` (`ShopSchema`). The same content, window, specification
    and erasures give the same bytes, and are done once.

    Args:
        source: folder or URL.
        window: whose events are copied.
        spec: the shop's specification.
        root: of the artefacts.
        erasures: of the shop; who was erased is left out, with the events up to the erasure and the row of users.

    Returns:
        The contract; `users` counts those with events in the window, `items` all of the table.

    Raises:
        DataError: the source breaks the data contract (every fault is in the message), or has no event in
            the window. Nothing is left behind.
        VitrineError: the source changed while it was read; another try helps once its writer has finished.
        ErasedMeanwhile: somebody was erased while the source was read; another try leaves them out.
    """
    exclusion = Exclusion(erasures)
    with open_source(source, window.as_of) as opened:
        fingerprint = opened.fingerprint()
        key = stage_key("ingest", fingerprint, window, spec, exclusion.digest)

        def build(folder: Path) -> dict[str, Any]:
            # A database's size is not known; its tables were copied beside before this.
            size = sum(path.stat().st_size for paths in opened.files.values() for path in paths)
            require_free(folder, size, f"the copy of {opened.name}")
            return _build(opened, fingerprint, window, spec, exclusion, folder)

        return seal(Ingested, root, "ingest", key, build, exclusion.require_unchanged)


def time_range(source: str, spec: ShopSpec) -> tuple[datetime, datetime]:
    """Time of the first and of the last event, UTC. An `as_of` just after the last takes the whole log in.

    Raises:
        DataError: there are no events, or their times cannot be read.
    """
    with open_source(source) as opened:
        events = normalised(opened, c.EVENTS, spec)
        if events is not None and c.TIME in events.columns and events[c.TIME].type() == UTC_TIME:
            first, last = _bounds(events)
            if first is not None and last is not None:
                return first, last
        raise DataError(f"{opened.name} has no events with a time in UTC: run `vitrine check` on it for the reasons")


def _bounds(events: ir.Table) -> tuple[datetime | None, datetime | None]:
    row = events.aggregate(first=events[c.TIME].min(), last=events[c.TIME].max()).to_pyarrow().to_pylist()[0]
    first, last = row["first"], row["last"]
    return first and first.astimezone(UTC), last and last.astimezone(UTC)


def _build(
    source: Source, fingerprint: str, window: Window, spec: ShopSpec, exclusion: Exclusion, folder: Path
) -> dict[str, Any]:
    report = inspect(source, spec, window.as_of)
    if report.errors:
        raise DataError(f"{source.name} breaks the data contract in {len(report.errors)} places:\n"
                        + "\n".join(f"  {fault}" for fault in report.errors))
    for fault in report.faults:
        log.warning("ingest: %s", fault)
    events = normalised(source, c.EVENTS, spec)
    items = normalised(source, c.ITEMS, spec)
    if events is None or items is None:
        raise AssertionError("a source without events or items passed the check")
    inside = _within(events.drop(WRITTEN) if WRITTEN in events.columns else events, window)
    of_window = int(inside.count().to_pyarrow().as_py())
    inside = without_erased(source, inside, exclusion)
    total = int(inside.count().to_pyarrow().as_py())
    erased = of_window - total
    if erased:
        log.info("ingest: %s events of people who were erased are left out", f"{erased:,}")
    if not total:
        raise DataError(
            f"{source.name} has no event from {window.start or 'the beginning'} to before {window.as_of}: its first "
            f"event is at {report.first_event}, its last at {report.last_event}; choose as_of after the first event "
            "and a start not after the last"
        )
    after = int((events[c.TIME] >= ibis.literal(window.as_of, UTC_TIME)).sum().to_pyarrow().as_py() or 0)
    before = report.tables[c.EVENTS].rows - of_window - after
    for left, where in ((before, f"before {window.start}"), (after, f"at or after {window.as_of}")):
        if left:
            log.info("ingest: %s of %s events lie %s and are left out", f"{left:,}",
                     f"{report.tables[c.EVENTS].rows:,}", where)
    first, last = _bounds(inside)
    users = int(inside[c.USER].nunique().to_pyarrow().as_py())
    in_order = inside.order_by(c.TIME, c.ROW).drop(c.ROW)
    days = write_days(source.stream(in_order), folder / EVENTS_FOLDER, Progress("ingest", total, "events"))
    _write(_in_source_order(items), folder / "items.parquet")
    people = normalised(source, c.USERS, spec)
    _write(pa.table({c.USER: pa.array([], pa.string())}) if people is None else
           known_users(_in_source_order(people), exclusion), folder / "users.parquet")
    merges = known_merges(source, exclusion)
    if merges is not None:
        _write(merges, folder / "merges.parquet")
    # Types of the window only: what happens after as_of changes nothing here.
    types = sorted(inside.select(c.TYPE).distinct().to_pyarrow()[c.TYPE].to_pylist())
    write_json(folder / SHOP_FILE, report.shop.model_copy(update={"weights": {t: spec.weight(t) for t in types}}))
    if source.fingerprint() != fingerprint:
        raise VitrineError(f"{source.name} changed while it was read: ingest it again when its writer has finished")
    return {"source": source.name, "window": window, "events": total, "items": report.tables[c.ITEMS].rows,
            "users": users, "days": days, "first_event": first, "last_event": last,
            "events_before": before, "events_after": after, "events_erased": erased}


def _within(events: ir.Table, window: Window) -> ir.Table:
    """Events of the window, with their position in the source as `row_id`."""
    # The protocol's own row_id is gone from normalised tables, so that its name is free.
    events = events.mutate(**{c.ROW: ibis.row_number()})
    inside = events.filter(events[c.TIME] < ibis.literal(window.as_of, UTC_TIME))
    return inside.filter(inside[c.TIME] >= ibis.literal(window.start, UTC_TIME)) if window.start else inside


def _in_source_order(table: ir.Table) -> pa.Table:
    return table.mutate(**{c.ROW: ibis.row_number()}).order_by(c.ROW).drop(c.ROW).to_pyarrow()


def write_days(batches: Iterable[pa.RecordBatch], folder: Path, progress: Progress) -> int:
    """Write time-ordered events as one Parquet file a day and return the number of days.

    One day is held in memory, so that the file does not depend on how the engine cut its batches.
    """
    days = 0
    for day, rows in split_days(batches):
        _write(rows, folder / f"day={day}" / PART)
        progress.advance(len(rows), str(day))
        days += 1
    progress.finish(f"{days} days")
    return days


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.combine_chunks().replace_schema_metadata(None), path, compression="zstd")
