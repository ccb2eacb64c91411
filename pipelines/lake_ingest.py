"""A day of a source into the lake: written aside (`land`), looked at (`audit`), and only then published (`publish`).

Late events. A run looks at the days before its own as well, `late_days` of them. One that was published and that the
source now has otherwise is opened again: it becomes a further revision, known as of the end of this run's interval.
Days that are not published yet are left to their own run.
"""

from collections.abc import Sequence
from datetime import date
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from pipelines import columns as c
from pipelines.artifacts import file_digest, seal, stage_key, write_json
from pipelines.check import Fault, inspect
from pipelines.contracts import Audited, Document, Landed, LandedDay, Origin, Published
from pipelines.days import split_days
from pipelines.erasure.exclusion import Exclusion
from pipelines.erasure.reading import known_merges, known_users, without_erased
from pipelines.errors import DataError, LakeConflict
from pipelines.free_space import require_free
from pipelines.lake import DAY, Lake, Partition, midnight, spans
from pipelines.lake_audit import AuditSettings, checks
from pipelines.lake_slice import Slice, open_days
from pipelines.progress import log
from pipelines.shop_spec import ColumnNames, ShopSpec
from pipelines.source import Source
from pipelines.tables import WRITTEN, normalised
from serving.erased import ErasureLog

SPEC_FILE = "spec.json"
CHECKS_FILE = "checks.json"
# Rules about a whole log: a quiet day may break them.
_NOT_OF_DAYS = ("too-few", "no-rows", "low-volume", "no-positives", "unknown-type")


class LandSettings(Document):
    """How a day is read.

    Attributes:
        late_days: how many days before the one that is ingested are compared with the source, and opened again where
            it has them otherwise. Not more than the source itself keeps.
    """

    late_days: int = Field(7, ge=0, le=90)


def land(
    source: str, day: date, spec: ShopSpec, lake: Lake, settings: LandSettings, root: Path, landing: Path | None = None,
    erasures: ErasureLog | None = None,
) -> Landed:
    """Write a day of a source aside, with the catalogue and the earlier days that are to be opened again.

    Args:
        source: as for `open_source`.
        day: of UTC.
        spec: the shop's specification.
        lake: to compare with; nothing is written there.
        settings: how many days are compared.
        root: artefact root; the sealed folder holds `events/DAY.parquet`, `items.parquet` and perhaps `users.parquet`
            and `merges.parquet`.
        landing: landing folder of the online process, if its events are to be taken in.
        erasures: of the shop; who was erased is left out, and an earlier day that still holds them is opened again.

    Raises:
        ErasedMeanwhile: somebody was erased while the source was read; another try leaves them out.
        DataError: the days break the data contract; every fault is in the message.
        VitrineError: the source changed while it was read; another try helps.
    """
    exclusion = Exclusion(erasures)
    first = day - settings.late_days * DAY
    known = {earlier: lake.latest(earlier) for earlier in lake.days() if first <= earlier <= day}
    last = next((lake.latest(one) for one in reversed(lake.days()) if one <= day), None)
    merges = lake.path(last.merges) if last is not None and last.merges is not None else None
    with open_days(source, first, day, spec, landing, merges) as opened:
        looked_at = {str(one): [found.revision, found.events] for one, found in known.items() if found}
        key = stage_key("land", opened.source.fingerprint(), str(day), spec, settings, looked_at, str(lake.folder),
                        exclusion.digest)
        return seal(Landed, root, "land", key, partial(_land, opened, first, day, spec, lake, known, exclusion),
                    exclusion.require_unchanged)


