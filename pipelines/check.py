"""`vitrine check`: does a source keep the data contract, and what would be learned from?"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import ibis.expr.types as ir
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors
from pyarrow import Table as ArrowTable
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines import columns as c
from pipelines.contracts import Document, UtcTime
from pipelines.rules import RULES, entity_schema, event_schema
from pipelines.schema import TEXT_NAMES, Field, LeftOut, ShopSchema, display_columns, sort_columns
from pipelines.shop_spec import ShopSpec
from pipelines.source import Source, open_source
from pipelines.table_rules import almost_numbers, event_findings, item_findings, said
from pipelines.tables import WRITTEN, normalised

ID_COLUMNS = {c.ITEMS: c.ITEM, c.USERS: c.USER}
REQUIRED = (c.EVENTS, c.ITEMS)


class Fault(Document):
    """One rule that one column (or a whole table) breaks."""

    table: str
    column: str | None
    rule: str
    count: int  # rows that break it; for a whole column, all rows
    example: str
    remedy: str
    severity: Literal["error", "warning"]

    def __str__(self) -> str:
        place = f"{self.table}.{self.column}" if self.column else self.table
        return f"{place}: {self.rule} ({self.count:,} rows), for example {self.example}; {self.remedy}"


class TableReport(Document):
    """A table that was found: `fields` are its features, `left_out` the columns that are none, and why."""

    rows: int
    fields: tuple[Field, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


class Report(Document):
    """What `check` found. `shop` is what an ingest would note down."""

    source: str
    tables: dict[str, TableReport]
    first_event: UtcTime | None
    last_event: UtcTime | None
    event_types: dict[str, int]  # type -> events
    shop: ShopSchema
    faults: tuple[Fault, ...]

    @property
    def errors(self) -> tuple[Fault, ...]:
        """The faults that stop a retrain."""
        return tuple(f for f in self.faults if f.severity == "error")


def check(source: str, spec: ShopSpec) -> Report:
    """Check a folder or database (see `open_source`) against the data contract; nothing is written.

    Raises:
        DataError: the source cannot be opened or read at all.
    """
    with open_source(source) as opened:
        return inspect(opened, spec)


def inspect(source: Source, spec: ShopSpec, as_of: datetime | None = None) -> Report:
    """Check an opened source.

    Args:
        source: opened.
        spec: the shop's specification.
        as_of: end of the last week whose volume is compared; by default just after the last event.
    """
    faults = [f for name in c.TABLES for f in _structure(source, name, spec)]
    tables: dict[str, TableReport] = {}
    ids: pd.Series | None = None
    display: dict[str, str | None] = dict.fromkeys(("title", "category", "price", "image"))
    for name, id_column in ID_COLUMNS.items():
        lazy = normalised(source, name, spec)
        if lazy is None:
            continue
        table = lazy.to_pyarrow()
        fields, left_out = sort_columns(table, id_column, spec)
        tables[name] = TableReport(rows=len(table), fields=fields, left_out=left_out)
        faults += _entity_faults(name, lazy, table, fields, spec)
        if name == c.ITEMS:
            ids = table.select([c.ITEM]).to_pandas()[c.ITEM] if c.ITEM in table.column_names else None
            display = display_columns(table)
    log = normalised(source, c.EVENTS, spec)
    events = None if log is None else _event_frame(log)
    counts: dict[str, int] = {}
    if log is not None and events is not None:
        tables[c.EVENTS] = TableReport(rows=len(events))
        numbers = [str(n) for n in events if n != c.TIME and pd.api.types.is_float_dtype(events[n].dtype)]
        faults += _faults(c.EVENTS, events, event_schema(numbers, ids))
        core = {c.USER, c.ITEM, c.TIME, c.TYPE, c.SESSION, WRITTEN}
        faults += [_fault(c.EVENTS, *found) for found in almost_numbers(log, core)]
        faults += [_fault(c.EVENTS, *found) for found in event_findings(events, as_of)]
        if c.TYPE in events and isinstance(events[c.TYPE].dtype, pd.StringDtype):
            counts = {str(t): int(n) for t, n in events[c.TYPE].value_counts().sort_index().items()}
            faults += _type_faults(counts, spec, len(events))
    faults += [_fault(n, None, "no-rows", 0, "the table is empty") for n, t in tables.items() if not t.rows]
    first, last = _time_bounds(events)
    shop = ShopSchema(
        spec=spec, display=display, weights={t: spec.weight(t) for t in counts},
        item_fields=tables[c.ITEMS].fields if c.ITEMS in tables else (),
        user_fields=tables[c.USERS].fields if c.USERS in tables else (),
    )
    return Report(source=source.name, tables={n: tables[n] for n in c.TABLES if n in tables}, first_event=first,
                  last_event=last, event_types=counts, shop=shop,
                  faults=tuple(sorted(faults, key=lambda f: (f.severity, c.TABLES.index(f.table)))))


def item_faults(source: Source, spec: ShopSpec) -> tuple[Fault, ...]:
    """The faults of the items' table alone, as `inspect` finds them."""
    faults = list(_structure(source, c.ITEMS, spec))
    lazy = normalised(source, c.ITEMS, spec)
    if lazy is not None:
        table = lazy.to_pyarrow()
        fields, _ = sort_columns(table, c.ITEM, spec)
        faults += _entity_faults(c.ITEMS, lazy, table, fields, spec)
        faults += [] if len(table) else [_fault(c.ITEMS, None, "no-rows", 0, "the table is empty")]
    return tuple(faults)


