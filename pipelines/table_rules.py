"""Rules that only a table as a whole can break: too little in it, a half empty week, a few words among numbers."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from pipelines import columns as c
from pipelines.tables import is_plain_number

# The last week beside the usual one: the median of those before it.
WEEK = pd.Timedelta(days=7)
WEEKS_BEFORE, LEAST_WEEKS = 8, 4
LEAST_VOLUME = 100  # events of a usual week; below, chance alone halves one now and then
LOW_VOLUME = 0.6
ALMOST = 0.95  # of a column's values are numbers: then the others are mistakes rather than labels


class Finding(NamedTuple):
    """A rule that a column breaks, in how many rows, with an example; the fields of a `Fault` that vary."""

    column: str
    rule: str
    rows: int
    example: str


def item_findings(items: pd.DataFrame, is_availability_named: bool) -> Iterator[Finding]:
    """Of the items' table: a single item, and an `available` that the specification names and nobody can read."""
    if len(items) == 1:
        yield Finding(c.ITEM, "too-few", 1, f"the one item is {said(items.iloc[0].get(c.ITEM))}")
    if is_availability_named and c.AVAILABLE in items:
        is_told = items[c.AVAILABLE].map(lambda value: value is None or isinstance(value, bool | np.bool_))
        if not is_told.all():
            first = items[c.AVAILABLE][~is_told].iloc[0]
            yield Finding(c.AVAILABLE, "availability", int((~is_told).sum()), said(first))


def event_findings(events: pd.DataFrame, as_of: datetime | None) -> Iterator[Finding]:
    """Of the log: a single customer, and a last week with far fewer events than the weeks before it.

    Args:
        events: with the columns that could be read.
        as_of: end of the last week; just after the last event where there is none.
    """
    if c.USER in events and len(events) and events[c.USER].nunique() == 1:
        yield Finding(c.USER, "too-few", len(events), f"the one customer is {said(events[c.USER].iloc[0])}")
    if c.TIME in events and isinstance(events[c.TIME].dtype, pd.DatetimeTZDtype):
        yield from _volume(events[c.TIME].dropna(), as_of)


def _volume(times: "pd.Series[pd.Timestamp]", as_of: datetime | None) -> Iterator[Finding]:
    if not len(times):
        return
    end = times.max() + pd.Timedelta(microseconds=1) if as_of is None else pd.Timestamp(as_of)
    before = times[times < end]
    # Whole weeks only, and none from before the log began.
    weeks = min(WEEKS_BEFORE + 1, (end - before.min()) // WEEK) if len(before) else 0
    if weeks <= LEAST_WEEKS:
        return
    age = np.ceil(((end - before[before >= end - weeks * WEEK]) / WEEK).to_numpy()).astype(np.int64)
    volumes = np.bincount(age - 1, minlength=weeks)
    last, usual = int(volumes[0]), float(np.median(volumes[1:]))
    if usual >= LEAST_VOLUME and last < LOW_VOLUME * usual:
        yield Finding(c.TIME, "low-volume", last, f"{last:,} events from {end - WEEK:%Y-%m-%d %H:%M} on where the "
                      f"{weeks - 1} weeks before had {usual:,.0f} each (median)")


def almost_numbers(table: ir.Table, known: set[str]) -> Iterator[Finding]:
    """Text columns of which nearly all values are numbers: one price that reads "12,50 EUR" makes words of all.

    Args:
        table: normalised.
        known: columns whose kind is no question.
    """
    texts = [n for n in table.columns if n not in known and n not in c.PROTOCOL and table[n].type().is_string()]
    if not texts:
        return
    sums = {f"{n} values": table[n].notnull().cast("int64").sum() for n in texts}
    sums |= {f"{n} numbers": is_plain_number(table[n]).cast("int64").sum() for n in texts}
    counts = table.aggregate(**sums).to_pyarrow().to_pylist()[0]
    for n in texts:
        values, numbers = int(counts[f"{n} values"] or 0), int(counts[f"{n} numbers"] or 0)
        if ALMOST * values <= numbers < values:
            wrong = table.filter(table[n].notnull() & ~is_plain_number(table[n])).select(n).limit(1)
            example = f"{said(wrong.to_pyarrow()[n][0].as_py())} among {numbers:,} numbers"
            yield Finding(n, "almost-numbers", values - numbers, example)


def said(value: Any) -> str:
    """A value for people, at most 60 characters."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "null"
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