def _land(
    opened: Slice, first: date, day: date, spec: ShopSpec, lake: Lake, known: dict[date, Partition | None],
    exclusion: Exclusion, folder: Path,
) -> dict[str, Any]:
    source = opened.source
    require_free(folder, opened.size, f"the days from {first} to {day} of {source.name}")
    report = inspect(source, spec, midnight(day + DAY))
    faults = [fault for fault in report.faults if not _is_quiet(fault)]
    errors = [fault for fault in faults if fault.severity == "error"]
    if errors:
        raise DataError(f"{source.name} breaks the data contract in {len(errors)} places in the days from {first} to "
                        f"{day}:\n" + "\n".join(f"  {fault}" for fault in errors))
    for fault in faults:
        log.warning("land: %s", fault)
    users = None
    for name in (c.ITEMS, c.USERS):
        table = normalised(source, name, spec)
        if table is not None:
            rows = table.mutate(**{c.ROW: ibis.row_number()}).order_by(c.ROW).drop(c.ROW).to_pyarrow()
            if name == c.USERS:
                rows = known_users(rows, exclusion)
                users = len(rows)
            write_rows(rows, folder / f"{name}.parquet")
    merges = known_merges(source, exclusion)
    if merges is not None:
        write_rows(merges, folder / f"{c.MERGES}.parquet")
    events = normalised(source, c.EVENTS, spec)
    if events is None:
        raise AssertionError("a source without events passed the check")
    events = events.drop(WRITTEN) if WRITTEN in events.columns else events
    days = _write_days(source, without_erased(source, events, exclusion), day, known, lake, exclusion, folder)
    opened.hold()
    write_json(folder / SPEC_FILE, spec.model_copy(update={"columns": ColumnNames()}))  # names are ours from here on
    return {"source": source.name, "lake": str(lake.folder), "day": day, "known_at": midnight(day + DAY),
            "first_day": first, "days": tuple(days), "items": report.tables[c.ITEMS].rows,
            "users": users, "left_out": opened.left_out, "merges": len(merges) if merges is not None else 0}


def _is_quiet(fault: Fault) -> bool:
    return fault.table == c.EVENTS and fault.rule in _NOT_OF_DAYS


def _write_days(
    source: Source, events: ir.Table, day: date, known: dict[date, Partition | None], lake: Lake, exclusion: Exclusion,
    folder: Path,
) -> list[LandedDay]:
    """Write the day, and of the earlier ones in the lake those that are otherwise here; in order."""
    events = events.mutate(**{c.ROW: ibis.row_number()}).order_by(c.TIME, c.ROW).drop(c.ROW)
    like = known.get(day) or next((lake.latest(one) for one in reversed(lake.days()) if one < day), None)
    none = events.schema().to_pyarrow().empty_table()
    wanted = {*known, day}
    found = []
    for one, rows in chain(split_days(source.stream(events)), [(one, none) for one in sorted(wanted)]):
        if one not in wanted:
            continue  # of no interest, or written
        wanted.remove(one)
        before = known.get(one)
        model = before or like
        landed = _write_day(conformed(rows, pq.read_schema(lake.path(model.events))) if model else rows, one, before,
                            one == day, lake, exclusion, folder)
        found += [landed] if landed else []
    return sorted(found, key=lambda landed: landed.day)


def _write_day(
    rows: pa.Table, day: date, before: Partition | None, is_asked: bool, lake: Lake, exclusion: Exclusion, folder: Path
) -> LandedDay | None:
    path = folder / c.EVENTS / f"{day}.parquet"
    write_rows(rows, path)
    if not is_asked and before is not None and _is_same(path, lake.path(before.events)):
        path.unlink()
        return None
    return LandedDay(day=day, events=len(rows), replaces=before.revision if before else None,
                     events_before=_rows_to_keep(before, lake, exclusion) if before else 0)


def _rows_to_keep(before: Partition, lake: Lake, exclusion: Exclusion) -> int:
    """Events of a revision without those of people erased since: these are no loss."""
    if not exclusion.erased.number:
        return before.rows
    held = pq.read_table(lake.path(before.events), columns=[c.USER, c.TIME]).to_pandas()
    return before.rows - int(exclusion.events(held).sum())


def conformed(rows: pa.Table, known: pa.Schema) -> pa.Table:
    """`rows` with the types of `known` where a column has no value: on a quiet day nothing else tells them."""
    for place, field in enumerate(rows.schema):
        if field.name in known.names and field.type != known.field(field.name).type and (
                rows[field.name].null_count == len(rows)):
            kind = known.field(field.name).type
            rows = rows.set_column(place, pa.field(field.name, kind), pa.nulls(len(rows), kind))
    return rows