def _entity_faults(
    name: str, lazy: ir.Table, table: ArrowTable, fields: Sequence[Field], spec: ShopSpec
) -> Iterator[Fault]:
    """Faults of the items' or the users' table, normalised, with the features that were found in it."""
    id_column, frame = ID_COLUMNS[name], table.to_pandas()
    numbers = [n for n in frame if n != id_column and pd.api.types.is_float_dtype(frame[n].dtype)]
    yield from _faults(name, frame, entity_schema(id_column, numbers, fields))
    known = {id_column, *spec.kinds_of(id_column), *TEXT_NAMES}
    yield from (_fault(name, *found) for found in almost_numbers(lazy, known))
    if name == c.ITEMS:
        yield from (_fault(name, *found) for found in item_findings(frame, c.AVAILABLE in spec.columns.items))
        if len(table) and not fields:
            yield _fault(name, None, "no-features", len(table), "no column has more than one value")


def _event_frame(table: ir.Table) -> pd.DataFrame:
    """The columns of events that rules look at; texts beyond the contract are not loaded."""
    core = (c.USER, c.ITEM, c.TIME, c.TYPE, WRITTEN)
    names = [n for n in table.columns if n in core or table[n].type().is_floating()]
    frame: pd.DataFrame = table.select(*names).to_pyarrow().to_pandas()
    return frame


def _time_bounds(events: pd.DataFrame | None) -> tuple[Any, Any]:
    if events is None or c.TIME not in events or not isinstance(events[c.TIME].dtype, pd.DatetimeTZDtype):
        return None, None
    times = events[c.TIME].dropna()
    return (times.min().to_pydatetime(), times.max().to_pydatetime()) if len(times) else (None, None)


def _fault(table: str, column: str | None, rule: str, count: int, example: str) -> Fault:
    return Fault(table=table, column=column, rule=rule, count=count, example=example, remedy=RULES[rule].remedy,
                 severity=RULES[rule].severity)


def _structure(source: Source, name: str, spec: ShopSpec) -> Iterator[Fault]:
    """Tables that are missing, and columns that the specification names and the table does not have."""
    table = source.table(name)
    if table is None:
        if name in REQUIRED:
            found = ", ".join(n for n in c.TABLES if source.table(n) is not None) or "none of the three"
            yield _fault(name, None, "missing-table", 0, f"{source.name} holds {found}")
        return
    names, rows = spec.names_of(name), int(table.count().to_pyarrow().as_py())
    for ours, theirs in names.items():
        if theirs not in table.columns:
            yield _fault(name, ours, "missing-column", rows, f"no column {theirs!r} to be read as {ours!r}")
        elif ours != theirs and ours in table.columns:
            yield _fault(name, ours, "name-clash", rows, f"{theirs!r} is to be read as {ours!r}, which exists too")
    if name in ID_COLUMNS:
        known = {*table.columns, *names}
        for column in spec.kinds_of(ID_COLUMNS[name]):
            if column not in known:
                yield _fault(name, column, "unknown-column", rows, f"columns are {', '.join(table.columns)}")


