"""Folders of the measuring protocol: the split is given, and it alone decides what is learned from what."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines import columns as c
from pipelines.encode import Shop, encode
from pipelines.errors import DataError
from pipelines.features import FeatureSettings
from pipelines.schema import display_columns, infer_fields, kinds
from pipelines.shop_spec import load_spec
from pipelines.snapshot import TEST, TRAIN, VALID

SPLITS: Mapping[str, int] = {"train": TRAIN, "valid": VALID, "test": TEST}


def encode_protocol(folder: Path, out: Path) -> None:
    """Encode a data set folder with its own split, evaluated events and row ids.

    Args:
        out: an empty folder, which becomes a snapshot.

    Raises:
        DataError: the folder does not have the protocol's tables or columns.
    """
    tables: dict[str, pd.DataFrame] = {}
    for name in c.TABLES:
        path = folder / f"{name}.parquet"
        if path.exists():
            tables[name] = pd.read_parquet(path)
        elif name != c.USERS:
            raise DataError(f"{folder} has no {name}.parquet: give a folder of the measuring protocol")
    needed = [c.USER, c.ITEM, c.TIME, c.TYPE, *c.PROTOCOL]
    missing = [name for name in needed if name not in tables[c.EVENTS].columns]
    if missing:
        raise DataError(f"{folder}/events.parquet lacks {', '.join(missing)}: give a folder of the measuring protocol")
    events = tables[c.EVENTS].sort_values(c.TIME, kind="stable", ignore_index=True)
    unknown = sorted(set(events[c.SPLIT]) - set(SPLITS))
    if unknown:
        raise DataError(f"{folder}/events.parquet: split is {unknown[0]!r}; it may be {', '.join(SPLITS)}")
    spec, items, users = load_spec(str(folder)), tables[c.ITEMS], tables.get(c.USERS)
    encode(
        Shop(
            events, items, users,
            kinds(infer_fields(items, c.ITEM, spec)),
            kinds(infer_fields(users, c.USER, spec)) if users is not None else (),
            {t: spec.weight(t) for t in events[c.TYPE].unique()}, display_columns(items),
            events[c.SPLIT].map(SPLITS).to_numpy().astype(np.uint8), events[c.EVAL].to_numpy(bool),
            events[c.ROW].to_numpy(np.int64),
        ),
        FeatureSettings().visits, out,
    )
