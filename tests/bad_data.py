"""A corpus of bad data: one small shop, one defect at a time, in each table and column and kind of store.

The shop: 4 customers, 6 products, 40 events an hour apart from 1 March 2026, 09:00 UTC. Each case says what must come
of it, by hand: the faults that `check` must name (table, column, rule, rows), or that the rows are kept as they are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

STORES = ("parquet", "parts", "csv", "duckdb")  # one file, a folder of files, text, a database
BEGINS = pd.Timestamp("2026-03-01T09:00:00Z")
EVENTS, ITEMS, USERS = 40, 6, 4

Tables = dict[str, pd.DataFrame]
Named = tuple[str, str | None, str, int]  # table, column, rule, rows


def shop() -> Tables:
    """The sound shop."""
    n = np.arange(EVENTS)
    return {
        "events": pd.DataFrame({
            "user_id": [f"u{k}" for k in n % USERS], "item_id": [f"b{k}" for k in n % ITEMS],
            "timestamp": [BEGINS + pd.Timedelta(hours=int(k)) for k in n], "event_type": "purchase",
            "amount": n + 0.5}),
        "items": pd.DataFrame({
            "item_id": [f"b{k}" for k in range(ITEMS)], "title": [f"Bag number {k}" for k in range(ITEMS)],
            "category": ["bags", "scarves"] * 3, "price": [10.5 + k for k in range(ITEMS)]}),
        "users": pd.DataFrame({"user_id": [f"u{k}" for k in range(USERS)], "country": ["CH", "FR"] * 2}),
    }


@dataclass(frozen=True)
class Case:
    """A defect and what must come of it.

    Attributes:
        name: defect, table and column.
        store: one of STORES.
        break_it: changes the sound shop.
        named: faults of which each must be reported, with these very rows.
        kept: rows of the ingested events where the shop is still fit; None where it must be refused.
        after: events that are left out and counted, because they are not before `as_of`.
        error: what opening must say, where no table can be read at all.
        spec: of the shop.
        raw: written after the tables: file name -> text, or bytes.
    """

    name: str
    store: str
    break_it: Callable[[Tables], Any]
    named: Sequence[Named] = ()
    kept: int | None = None
    after: int = 0
    error: str | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, bytes] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name} {self.store}"


def write(folder: Path, case: Case) -> str:
    """Write the case's shop and return the source to open."""
    tables = shop()
    case.break_it(tables)
    for name, table in tables.items():
        if case.store == "csv":
            text = table.copy()
            for column in text:
                if isinstance(text[column].dtype, pd.DatetimeTZDtype):
                    text[column] = text[column].map(lambda t: "" if pd.isna(t) else t.isoformat())
            text.to_csv(folder / f"{name}.csv", index=False)
        elif case.store == "parts":
            (folder / name).mkdir()
            half = len(table) // 2
            for part, rows in (("a", table.iloc[:half]), ("b", table.iloc[half:])):
                rows.to_parquet(folder / name / f"{part}.parquet", index=False)
        elif case.store == "duckdb":
            with duckdb.connect(str(folder / "shop.db")) as database:
                database.register("incoming", table)
                database.execute(f"SET TimeZone = 'UTC'; CREATE TABLE {name} AS SELECT * FROM incoming")
        else:
            table.to_parquet(folder / f"{name}.parquet", index=False)
    for name, content in case.raw.items():
        (folder / name).write_bytes(content)
    return f"duckdb://{folder / 'shop.db'}" if case.store == "duckdb" else str(folder)


# --- defects -------------------------------------------------------------------------------------------------------


def put(table: str, column: str, *values: Any) -> Callable[[Tables], None]:
    """Other values in the first rows of a column."""
    def change(tables: Tables) -> None:
        kept = tables[table][column].astype(object).tolist()
        tables[table][column] = [*values, *kept[len(values) :]]
    return change