def _faults(table: str, frame: pd.DataFrame, schema: pa.DataFrameSchema) -> Iterator[Fault]:
    try:
        schema.validate(frame, lazy=True)
    except SchemaErrors as errors:
        for error in errors.schema_errors:
            if error.reason_code is not None and error.reason_code.name == "COLUMN_NOT_IN_DATAFRAME":
                column = str(error.failure_cases)
                yield _fault(table, column, "missing-column", len(frame), f"columns are {', '.join(map(str, frame))}")
                continue
            if not isinstance(error.check, pa.Check) or error.reason_code.name == "CHECK_ERROR":
                raise  # a defect of a rule, not of the data
            yield _row_fault(table, frame, error.schema.name, str(error.check.name), error.check_output)


def _row_fault(table: str, frame: pd.DataFrame, column: str | None, rule: str, output: Any) -> Fault:
    """Count and example of a rule's output: one answer a row, or a single one for the whole column."""
    if not isinstance(output, pd.Series):
        return _fault(table, column, rule, len(frame), f"a column of type {frame[column].dtype}"
                      + (f" that begins with {said(frame[column].iloc[0])}" if len(frame) else ""))
    broken = ~output.astype(bool)
    row = int(broken.to_numpy().argmax())
    if column is not None:
        example = f"row {row}: {said(frame[column].iloc[row])}"
    elif rule == "time-format":
        column, example = c.TIME, f"row {row}: {said(frame[WRITTEN].iloc[row])}"
    elif rule == "null-time":
        column, example = c.TIME, f"row {row}: null"
    else:
        cells = [f"{n}={said(frame[n].iloc[row])}" for n in (c.USER, c.ITEM, c.TIME, c.TYPE)]
        example = f"row {row}: {', '.join(cells)}"
    return _fault(table, column, rule, int(broken.sum()), example)


def _type_faults(counts: Mapping[str, int], spec: ShopSpec, rows: int) -> Iterator[Fault]:
    found = f"types are {', '.join(counts) or 'none'}"
    for name in sorted({*spec.events.weights, *(spec.events.count or ())} - counts.keys()):
        yield _fault(c.EVENTS, c.TYPE, "unknown-type", 0, f"no event has type {name!r}; {found}")
    if rows and not any(spec.weight(t) > 0 for t in counts):
        yield _fault(c.EVENTS, c.TYPE, "no-positives", rows, found)


def render(report: Report, console: Console) -> None:
    """Print a report: tables, features, and each fault with its remedy."""
    overview = Table(title=f"Tables of {escape(report.source)}", title_justify="left")
    for heading in ("table", "rows", "features", "left out"):
        overview.add_column(heading, justify="right" if heading == "rows" else "left", overflow="fold")
    for name, table in report.tables.items():
        if name == c.EVENTS:
            features = ", ".join(f"{n:,} {t} (weight {report.shop.weights[t]:g})"
                                 for t, n in report.event_types.items())
        else:
            features = ", ".join(f"{f.name} ({f.kind})" for f in table.fields)
        left = "; ".join(f"{f.name}: {f.reason}" for f in table.left_out)
        overview.add_row(name, f"{table.rows:,}", escape(features), escape(left))
    console.print(overview)
    if report.first_event and report.last_event:
        console.print(f"Events from {report.first_event:%Y-%m-%d %H:%M} to {report.last_event:%Y-%m-%d %H:%M} UTC.")
    if report.faults:
        faults = Table(title="Faults", title_justify="left", show_lines=True)
        for heading in ("severity", "where", "rule", "rows", "example", "remedy"):
            faults.add_column(heading, justify="right" if heading == "rows" else "left", overflow="fold")
        for f in report.faults:
            where = f"{f.table}.{f.column}" if f.column else f.table
            style = "red" if f.severity == "error" else "yellow"
            faults.add_row(f"[{style}]{f.severity}[/]", escape(where), f.rule, f"{f.count:,}", escape(f.example),
                           escape(f.remedy))
        console.print(faults)
    errors = len(report.errors)
    console.print(f"[red]{errors} error{'s' * (errors != 1)}: not fit for a retrain.[/]" if errors
                  else "[green]Fit for a retrain.[/]")
