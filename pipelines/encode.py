"""Three tables and a split in, a snapshot folder out: the one encoder of retrain and benchmark."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import columns as c
from pipelines.artifacts import write_json
from pipelines.dense import dense_block
from pipelines.histories import group_by_user, train_counts
from pipelines.progress import log
from pipelines.snapshot import TRAIN, Histories
from pipelines.vocabulary import fit_fields, token_bags, token_slots

FORMAT = 1
PAD = 1  # tokens start behind the padding token 0
TOKEN_KINDS = ("categorical", "multi", "text", "numeric")
DENSE_KINDS = ("numeric", "image", "vector")
SLOT_KINDS = ("categorical", "numeric")  # of users: one token a field

Kinds = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Shop:
    """What is to be encoded.

    `events` are in time order and hold user_id, item_id, timestamp and event_type; `split`, `target` and
    `row` are [events]. `kinds` are (column, kind) pairs, `weights` event type -> weight of the event.
    """

    events: pd.DataFrame
    items: pd.DataFrame
    users: pd.DataFrame | None
    item_kinds: Kinds
    user_kinds: Kinds
    weights: Mapping[str, float]
    display: Mapping[str, str | None]
    split: npt.NDArray[np.uint8]
    target: npt.NDArray[np.bool_]
    row: npt.NDArray[np.int64]


def is_availability(column: pd.Series) -> bool:
    """Whether it says true or false of items, and not something else by that name."""
    return bool(column.map(lambda value: value is None or isinstance(value, bool | np.bool_)).all())


def rows_of(ids: pd.Series, index: pd.Index) -> npt.NDArray[np.int32]:
    """Dense row of each id; -1 for what the index does not hold."""
    return index.get_indexer(pd.Index(ids)).astype(np.int32)


def in_rows(items: pd.DataFrame) -> pd.DataFrame:
    """The item table in the order of a snapshot's rows, numbered from 0."""
    return items.sort_values(c.ITEM, kind="stable").reset_index(drop=True)


def encode(shop: Shop, visits: int, out: Path) -> dict[str, int]:
    """Write the snapshot folder of `shop`, see pipelines/snapshot.py, and return its counts.

    Args:
        visits: slots of the user tower's sequence.
        out: an empty folder.
    """
    items = in_rows(shop.items)
    known = shop.users[c.USER] if shop.users is not None else pd.Series([], dtype="str")
    user_index = pd.Index(np.unique(np.concatenate([shop.events[c.USER].to_numpy(object), known.to_numpy(object)])))
    histories, event_types = _histories(shop, user_index, pd.Index(items[c.ITEM]))
    counts = train_counts(histories, len(items))

    token_kinds = [k for k in shop.item_kinds if k[1] in TOKEN_KINDS]
    item_fields = fit_fields(items, token_kinds, counts > 0, 0)
    indptr, tokens, weights = token_bags(items, item_fields)
    dense, dense_notes = dense_block(items, [k for k in shop.item_kinds if k[1] in DENSE_KINDS], counts > 0)

    users = pd.DataFrame({c.USER: user_index})
    if shop.users is not None:
        users = users.merge(shop.users, on=c.USER, how="left")
    is_trained_user = np.diff(np.concatenate([[0], np.cumsum(histories.split == TRAIN)])[histories.indptr]) > 0
    user_fields = fit_fields(users, [k for k in shop.user_kinds if k[1] in SLOT_KINDS], is_trained_user, PAD)
    user_tokens = token_slots(users, user_fields)

    arrays = {
        "item_tokens_indptr": indptr, "item_tokens": tokens, "item_token_weights": weights, "item_dense": dense,
        "item_counts": counts, "user_tokens": user_tokens, **vars(histories),
    }
    for name, array in arrays.items():
        np.save(out / f"{name}.npy", array, allow_pickle=False)
    write_table(items[kept_columns(shop)], out / "items.parquet")
    write_table(users[[c.USER]], out / "users.parquet")
    write_json(out / "vocabulary.json", {"items": [asdict(f) for f in item_fields], "dense": dense_notes,
                                         "users": [asdict(f) for f in user_fields]})
    spec = {
        "format": FORMAT, "event_types": event_types, "visits": visits, "user_slots": user_tokens.shape[1],
        "user_token_count": user_fields[-1].end if user_fields else PAD, "calendar": True,
        "item_token_count": item_fields[-1].end if item_fields else 0, "dense": dense.shape[1],
        "event_weights": {t: float(shop.weights.get(t, 1.0)) for t in event_types},
        "item_fields": [{"name": n, "kind": k} for n, k in shop.item_kinds],
        "user_fields": [{"name": f.name, "kind": f.kind} for f in user_fields],
        "display": dict(shop.display),
    }
    write_json(out / "spec.json", spec)
    log.info("encoded %s events of %s users, %s items with %s feature tokens and %s dense numbers",
             f"{len(shop.events):,}", f"{len(users):,}", f"{len(items):,}", f"{spec['item_token_count']:,}",
             dense.shape[1])
    return {"users": len(users), "items": len(items), "events": len(shop.events),
            "train_events": int(((histories.split == TRAIN) & (histories.weight > 0)).sum())}


def kept_columns(shop: Shop) -> list[str]:
    """Columns of the item table that a release carries: what people read, filter by, and are told as a reason.

    Pictures are among them here; the index stage makes them small and lays them beside the table.
    """
    shown = [column for column in shop.display.values() if column]
    told = [name for name, kind in shop.item_kinds if kind in TOKEN_KINDS]
    return [c.ITEM, *dict.fromkeys([*shown, *told, *stock_columns(shop.items)])]


def stock_columns(items: pd.DataFrame) -> list[str]:
    """Columns that say whether and from when on an item can be bought, where the shop has such."""
    stock = [c.AVAILABLE] if c.AVAILABLE in items and is_availability(items[c.AVAILABLE]) else []
    is_dated = c.ARRIVES in items and isinstance(items[c.ARRIVES].dtype, pd.DatetimeTZDtype)
    return [*stock, *([c.ARRIVES] if is_dated else [])]


def _histories(shop: Shop, users: pd.Index, items: pd.Index) -> tuple[Histories, list[str]]:
    user = rows_of(shop.events[c.USER], users)
    indptr, order = group_by_user(user, len(users))
    event_types = sorted(shop.events[c.TYPE].unique())
    type_of = rows_of(shop.events[c.TYPE], pd.Index(event_types)).astype(np.int16)
    weight = np.array([shop.weights.get(t, 1.0) for t in event_types], np.float32)[type_of]
    time = shop.events[c.TIME].to_numpy("datetime64[us]").astype(np.int64)
    item = rows_of(shop.events[c.ITEM], items)
    return Histories(indptr, item[order], time[order], type_of[order], shop.split[order], weight[order],
                     shop.target[order], shop.row[order]), event_types


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as a snapshot and a bundle hold it: its columns, and nothing of pandas."""
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None), path)