def without(table: str, column: str) -> Callable[[Tables], None]:
    """The column is gone."""
    def change(tables: Tables) -> None:
        tables[table] = tables[table].drop(columns=column)
    return change


def times(*values: str) -> Callable[[Tables], None]:
    """Other times in the first rows."""
    def change(tables: Tables) -> None:
        column = tables["events"]["timestamp"].tolist()
        tables["events"]["timestamp"] = pd.to_datetime(
            [*(pd.Timestamp(v) for v in values), *column[len(values) :]], utc=True).as_unit("us")
    return change


def rows(table: str, first: int, last: int | None = None) -> Callable[[Tables], None]:
    """Only these rows of a table."""
    def change(tables: Tables) -> None:
        tables[table] = tables[table].iloc[first:last].reset_index(drop=True)
    return change


def twice(table: str, count: int) -> Callable[[Tables], None]:
    """The first rows stand there a second time."""
    def change(tables: Tables) -> None:
        tables[table] = pd.concat([tables[table], tables[table].iloc[:count]], ignore_index=True)
    return change


def both(*changes: Callable[[Tables], Any]) -> Callable[[Tables], None]:
    """One defect after the other."""
    def change(tables: Tables) -> None:
        for each in changes:
            each(tables)
    return change


def renamed(old: Mapping[str, str]) -> Callable[[Tables], None]:
    """Other ids of items, in both tables."""
    def change(tables: Tables) -> None:
        for name in ("events", "items"):
            tables[name]["item_id"] = tables[name]["item_id"].replace(dict(old))
    return change


def as_type(table: str, column: str, convert: Callable[["pd.Series[Any]"], Any]) -> Callable[[Tables], None]:
    """The whole column in another type."""
    def change(tables: Tables) -> None:
        tables[table][column] = convert(tables[table][column])
    return change


def weekly(last_week: int) -> Callable[[Tables], None]:
    """Seven weeks of 140 events, the last one of `last_week`; the clock's last event ends a whole week."""
    def change(tables: Tables) -> None:
        ends = BEGINS + pd.Timedelta(days=49)
        moments = [ends - pd.Timedelta(days=7 * week) - pd.Timedelta(hours=k)
                   for week in range(7) for k in range(last_week if week == 0 else 140)]
        n = np.arange(len(moments))
        tables["events"] = pd.DataFrame({
            "user_id": [f"u{k}" for k in n % USERS], "item_id": [f"b{k}" for k in n % ITEMS],
            "timestamp": pd.DatetimeIndex(moments).as_unit("us"), "event_type": "purchase", "amount": n + 0.5,
        }).sort_values("timestamp", ignore_index=True)
    return change


def numbered(table: str, column: str) -> "pd.Series[Any]":
    """The digits of ids as whole numbers."""
    return shop()[table][column].str[1:].astype("int64")


ID_COLUMNS = (("events", "user_id", EVENTS), ("events", "item_id", EVENTS), ("items", "item_id", ITEMS),
              ("users", "user_id", USERS))


