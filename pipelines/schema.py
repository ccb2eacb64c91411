"""Which columns of the item and user tables are features, and of which kind: found by type and content."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from pipelines import columns as c
from pipelines.artifacts import read_json
from pipelines.contracts import Document
from pipelines.progress import log
from pipelines.shop_spec import FeatureKind, ShopSpec

SHOP_FILE = "shop.json"

TEXT_NAMES = ("title", "name", "description")  # of items: read as words, however short
LONG_CHARACTERS = 64  # on average; longer strings are prose
LONG_WORDS = 8
FEW_ROWS_PER_VALUE = 10  # strings that each recur this often are labels, however long
UNIQUE_SHARE = 0.9  # of the values are distinct: titles, or identifiers
LEAST_DISTINCT = 50  # with fewer values, "all distinct" says nothing

DISPLAY = {
    "title": ("title", "name", "description"),
    "category": ("category", "department", "type"),
    "price": ("price",),
    "image": ("image",),
}


class Field(Document):
    """A feature column."""

    name: str
    kind: FeatureKind


class LeftOut(Document):
    """A column that is no feature, and why."""

    name: str
    reason: str


class ShopSchema(Document):
    """What `shop.json` of an ingested folder says: the specification and what was found with it.

    Attributes:
        spec: the shop's own specification.
        item_fields: features of items.
        user_fields: features of users.
        display: title, category, price, image -> column that people are shown, or None.
        weights: event type -> weight, for every type of the log (of the window, in an ingested folder).
    """

    spec: ShopSpec
    item_fields: tuple[Field, ...]
    user_fields: tuple[Field, ...]
    display: dict[str, str | None]
    weights: dict[str, float]


def read_shop(ingested: str | Path) -> ShopSchema:
    """The schema in the folder of an ingest.

    Raises:
        CorruptArtifact: there is none.
    """
    return ShopSchema.model_validate(read_json(Path(ingested) / SHOP_FILE))


def infer_fields(table: pd.DataFrame | pa.Table, id_column: str, spec: ShopSpec) -> tuple[Field, ...]:
    """Feature columns of an item or user table [rows]; those left out are named in the log."""
    fields, left_out = sort_columns(table, id_column, spec)
    for column in left_out:
        log.info("%s of the %s is no feature: %s", column.name, id_column.removesuffix("_id") + "s", column.reason)
    return fields


def sort_columns(
    table: pd.DataFrame | pa.Table, id_column: str, spec: ShopSpec
) -> tuple[tuple[Field, ...], tuple[LeftOut, ...]]:
    """Feature columns and the others, in the table's order; ids and protocol columns are in neither."""
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False)
    given = spec.kinds_of(id_column)
    fields: list[Field] = []
    left_out: list[LeftOut] = []
    for name in table.column_names:
        if name == id_column or name in c.PROTOCOL:
            continue
        kind = given.get(name)
        if id_column == c.ITEM and name == c.AVAILABLE and pt.is_boolean(table[name].type):
            left_out.append(LeftOut(name=name, reason="it says what may be shown today, not what a product is like"))
            continue
        if kind == "ignore":
            left_out.append(LeftOut(name=name, reason="ignored by the specification"))
            continue
        found = kind or _kind(table[name], id_column == c.ITEM and name in TEXT_NAMES)
        if isinstance(found, LeftOut):
            left_out.append(LeftOut(name=name, reason=found.reason))
        else:
            fields.append(Field(name=name, kind=found))
    return tuple(fields), tuple(left_out)


def display_columns(items: pd.DataFrame | pa.Table) -> dict[str, str | None]:
    """Columns that people are shown: title, category, price, image -> name, None where none holds a value."""
    if isinstance(items, pd.DataFrame):
        items = pa.Table.from_pandas(items, preserve_index=False)
    return {role: next((n for n in names if n in items.column_names and _is_shown(items[n], role)), None)
            for role, names in DISPLAY.items()}


def _is_shown(column: pa.ChunkedArray, role: str) -> bool:
    if role == "price" and not _is_number(column.type):
        return False
    return len(_known(column)) > 0


def _is_string(kind: pa.DataType) -> bool:
    return bool(pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_binary_view(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind))


_PLAIN_KINDS: tuple[tuple[Callable[[pa.DataType], bool], FeatureKind], ...] = (
    (_is_binary, "image"), (_is_number, "numeric"), (pt.is_boolean, "categorical"),
)


def _known(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values that say something: no null, no NaN, no empty text, no empty list."""
    if pt.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    column = column.drop_null()
    if pt.is_floating(column.type):
        return column.filter(pc.invert(pc.is_nan(column)))
    if _is_string(column.type):
        return column.filter(pc.not_equal(column, ""))
    if _is_list(column.type):
        return column.filter(pc.greater(pc.list_value_length(column), 0))
    return column


def _out(reason: str) -> LeftOut:
    return LeftOut(name="", reason=reason)


def _kind(column: pa.ChunkedArray, is_title: bool) -> FeatureKind | LeftOut:
    known = _known(column)
    kind = known.type
    if not len(known):
        return _out("no row has a value")
    if _is_list(kind):
        return _list_kind(known)
    if not (_is_string(kind) or _is_number(kind) or _is_binary(kind) or pt.is_boolean(kind)):
        return _out(f"a column of type {kind} has no feature kind")
    distinct = pc.count_distinct(known).as_py()
    # Where some values are missing, having one is a sign of its own.
    if distinct == 1 and len(known) == len(column):
        return _out(f"all {len(column):,} rows have the value {str(known[0].as_py())[:40]!r}")
    if _is_string(kind) and not is_title:
        return _string_kind(known, distinct)
    return "text" if _is_string(kind) else next(k for holds, k in _PLAIN_KINDS if holds(kind))


def _list_kind(known: pa.ChunkedArray) -> FeatureKind | LeftOut:
    member = known.type.value_type
    if _is_string(member) or pt.is_integer(member):
        return "multi"
    if not pt.is_floating(member):
        return _out(f"lists of {member} have no feature kind")
    lengths = pc.min_max(pc.list_value_length(known)).as_py()
    if lengths["min"] != lengths["max"]:
        return _out(f"its lists have {lengths['min']} to {lengths['max']} numbers; a vector has one length")
    return "vector"


def _string_kind(known: pa.ChunkedArray, distinct: int) -> FeatureKind | LeftOut:
    characters = pc.mean(pc.utf8_length(known)).as_py()
    words = pc.mean(pc.count_substring_regex(known, r"\S+")).as_py()
    if distinct * FEW_ROWS_PER_VALUE <= len(known):
        return "categorical"
    if distinct >= LEAST_DISTINCT and distinct >= UNIQUE_SHARE * len(known):
        if words >= 2:
            return "text"
        if characters <= LONG_CHARACTERS:
            return _out(f"{distinct:,} of {len(known):,} values are distinct single words: an identifier")
    return "text" if characters > LONG_CHARACTERS or words > LONG_WORDS else "categorical"


def kinds(fields: Sequence[Field]) -> tuple[tuple[str, FeatureKind], ...]:
    """(column, kind) pairs."""
    return tuple((f.name, f.kind) for f in fields)
