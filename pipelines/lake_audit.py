"""What a day that was written aside must pass before it is published: whole, of known form, of usual volume."""

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from statistics import median

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from pipelines import columns as c
from pipelines.contracts import Check, Document, Landed
from pipelines.errors import SettingsError
from pipelines.lake import DAY, Lake, Partition, midnight

WEEK = 7 * DAY
_LEAST_WEEKS = 2  # with fewer of the same weekday there is no usual volume
_NO_TYPE = pa.null()

NAMES = ("rows", "schema", "volume", "shrunk", "late", "unknown-items")


class AuditSettings(Document):
    """Bounds of the audit.

    Attributes:
        weeks: how many weeks back the same weekday is compared with.
        least, most: share of the median of those days that the day may have.
        quiet: events of a usual day up to which no volume is judged: chance alone doubles and halves so few.
        kept: share of its events that a day which is published again must still have.
        late: share of a day's events that may come late; more looks like an export that was written twice.
        unknown: share of landed events whose item the catalogue may lack.
    """

    weeks: int = Field(4, ge=1, le=52)
    least: float = Field(0.4, ge=0, le=1)
    most: float = Field(3.0, ge=1)
    quiet: int = Field(100, ge=0)
    kept: float = Field(0.9, ge=0, le=1)
    late: float = Field(0.5, ge=0)
    unknown: float = Field(0.5, ge=0, le=1)


def checks(landed: Landed, lake: Lake, settings: AuditSettings, accepted: Sequence[str] = ()) -> Iterator[Check]:
    """Every question with its answer and its figures.

    Raises:
        SettingsError: `accepted` names no check.
    """
    for name in accepted:
        if name not in NAMES:
            raise SettingsError(f"there is no check {name!r} to accept: checks are {', '.join(NAMES)}")
    for found in (_rows(landed), _schema(landed, lake), _volume(landed, lake, settings), _shrunk(landed, settings),
                  _late(landed, settings), _unknown(landed, settings)):
        is_accepted = not found.passed and found.name in accepted
        yield found.model_copy(update={
            "passed": True, "reason": f"accepted by a person: {found.reason}"}) if is_accepted else found


def _rows(landed: Landed) -> Check:
    """Are all events there that were counted, and of their day?"""
    wrong = []
    for one in landed.days:
        times = pq.read_table(Path(landed.path, c.EVENTS, f"{one.day}.parquet"), columns=[c.TIME])[c.TIME]
        bounds = pc.min_max(times).as_py() if len(times) else {"min": midnight(one.day), "max": midnight(one.day)}
        if len(times) != one.events or not (
                midnight(one.day) <= bounds["min"] <= bounds["max"] < midnight(one.day + DAY)):
            wrong.append(f"{one.day} has {len(times):,} rows from {bounds['min']} to {bounds['max']}, and "
                         f"{one.events:,} events were counted")
    return Check(name="rows", passed=not wrong, value=float(sum(one.events for one in landed.days)), threshold=None,
                 reason="; ".join(wrong) or "what was counted was written, each event in its day")


def _schema(landed: Landed, lake: Lake) -> Check:
    """Have the tables the columns that they had?"""
    before = _published_before(lake, landed.day)
    if before is None:
        return Check(name="schema", passed=True, value=None, threshold=0, reason="no earlier day to compare with")
    folder = Path(landed.path)
    pairs = [(c.EVENTS, before.events, folder / c.EVENTS / f"{landed.day}.parquet"),
             (c.ITEMS, before.items, folder / "items.parquet")]
    if before.users is not None:
        pairs.append((c.USERS, before.users, folder / "users.parquet"))
    faults, news = [], []
    for table, name, path in pairs:
        if not path.exists():
            faults.append(f"the table {table} is gone")
            continue
        # Of days in the lake also columns without values have their type: it was carried on from the day before.
        old = {field.name: field.type for field in pq.read_schema(lake.path(name))}
        new = _columns(path)
        faults += [f"{table}.{n} is gone" for n in old if n not in new]
        faults += [f"{table}.{n} was {kind} and is {new[n]}" for n, kind in old.items()
                   if n in new and new[n] != kind and _NO_TYPE not in (kind, new[n])]
        news += [f"{table}.{n} is new" for n in new if n not in old]
    said = "; ".join((*faults, *news)) or "the same columns"
    return Check(name="schema", passed=not faults, value=float(len(faults)), threshold=0,
                 reason=f"beside {before.day}: {said}")