def everywhere() -> Iterator[Case]:
    """Defects that look alike in every store."""
    for store in STORES:
        for table, column, _ in ID_COLUMNS:
            follows = () if (table, column) != ("items", "item_id") else (("events", "item_id", "unknown-item", 7),)
            yield Case(f"null-id {table}.{column}", store, put(table, column, None),
                       [(table, column, "null-id", 1), *follows])
            yield Case(f"blank-id {table}.{column}", store, put(table, column, "  "),
                       [(table, column, "null-id", 1), *follows])
        for table, column, count in ID_COLUMNS:
            yield Case(f"missing-column {table}.{column}", store, without(table, column),
                       [(table, column, "missing-column", count)])
        yield Case("missing-column events.timestamp", store, without("events", "timestamp"),
                   [("events", "timestamp", "missing-column", EVENTS)])
        yield Case("no types is one type", store, without("events", "event_type"), kept=EVENTS)
        yield Case("missing-table items", store, lambda t: t.pop("items"), [("items", None, "missing-table", 0)])
        yield Case("missing-table events", store, lambda t: t.pop("events"), [("events", None, "missing-table", 0)])
        yield Case("no users is no fault", store, lambda t: t.pop("users"), kept=EVENTS)
        for table in ("events", "items", "users"):
            yield Case(f"no-rows {table}", store, rows(table, 0, 0), [(table, None, "no-rows", 0)])
        yield Case("duplicate-id items", store, twice("items", 2), [("items", "item_id", "duplicate-id", 2)])
        yield Case("duplicate-id users", store, twice("users", 1), [("users", "user_id", "duplicate-id", 1)])
        yield Case("repeated events", store, twice("events", 5), [("events", None, "repeated", 5)], kept=EVENTS + 5)
        yield Case("unknown-item", store, rows("items", 1), [("events", "item_id", "unknown-item", 7)])
        yield Case("one item", store, both(put("events", "item_id", *["b0"] * EVENTS), rows("items", 0, 1)),
                   [("items", "item_id", "too-few", 1)])
        yield Case("one user", store, put("events", "user_id", *["u0"] * EVENTS),
                   [("events", "user_id", "too-few", EVENTS)])
        yield Case("infinite items.price", store, put("items", "price", float("inf"), float("-inf")),
                   [("items", "price", "not-finite", 2)])
        yield Case("infinite events.amount", store, put("events", "amount", float("inf")),
                   [("events", "amount", "not-finite", 1)])
        yield Case("nan items.price is missing", store, put("items", "price", float("nan")), kept=EVENTS)
        yield Case("nan events.amount is missing", store, put("events", "amount", float("nan")), kept=EVENTS)
        yield Case("null items.title is missing", store, put("items", "title", None, None), kept=EVENTS)
        yield Case("null users.country is missing", store, put("users", "country", None), kept=EVENTS)
        yield Case("null-type", store, put("events", "event_type", None, ""),
                   [("events", "event_type", "null-type", 2)])
        yield Case("look-alike type", store, put("events", "event_type", "Purchase", "purchase "),
                   [("events", "event_type", "look-alike", 2)], kept=EVENTS)
        yield Case("null-time", store, put_times(None), [("events", "timestamp", "null-time", 1)])
        yield Case("time before 1990", store, times("1970-01-21T11:00:00Z"), [("events", "timestamp", "time-range", 1)])
        yield Case("time after 2099", store, times("2150-01-01T00:00:00Z"), [("events", "timestamp", "time-range", 1)])
        yield Case("clock a year ahead", store, times("2027-03-01T00:00:00Z"),
                   [("events", "timestamp", "stray-time", 1)], kept=EVENTS - 1, after=1)
        yield Case("clock a year behind", store, times("2025-03-01T00:00:00Z"),
                   [("events", "timestamp", "stray-time", 1)], kept=EVENTS)
        yield Case("clock a day ahead is left out and counted", store, times("2026-06-02T00:00:00Z"),
                   [("events", "timestamp", "stray-time", 1)], kept=EVENTS - 1, after=1)
        yield Case("late events are kept in their place", store, lambda t: t.update(
            events=pd.concat([t["events"].iloc[5:], t["events"].iloc[:5]], ignore_index=True)), kept=EVENTS)
        yield Case("half the usual volume", store, weekly(70), [("events", "timestamp", "low-volume", 70)],
                   kept=6 * 140 + 70)
        yield Case("the usual volume", store, weekly(140), kept=7 * 140)
        yield Case("new column items.colour", store, lambda t: t["items"].insert(1, "colour", ["red", "blue"] * 3),
                   kept=EVENTS)
        yield Case("new column events.channel", store, lambda t: t["events"].insert(1, "channel", "web"), kept=EVENTS)
        yield Case("missing column items.price", store, without("items", "price"), kept=EVENTS)
        yield Case("missing column that is named", store, without("items", "price"),
                   [("items", "price", "missing-column", ITEMS)], spec={"columns": {"items": {"price": "prix"}}})
        yield Case("unicode ids", store, renamed({"b0": "sac à main 👜", "b1": "手提包", "b2": "حقيبة"}), kept=EVENTS)
        yield Case("ids with leading zeros", store, renamed({f"b{k}": f"00{k}" for k in range(ITEMS)}), kept=EVENTS)
        yield Case("zeros lost in events", store, both(
            renamed({f"b{k}": f"00{k}" for k in range(ITEMS)}), put("events", "item_id", "0", "1")),
            [("events", "item_id", "unknown-item", 2)])
        yield Case("zeros lost for some users", store, put("events", "user_id", "007", "7", "007", "7.0"),
                   [("events", "user_id", "look-alike", 2)], kept=EVENTS)
        yield Case("look-alike users", store, put("events", "user_id", "café", "cafe\u0301", "café\u200b", " café"),
                   [("events", "user_id", "look-alike", 3)], kept=EVENTS)
        yield Case("composed in items, decomposed in events", store, both(
            renamed({"b0": "café"}), put("events", "item_id", "cafe\u0301")),
            [("events", "item_id", "unknown-item", 1), ("events", "item_id", "look-alike", 1)])
        yield Case("no positive events", store, put("events", "event_type", *["return"] * EVENTS),
                   [("events", "event_type", "no-positives", EVENTS)])
        yield Case("availability in words", store, lambda t: t["items"].insert(1, "stock", ["yes", "No", "TRUE"] * 2),
                   kept=EVENTS, spec={"columns": {"items": {"available": "stock"}}})
        yield Case("availability nobody can read", store, lambda t: t["items"].insert(1, "stock", ["yes", "maybe"] * 3),
                   [("items", "available", "availability", ITEMS)], spec={"columns": {"items": {"available": "stock"}}})


