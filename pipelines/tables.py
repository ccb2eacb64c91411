"""The source tables under Vitrine's names and types, as lazy expressions."""

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from pipelines import columns as c
from pipelines.shop_spec import ShopSpec
from pipelines.source import UTC_TIME, Source

# Beside a parsed time, what stood there: only where times came as text.
WRITTEN = "timestamp as written"
DEFAULT_TYPE = "event"
SEPARATOR = "|"  # between the members of a multi-valued text
_SAID = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
# 007 is a code, 0.07 and 0 are numbers.
_CODE = r"^[+-]?0\d"


def normalised(source: Source, name: str, spec: ShopSpec) -> ir.Table | None:
    """One of events, items, users; None where the source does not have it.

    Ids become strings, times microseconds UTC, decimals floats, empty texts null; an absent event type
    becomes "event"; columns of the measuring protocol go. What cannot be converted keeps its type, so that
    the check can name it.
    """
    table = source.table(name)
    if table is None:
        return None
    table = table.drop(*[p for p in c.PROTOCOL if p in table.columns])
    table = table.rename({ours: theirs for ours, theirs in spec.names_of(name).items()
                          if theirs in table.columns and ours not in table.columns})
    if name == c.EVENTS:
        return _events(table, spec, name in source.text)
    return _features(table, spec, c.ITEM if name == c.ITEMS else c.USER, name in source.text)


def _events(table: ir.Table, spec: ShopSpec, is_text: bool) -> ir.Table:
    table = _ids(table, (c.USER, c.ITEM, c.SESSION))
    if c.TYPE not in table.columns:
        table = table.mutate(**{c.TYPE: ibis.literal(DEFAULT_TYPE)})
    core = [name for name in (c.USER, c.ITEM, c.TIME, c.TYPE) if name in table.columns]
    rest = [name for name in table.columns if name not in core]
    table = _plain(table, [n for n in rest if n != c.SESSION], is_text)
    if c.TIME not in core:
        return table.select(*core, *rest)
    time, kind = table[c.TIME], table[c.TIME].type()
    if kind.is_string():
        table = table.mutate(**{c.TIME: time.try_cast(UTC_TIME), WRITTEN: time.nullif("")})
        rest.append(WRITTEN)
    elif _is_instant(kind, spec):
        table = table.mutate(**{c.TIME: time.cast(UTC_TIME)})
    return table.select(*core, *rest)


def _is_instant(kind: dt.DataType, spec: ShopSpec) -> bool:
    """Whether values of a typed column are instants: with a zone, or where the shop says that those without are UTC."""
    is_naive_fine = (kind.is_timestamp() or kind.is_date()) and spec.events.naive_times == "utc"
    return bool(is_naive_fine or (kind.is_timestamp() and kind.timezone))


def _features(table: ir.Table, spec: ShopSpec, id_column: str, is_text: bool) -> ir.Table:
    table = _ids(table, (id_column,))
    kinds = spec.kinds_of(id_column)
    table = _plain(table, [n for n in table.columns if n != id_column and n not in kinds], is_text)
    changed: dict[str, ir.Value] = {}
    for name, kind in kinds.items():
        if name not in table.columns:
            continue
        column, is_string = table[name], table[name].type().is_string()
        value = column.nullif("") if is_string else column
        if kind == "categorical" and column.type().is_numeric() and not column.type().is_boolean():
            value = column.cast("string")
        elif kind == "multi" and is_string:
            value = value.split(SEPARATOR)
        elif kind == "numeric" and is_string and _all_numbers(table, [name])[name]:
            value = value.cast("float64")
        elif kind == "numeric" and column.type().is_decimal():
            value = column.cast("float64")
        changed[name] = value
    if id_column == c.ITEM and c.AVAILABLE in table.columns:
        changed[c.AVAILABLE] = _available(table)
    if id_column == c.ITEM and c.ARRIVES in table.columns and c.ARRIVES not in kinds:
        changed[c.ARRIVES] = _arrival(table, spec)
    return table.mutate(**changed) if changed else table


def _available(table: ir.Table) -> ir.Value:
    """True or false from a stock count or from words; null says nothing, and other text stays as it is."""
    column = table[c.AVAILABLE]
    if column.type().is_numeric() and not column.type().is_boolean():
        return column > 0
    if not column.type().is_string():
        return column
    words = column.strip().lower()
    told = words.isin(list(_SAID)).fill_null(True).all().to_pyarrow().as_py()
    return words.isin([word for word, is_yes in _SAID.items() if is_yes]) if told else column


def _arrival(table: ir.Table, spec: ShopSpec) -> ir.Value:
    """Instants from times, or from a text whose every value is one; anything else stays what it is."""
    column, kind = table[c.ARRIVES], table[c.ARRIVES].type()
    if _is_instant(kind, spec):
        return column.cast(UTC_TIME)
    if not kind.is_string():
        return column
    told = (column.isnull() | column.try_cast(UTC_TIME).notnull()).all() & column.notnull().any()
    return column.cast(UTC_TIME) if told.to_pyarrow().as_py() else column


def _ids(table: ir.Table, names: tuple[str, ...]) -> ir.Table:
    present = [n for n in names if n in table.columns]
    whole = {n: table[n].cast("string") for n in present if table[n].type().is_integer() or table[n].type().is_uuid()}
    return table.mutate(**whole) if whole else table


def _plain(table: ir.Table, names: list[str], is_text: bool) -> ir.Table:
    """Empty texts to null, decimals to floats, and the columns of a CSV that hold numbers to numbers."""
    texts = [n for n in names if table[n].type().is_string()]
    changed: dict[str, ir.Value] = {n: table[n].nullif("") for n in texts}
    changed |= {n: table[n].cast("float64") for n in names if table[n].type().is_decimal()}
    if is_text and texts:
        changed |= {n: table[n].nullif("").cast("float64") for n, is_number in _all_numbers(table, texts).items()
                    if is_number}
    return table.mutate(**changed) if changed else table


def is_plain_number(column: ir.Value) -> ir.Value:
    """Whether a text is a number and no code, such as 007; false for null."""
    return (column.try_cast("float64").notnull() & ~column.re_search(_CODE)).fill_null(False)


def _all_numbers(table: ir.Table, names: list[str]) -> dict[str, bool]:
    """For each text column, whether it has values and all of them are numbers (one pass)."""
    values = {n: table[n].nullif("") for n in names}
    row = table.aggregate(**{
        n: (v.isnull() | is_plain_number(v)).all() & v.notnull().any()
        for n, v in values.items()
    }).to_pyarrow().to_pylist()[0]
    return {n: bool(row[n]) for n in names}
