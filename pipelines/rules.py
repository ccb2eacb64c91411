"""The data contract: every rule with its severity and remedy, and the pandera schemas that hold them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pandera.pandas as pa

from pipelines import columns as c
from pipelines.schema import Field
from pipelines.shop_spec import FeatureKind
from pipelines.tables import WRITTEN

EARLIEST, LATEST = pd.Timestamp("1990-01-01", tz="UTC"), pd.Timestamp("2100-01-01", tz="UTC")


# Spaces of no width, and the mark that begins some files.
_INVISIBLE = "[\u200b-\u200f\u2060\ufeff\u00ad]"
_LEAST_TIMES = 20  # with fewer events, none of them is out of the way
_NEAR = pd.Timedelta(days=30)


@dataclass(frozen=True)
class Rule:
    """What is asked for. An error stops a retrain, a warning does not."""

    severity: Literal["error", "warning"]
    remedy: str


RULES = {
    "missing-table": Rule("error", "add the table as a .parquet or .csv file, or as a table or view of the database"),
    "no-rows": Rule("error", "write the table with its rows"),
    "missing-column": Rule("error", "add the column, or name yours in vitrine.toml under [columns.TABLE]"),
    "name-clash": Rule("error", "rename or remove one of the two columns, or take the name out of vitrine.toml"),
    "unknown-column": Rule("error", "correct the column name in vitrine.toml, or remove the line"),
    "type": Rule("error", "store ids and event types as strings (ids also as whole numbers), times as timestamps"),
    "null-id": Rule("error", "give the row an id, or remove it"),
    "duplicate-id": Rule("error", "keep one row for each id"),
    "null-type": Rule("error", "give each event a type, or leave the whole column out"),
    "null-time": Rule("error", "give each event its time, or remove it"),
    "time-format": Rule("error", "write times as ISO 8601, for example 2026-03-01T14:05:00Z"),
    "naive-time": Rule("error", 'store timestamps with time zone UTC, or set naive_times = "utc" under [events] '
                                "in vitrine.toml if they are UTC already"),
    "time-range": Rule("error", f"correct times outside {EARLIEST.year} to {LATEST.year}; often milliseconds "
                                "were read as seconds, or a placeholder date stands for null"),
    "unknown-item": Rule("error", "add the item to items (its id alone is enough), or remove the event"),
    "not-finite": Rule("error", "replace infinite numbers by null or by the right number"),
    "kind": Rule("error", "correct the values, or give the column another kind in vitrine.toml (or ignore)"),
    "no-positives": Rule("error", "name the event types that show taste under [events] count in vitrine.toml, and "
                                  "give at least one a weight above 0"),
    "too-few": Rule("error", "add the others: with one there is nothing to choose between and nothing to compare"),
    "availability": Rule("error", "write true or false or a stock count, or take `available` out of vitrine.toml"),
    "unknown-type": Rule("warning", "correct the event type in vitrine.toml if it is a typing mistake"),
    "repeated": Rule("warning", "nothing if one purchase may stand in several rows; otherwise remove the repeats"),
    "look-alike": Rule("warning", "write one thing in one way: ids differ where a single character does"),
    "almost-numbers": Rule("warning", "correct the values that are no numbers, or give the column kind categorical in "
                                      "vitrine.toml if it holds labels"),
    "stray-time": Rule("warning", "see whether the clock of whoever wrote these events was right"),
    "low-volume": Rule("warning", "see whether the export is whole; nothing if the shop was quiet"),
    "no-features": Rule("warning", "add columns that describe the items, or new items cannot be recommended"),
}


def _is_text(column: pd.Series) -> bool:
    return isinstance(column.dtype, pd.StringDtype)


def _is_present(column: pd.Series) -> pd.Series | bool:
    return column.notna() & column.str.strip().ne("") if _is_text(column) else True


def _is_time(column: pd.Series) -> bool:
    return pd.api.types.is_datetime64_any_dtype(column.dtype)


def _is_aware(column: pd.Series) -> bool:
    return isinstance(column.dtype, pd.DatetimeTZDtype) or not _is_time(column)


def _has_time(events: pd.DataFrame) -> pd.Series | bool:
    return events[WRITTEN if WRITTEN in events else c.TIME].notna() if c.TIME in events else True


def _is_parsed(events: pd.DataFrame) -> pd.Series | bool:
    return events[c.TIME].notna() | events[WRITTEN].isna() if WRITTEN in events else True


def _is_in_range(column: pd.Series) -> pd.Series | bool:
    if not isinstance(column.dtype, pd.DatetimeTZDtype):
        return True
    return column.between(EARLIEST, LATEST, inclusive="left") | column.isna()


def _is_finite(column: pd.Series) -> pd.Series | bool:
    return ~np.isinf(column) if pd.api.types.is_float_dtype(column.dtype) else True


def _is_written_once(column: pd.Series, is_case_told: bool = True) -> pd.Series | bool:
    """Whether no more frequent value looks the same, but for spaces, forms of a letter, or zeros that were lost."""
    if not _is_text(column):
        return True
    values = pd.Series(column.value_counts().index, dtype="str")  # of equally frequent ones the first met goes first
    looks = values.str.normalize("NFKC").str.replace(_INVISIBLE, "", regex=True).str.strip()
    looks = looks.str.replace(r"^0+(?=\d+(\.0)?$)", "", regex=True).str.replace(r"^(\d+)\.0$", r"\1", regex=True)
    if not is_case_told:
        looks = looks.str.casefold()
    doubles = values[looks.duplicated() & looks.ne("")]
    return ~column.isin(doubles) if len(doubles) else True


def _is_type_written_once(column: pd.Series) -> pd.Series | bool:
    return _is_written_once(column, is_case_told=False)


def _is_near(column: pd.Series) -> pd.Series | bool:
    """Whether a time belongs to the rest: no gap parts it that is longer than half of what the middle events span."""
    times = column.dropna() if isinstance(column.dtype, pd.DatetimeTZDtype) else column[:0]
    if len(times) < _LEAST_TIMES:
        return True
    number = np.sort(times.astype("int64").to_numpy())
    cut = max(3, len(number) // 100)  # the first and last per cent may lie anywhere
    first, last = number[cut], number[-1 - cut]
    room = max(_NEAR.value // pd.Timedelta(1, times.dt.unit).value, (last - first) // 2)
    # A shop that began slowly has a thin beginning, but no gap.
    early, late = (np.flatnonzero(np.diff(part) > room) for part in (number[: cut + 1], number[-1 - cut :]))
    low = number[early[-1] + 1] if len(early) else number[0]
    high = number[len(number) - 1 - cut + late[0]] if len(late) else number[-1]
    is_near = column.isna()
    is_near[times.index] = times.astype("int64").between(low, high)
    return is_near


def _is_new(events: pd.DataFrame) -> pd.Series | bool:
    key = [n for n in (c.USER, c.ITEM, c.TIME, c.TYPE) if n in events]
    return ~events.duplicated(key) if len(key) == 4 else True


def _check(rule: str, holds: Any) -> pa.Check:
    # One example is reported; the count comes from the check's whole output.
    return pa.Check(holds, name=rule, n_failure_cases=1, ignore_na=False)


def _column(*checks: pa.Check) -> pa.Column:
    return pa.Column(None, checks=list(checks), nullable=True)


def _numbers(names: Sequence[str]) -> dict[str, pa.Column]:
    return {n: _column(_check("not-finite", _is_finite)) for n in names}


def event_schema(numbers: Sequence[str], known_items: pd.Series | None) -> pa.DataFrameSchema:
    """Schema of events; `numbers` are its numeric columns, `known_items` the ids of items, where readable."""
    known = None if known_items is None else pd.Index(known_items.dropna().unique())

    def is_known(column: pd.Series) -> pd.Series | bool:
        if known is None or not _is_text(column):
            return True
        return column.isin(known) | ~_is_present(column)

    return pa.DataFrameSchema(
        {
            **_numbers(numbers),  # first: a core column that is a number by mistake keeps its own rules
            c.USER: _column(_check("type", _is_text), _check("null-id", _is_present),
                            _check("look-alike", _is_written_once)),
            c.ITEM: _column(_check("type", _is_text), _check("null-id", _is_present),
                            _check("unknown-item", is_known), _check("look-alike", _is_written_once)),
            c.TIME: _column(_check("type", _is_time), _check("naive-time", _is_aware),
                            _check("time-range", _is_in_range), _check("stray-time", _is_near)),
            c.TYPE: _column(_check("type", _is_text), _check("null-type", _is_present),
                            _check("look-alike", _is_type_written_once)),
        },
        checks=[_check("null-time", _has_time), _check("time-format", _is_parsed), _check("repeated", _is_new)],
    )


def entity_schema(id_column: str, numbers: Sequence[str], fields: Sequence[Field]) -> pa.DataFrameSchema:
    """Schema of items or users, whose rows `id_column` identifies and whose features are `fields`."""
    columns = {
        id_column: _column(
            _check("type", _is_text), _check("null-id", _is_present),
            _check("duplicate-id", lambda column: ~column.duplicated() | column.isna()),
            _check("look-alike", _is_written_once),
        ),
        **_numbers(numbers),
    }
    for field in fields:
        # A number that is text (in a CSV, say) is looked at here and converted before; the rest as it is.
        before = columns[field.name].checks if field.name in columns else []
        columns[field.name] = _column(*before, _check("kind", _FITS[field.kind]))
    return pa.DataFrameSchema(columns)


def _fits_numeric(column: pd.Series) -> pd.Series | bool:
    if _is_text(column):
        return column.isna() | pd.to_numeric(column, errors="coerce").notna()
    return pd.api.types.is_numeric_dtype(column.dtype)


def _fits_label(column: pd.Series) -> pd.Series | bool:
    return _each(column, (str, bool))


def _fits_text(column: pd.Series) -> pd.Series | bool:
    return _each(column, (str,))


def _fits_multi(column: pd.Series) -> pd.Series | bool:
    return _each(column, (np.ndarray,))


def _fits_image(column: pd.Series) -> pd.Series | bool:
    return _each(column, (bytes,))


def _fits_vector(column: pd.Series) -> pd.Series | bool:
    lists = _each(column, (np.ndarray,))
    if lists is False or not column.notna().any():
        return lists
    width = len(column[column.first_valid_index()])
    return column.map(lambda v: v is None or (
        isinstance(v, np.ndarray) and v.dtype.kind in "iuf" and len(v) == width and bool(np.isfinite(v).all())
    )).astype(bool)


def _each(column: pd.Series, types: tuple[type, ...]) -> pd.Series | bool:
    """Whether each value is missing or of one of `types`; a single answer where the column's type tells."""
    if _is_text(column):
        return str in types
    if column.dtype.kind == "b":
        return bool in types
    if column.dtype.kind != "O":
        return not column.notna().any()
    return (column.isna() | column.map(lambda v: isinstance(v, types))).astype(bool)


_FITS: dict[FeatureKind, Any] = {
    "categorical": _fits_label, "multi": _fits_multi, "text": _fits_text, "numeric": _fits_numeric,
    "image": _fits_image, "vector": _fits_vector,
}
