"""Slices of the evaluated events by what the shop's own tables say: each big category, each country."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from models.metrics import Mask
from pipelines import columns as c
from pipelines.contracts import Snapshot
from pipelines.errors import SettingsError
from pipelines.schema import read_shop
from pipelines.snapshot import Queries, SnapshotData

COUNTRY = "country"


def column_slices(
    snapshot: Snapshot, data: SnapshotData, queries: Queries, *, item_columns: Sequence[str] | None,
    user_columns: Sequence[str] | None, most: int, least: int,
) -> dict[str, Mask]:
    """Masks [targets] named `items.category=bags`, biggest first within a column.

    Args:
        snapshot: whose ingested tables are read; one without them has no such slices.
        data, queries: the snapshot opened, and what is asked of it.
        item_columns: of the items; None for the category that people are shown.
        user_columns: of the users; None for `country`, where there is one.
        most: values of a column, at most, by evaluated events.
        least: evaluated events of a value, at least.

    Raises:
        SettingsError: a column that was asked for does not exist, or holds lists.
    """
    if snapshot.ingested is None:
        if item_columns or user_columns:
            raise SettingsError(f"slices by {', '.join([*(item_columns or ()), *(user_columns or ())])} need the "
                                "shop's tables, and this snapshot was made without an ingest")
        return {}
    folder = Path(snapshot.ingested.path)
    category = read_shop(folder).display["category"]
    wanted = {c.ITEMS: item_columns, c.USERS: user_columns}
    found = {c.ITEMS: (category,) if category else (), c.USERS: (COUNTRY,)}
    rows = {c.ITEMS: data.histories.item[queries.target_event], c.USERS: queries.user[queries.target_query]}
    masks: dict[str, Mask] = {}
    for table, id_column in ((c.ITEMS, c.ITEM), (c.USERS, c.USER)):
        path = folder / f"{table}.parquet"
        known = pq.read_schema(path).names if path.exists() else []
        asked = wanted[table]
        missing = sorted(set(asked or ()) - set(known))
        if missing:
            raise SettingsError(f"evaluate cannot slice {table} by {', '.join(missing)}: the columns are "
                                f"{', '.join(known) or 'none'}")
        names = [name for name in (found[table] if asked is None else asked) if name in known]
        if not names:
            continue
        ids = pq.read_table(data.path / f"{table}.parquet", columns=[id_column]).column(0).to_pandas()
        frame = pq.read_table(path, columns=[id_column, *names]).to_pandas().set_index(id_column).reindex(ids)
        for name in names:
            masks |= _by_value(f"{table}.{name}", frame[name].iloc[rows[table]], most, least)
    return masks


def _by_value(name: str, values: "pd.Series[Any]", most: int, least: int) -> dict[str, Mask]:
    if values.map(lambda value: isinstance(value, list | np.ndarray | bytes)).any():
        raise SettingsError(f"evaluate cannot slice by {name}: it holds lists or bytes; name a column of single values")
    texts = values.astype("string")
    counts = texts[texts != ""].value_counts()
    order = sorted(counts[counts >= least].index, key=lambda value: (-counts[value], value))[:most]
    return {f"{name}={value}": (texts == value).fillna(False).to_numpy(bool) for value in order}