def put_times(*values: Any) -> Callable[[Tables], None]:
    """Missing times in the first rows."""
    def change(tables: Tables) -> None:
        column = tables["events"]["timestamp"].tolist()
        tables["events"]["timestamp"] = pd.to_datetime([*values, *column[len(values) :]], utc=True).as_unit("us")
    return change


def typed() -> Iterator[Case]:
    """Drifts of type, which a store with types shows."""
    for store in ("parquet", "duckdb"):
        for table, column, count in ID_COLUMNS:
            follows = [("events", "item_id", "unknown-item", EVENTS)] if column == "item_id" else []
            yield Case(f"floats {table}.{column}", store,
                       as_type(table, column, lambda _, t=table, c=column: numbered(t, c).astype("float64")),
                       [(table, column, "type", count)])
            yield Case(f"whole numbers {table}.{column}", store,
                       as_type(table, column, lambda _, t=table, c=column: numbered(t, c)),
                       follows, kept=None if follows else EVENTS)
        yield Case("whole numbers in both", store, both(
            as_type("events", "item_id", lambda _: numbered("events", "item_id")),
            as_type("items", "item_id", lambda _: numbered("items", "item_id"))), kept=EVENTS)
        yield Case("numbers events.event_type", store, as_type("events", "event_type", lambda c: [1] * len(c)),
                   [("events", "event_type", "type", EVENTS)])
        yield Case("seconds events.timestamp", store,
                   as_type("events", "timestamp", lambda c: c.astype("int64") // 10**6),
                   [("events", "timestamp", "type", EVENTS)])
        yield Case("naive events.timestamp", store, as_type("events", "timestamp", lambda c: c.dt.tz_localize(None)),
                   [("events", "timestamp", "naive-time", EVENTS)])
        yield Case("naive events.timestamp that is UTC", store,
                   as_type("events", "timestamp", lambda c: c.dt.tz_localize(None)), kept=EVENTS,
                   spec={"events": {"naive_times": "utc"}})
        yield Case("another time zone", store, as_type("events", "timestamp", lambda c: c.dt.tz_convert("Asia/Tokyo")),
                   kept=EVENTS)
        yield Case("words in a number items.price", store, as_type("items", "price", lambda c: [f"{v} EUR" for v in c]),
                   [("items", "price", "kind", ITEMS)], spec={"items": {"kinds": {"price": "numeric"}}})
        yield Case("vectors of two lengths", store,
                   lambda t: t["items"].insert(1, "shape", [[1.0, 2.0]] * 5 + [[1.0]]),
                   [("items", "shape", "kind", 1)], spec={"items": {"kinds": {"shape": "vector"}}})
        yield Case("nan in a vector", store,
                   lambda t: t["items"].insert(1, "shape", [[1.0, 2.0]] * 5 + [[1.0, float("nan")]]),
                   [("items", "shape", "kind", 1)])


def written() -> Iterator[Case]:
    """What text files have of their own."""
    def times_as(text: str) -> Callable[[Tables], None]:
        return as_type("events", "timestamp", lambda c: [t.strftime(text) for t in c])

    def nothing(_: Tables) -> None:
        pass

    yield Case("American dates", "csv", times_as("%m/%d/%Y %H:%M"), [("events", "timestamp", "time-format", EVENTS)])
    yield Case("offsets", "csv", times_as("%Y-%m-%dT%H:%M:%S+02:00"), kept=EVENTS)
    yield Case("no offset is UTC", "csv", times_as("%Y-%m-%d %H:%M:%S"), kept=EVENTS)
    yield Case("a word among times", "csv", both(
        times_as("%Y-%m-%dT%H:%M:%SZ"), put("events", "timestamp", "yesterday")),
        [("events", "timestamp", "time-format", 1)])
    yield Case("no times at all", "csv", as_type("events", "timestamp", lambda c: [""] * len(c)),
               [("events", "timestamp", "null-time", EVENTS)])
    yield Case("a word among prices", "csv", lambda t: t.update(events=t["events"].assign(
        amount=[*t["events"]["amount"].astype(str)[:39], "12,50 EUR"])),
        [("events", "amount", "almost-numbers", 1)], kept=EVENTS)
    yield Case("NaN in words", "csv", put("items", "price", "NaN"), kept=EVENTS)
    yield Case("Infinity in words", "csv", put("items", "price", "Infinity"), [("items", "price", "not-finite", 1)])
    yield Case("a file of no bytes", "csv", lambda t: t.pop("items"), raw={"items.csv": b""},
               named=[("items", "item_id", "missing-column", 0), ("items", None, "no-rows", 0)])
    yield Case("two files of one table", "csv", nothing, error="keep one", raw={"items.parquet": b""})
    yield Case("no Parquet inside", "parquet", lambda t: t.pop("items"), error="cannot be read",
               raw={"items.parquet": b"PAR1 and nothing more"})
    yield Case("half a Parquet file", "parquet", lambda t: t.pop("events"), error="cannot be read",
               raw={"events.parquet": b"PAR1" + bytes(1000)})
    yield Case("bytes that are no UTF-8", "csv", lambda t: t.pop("items"), error="cannot be read",
               raw={"items.csv": "item_id,title\nb0,Sac à main\n".encode("latin-1")})
    yield Case("a BOM before the header", "csv", lambda t: t.pop("items"), kept=EVENTS, raw={
        "items.csv": b"\xef\xbb\xbf" + shop()["items"].to_csv(index=False).encode()})


def corpus() -> list[Case]:
    """All cases; of the defects that every store can have, each in two kinds of store, by turns."""
    turns = {name: number % 2 for number, name in enumerate(dict.fromkeys(case.name for case in everywhere()))}
    chosen = [case for case in everywhere() if case.store in (STORES[turns[case.name]], STORES[turns[case.name] + 2])]
    return [*chosen, *typed(), *written()]