def _is_same(path: Path, other: Path) -> bool:
    if file_digest(path) == other.stem:
        return True
    # Another version of the writer may put the same rows otherwise.
    return bool(pq.read_table(path).equals(pq.read_table(other)))


def write_rows(table: pa.Table, path: Path) -> None:
    """Write Parquet that holds nothing but the rows: the same rows give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.combine_chunks().replace_schema_metadata(None), path, compression="zstd")


def audit(landed: Landed, settings: AuditSettings, root: Path, accepted: Sequence[str] = ()) -> Audited:
    """Look at what was written aside, beside what the lake has.

    Args:
        landed: to be looked at.
        settings: the bounds.
        root: artefact root; the sealed folder holds `checks.json`.
        accepted: names of checks that a person has looked into: they are noted down and refuse nothing.
    """
    lake = Lake(Path(landed.lake))
    found = tuple(checks(landed, lake, settings, accepted))
    key = stage_key("audit", landed.key, *found)

    def build(folder: Path) -> dict[str, Any]:
        write_json(folder / CHECKS_FILE, [one.model_dump(mode="json") for one in found])
        return {"landed": landed, "accepted": all(one.passed for one in found), "checks": found}

    return seal(Audited, root, "audit", key, build)


def insist(audited: Audited) -> None:
    """Let nothing through that the audit refused.

    Raises:
        DataError: with every check that did not pass.
    """
    refused = [one for one in audited.checks if not one.passed]
    if refused:
        landed = audited.landed
        raise DataError(
            f"{landed.source}: day {landed.day} is not published, and nothing changed in {landed.lake}:\n  "
            + "\n  ".join(f"{one.name}: {one.reason}" for one in refused)
            + f"\nMend the source, or accept what you have looked into: {', '.join(one.name for one in refused)}")


def publish(audited: Audited, origin: Origin) -> Published:
    """Publish what the audit let through: first the days that are opened again, last the day itself.

    Killed at any moment and run again it ends in the same revisions. A day that is published already as it is stays
    as it is. Where a day that was to be opened again has been published otherwise meanwhile, it is left alone: the
    next run compares it anew.

    Raises:
        DataError: the audit refused; nothing is published.
        LakeConflict: the day itself was published otherwise since it was read.
    """
    insist(audited)
    landed = audited.landed
    lake, folder = Lake(Path(landed.lake)), Path(landed.path)
    spec = ShopSpec.model_validate_json((folder / SPEC_FILE).read_text(encoding="utf-8"))
    items = lake.keep(folder / "items.parquet")
    users = lake.keep(folder / "users.parquet") if landed.users is not None else None
    merges = lake.keep(folder / "merges.parquet") if landed.merges else None
    reopened: dict[date, int] = {}
    for one in landed.days:
        before = lake.latest(one.day)
        fields = {"events": lake.keep(folder / c.EVENTS / f"{one.day}.parquet"), "rows": one.events,
                  "items": items, "users": users, "merges": merges, "spec": spec, "known_at": landed.known_at,
                  "source": landed.source, "checks": audited.checks, "actor": origin.actor, "reason": origin.reason}
        if one.day != landed.day and before is not None:
            # Late events, or erased ones, are no news of that day's catalogue, nor of who was who.
            fields |= {"items": before.items, "users": before.users, "merges": before.merges,
                       "reason": f"changed since, seen with {landed.day}"}
        wanted = Partition(day=one.day, revision=(one.replaces or 0) + 1, **fields)
        if before is not None and before.revision == one.replaces and before.content == wanted.content:
            published = before
        else:
            try:
                published = lake.publish(wanted)
            except LakeConflict as error:
                if one.day == landed.day:
                    raise
                log.warning("publish: %s; the next run compares it anew", error)
                continue
        if one.day != landed.day:
            reopened[one.day] = one.late
    log.info("publish: %s has revision %d of %s, %s events%s", lake.folder, published.revision, landed.day,
             f"{published.rows:,}", f"; opened again {spans(reopened)}" if reopened else "")
    return Published(lake=str(lake.folder), day=landed.day, revision=published.revision, events=published.rows,
                     reopened=reopened)