def _columns(path: Path) -> dict[str, pa.DataType]:
    """Column -> type; none where no row has a value, for then the type says nothing."""
    file = pq.ParquetFile(path)
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    parts = [group.column(place) for group in groups for place in range(group.num_columns)]
    # Members of lists have paths of their own; a part without statistics may hold values.
    filled = {part.path_in_schema for part in parts if part.statistics is None or part.statistics.num_values}
    return {field.name: field.type if field.name in filled or pa.types.is_nested(field.type) else _NO_TYPE
            for field in file.schema_arrow}


def _published_before(lake: Lake, day: date) -> Partition | None:
    return next((lake.latest(one) for one in reversed(lake.days()) if one < day), None)


def _volume(landed: Landed, lake: Lake, settings: AuditSettings) -> Check:
    """Has the day about as many events as the same weekday of the last weeks?"""
    events = landed.days[-1].events
    weeks = [lake.latest(landed.day - number * WEEK) for number in range(1, settings.weeks + 1)]
    volumes = [one.rows for one in weeks if one is not None]
    if len(volumes) < _LEAST_WEEKS:
        return Check(name="volume", passed=True, value=float(events), threshold=None,
                     reason=f"{len(volumes)} of the {settings.weeks} same weekdays before are published: nothing to "
                            "compare with")
    usual = median(volumes)
    low, high = settings.least * usual, settings.most * usual
    passed = usual < settings.quiet or low <= events <= high
    return Check(name="volume", passed=passed, value=float(events), threshold=low if events < usual else high,
                 reason=f"{events:,} events where the {len(volumes)} same weekdays before had {usual:,.0f} (median); "
                        f"from {low:,.0f} to {high:,.0f} are usual, and days below {settings.quiet:,} are not judged")


def _shrunk(landed: Landed, settings: AuditSettings) -> Check:
    """Would a day that is published again lose events?"""
    shares = [(one.events / one.events_before, one) for one in landed.days if one.events_before]
    share, worst = min(shares, key=lambda pair: pair[0], default=(1.0, None))
    said = f"{worst.day} has {worst.events:,} events and had {worst.events_before:,}" if worst else "no day had any"
    return Check(name="shrunk", passed=share >= settings.kept, value=share, threshold=settings.kept,
                 reason=f"{said}; where the source keeps fewer days than are compared, lower late_days")


def _late(landed: Landed, settings: AuditSettings) -> Check:
    """Have more events come late than come late?"""
    shares = [(one.late / one.events_before, one) for one in landed.days[:-1] if one.events_before]
    share, worst = max(shares, key=lambda pair: pair[0], default=(0.0, None))
    said = "nothing came late"
    if worst is not None:
        said = f"{worst.day} had {worst.events_before:,} events and has {worst.late:,} more"
    return Check(name="late", passed=share <= settings.late, value=share, threshold=settings.late, reason=said)


def _unknown(landed: Landed, settings: AuditSettings) -> Check:
    """Are most items of landed events in the catalogue?"""
    seen = landed.left_out + sum(one.events for one in landed.days)
    share = landed.left_out / seen if seen else 0.0
    return Check(name="unknown-items", passed=share <= settings.unknown, value=share, threshold=settings.unknown,
                 reason=f"{landed.left_out:,} landed events are of items that the catalogue lacks; they are taken in "
                        "as late events once it has them")
