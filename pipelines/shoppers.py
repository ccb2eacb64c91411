"""All customers of an ingested window, as requests to a release: block by block, in bounded memory.

The histories are put in order by DuckDB, which spills to disk beyond its budget; what is held here is one block
of users. Ids become rows of the release's own bundle, so that a window that is newer than the release can be
asked for: its unknown items are left out, its unknown event types count as no sign of taste.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines import columns as c
from pipelines.artifacts import read_json
from pipelines.contracts import Ingested
from pipelines.erasure.exclusion import EVERYBODY, UNTIL, Exclusion
from pipelines.errors import DataError
from pipelines.identities import Identities
from pipelines.vocabulary import token_slots
from serving.bundle import Bundle
from serving.encoding import History
from serving.recommender import Request
from serving.tokens import TokenField, read_fields

SORT_MEMORY = "1GB"  # of DuckDB; sorting more goes through a temporary folder
_BATCH_ROWS = 100_000
_NO_ITEM = -1  # the row of a user's features, which stands before those of the events
_UNKNOWN = -2  # an item that the bundle does not have


@dataclass(frozen=True)
class Block:
    """Some users, in the order of their ids."""

    user_ids: list[str]  # [users]
    requests: list[Request]  # [users]


def shoppers(
    lake: Ingested, bundle: Bundle, users_per_block: int, exclusion: Exclusion = EVERYBODY
) -> Iterator[Block]:
    """Every user of the window or of its user table once, with the whole history, asking at the window's end.

    Args:
        lake: an ingested window.
        bundle: whose rows, event types and vocabulary the requests speak.
        users_per_block: most users of a block.
        exclusion: who is left out, up to the erasure.

    Raises:
        DataError: the user table lacks a column that the bundle's model reads.
    """
    fields = _user_fields(bundle)
    with tempfile.TemporaryDirectory(prefix="vitrine-shoppers-") as spill, duckdb.connect() as engine:
        engine.execute(f"SET memory_limit = '{SORT_MEMORY}'")
        engine.execute("SET temp_directory = $folder", {"folder": spill})
        engine.execute("SET TimeZone = 'UTC'")
        rows = Path(spill) / "rows.parquet"
        _write_rows(engine, Path(lake.path), bundle, [field.name for field in fields], exclusion, rows)
        reader = engine.sql(f"SELECT * FROM read_parquet($rows) ORDER BY {c.USER}, time NULLS FIRST, item, type",
                            params={"rows": str(rows)}).to_arrow_reader(_BATCH_ROWS)
        now_us = int(lake.window.as_of.timestamp() * 1_000_000)
        for table in _whole_users(reader, users_per_block):
            yield _block(table, fields, bundle, now_us)


def _user_fields(bundle: Bundle) -> list[TokenField]:
    vocabulary = bundle.path / "vocabulary.json"
    return read_fields(read_json(vocabulary).get("users", [])) if vocabulary.exists() else []


def _write_rows(
    engine: Any, folder: Path, bundle: Bundle, features: Sequence[str], exclusion: Exclusion, out: Path
) -> None:
    """Write rows (user_id, item, time, type, weight, features ...) to `out`, those of features without a time.

    They are put in order from there: of a UNION, DuckDB 2.0 sorts no more than what fits into its memory.

    Ids that were found to be a customer's (pipelines/identities.py) are that customer.
    """
    users = engine.read_parquet(str(folder / "users.parquet"))
    missing = [name for name in features if name not in users.columns]
    if missing:
        raise DataError(f"users of {folder} lack the column {missing[0]!r}, which the release was trained with; ingest "
                        "a user table that has it, or retrain without it")
    types, weights = bundle.spec["event_types"], bundle.spec["event_weights"]
    files = {"users": str(folder / "users.parquet"), "events": str(folder / "events" / "*" / "*.parquet")}
    everybody = engine.sql(
        f"""
        SELECT {c.USER} FROM read_parquet($users) UNION SELECT {c.USER} FROM read_parquet($events)
        """, params=files)
    erased = exclusion.among(batch.column(0) for batch in everybody.to_arrow_reader(_BATCH_ROWS))
    engine.register("erased", erased)
    customer = Identities.read(folder, exclusion).customer
    ids, customers = (pa.array(names, pa.string()) for names in (customer.keys(), customer.values()))
    for name, table in (
        ("aliases", {c.USER: ids, "customer": customers}),
        ("item_rows", {c.ITEM: bundle.item_ids, "item": pa.array(range(bundle.num_items), pa.int32())}),
        ("known_types", {c.TYPE: types, "type": pa.array(range(len(types)), pa.int16()),
                         "weight": pa.array([weights[name] for name in types], pa.float32())}),
    ):
        engine.register(name, pa.table(table))
    shown = ", ".join(f'"{name.replace(chr(34), chr(34) * 2)}"' for name in (c.USER, *features))
    engine.execute(
        f"""
        COPY (
        SELECT {shown}, {_NO_ITEM}::INTEGER AS item, NULL::BIGINT AS time, NULL::SMALLINT AS type, NULL::FLOAT AS weight
        FROM read_parquet($users) ANTI JOIN erased USING ({c.USER}) ANTI JOIN aliases USING ({c.USER})
        UNION ALL BY NAME
        SELECT coalesce(customer, {c.USER}) AS {c.USER}, coalesce(item, {_UNKNOWN}) AS item, epoch_us({c.TIME}) AS time,
               coalesce(type, 0) AS type, coalesce(weight, 0) AS weight
        FROM read_parquet($events, hive_partitioning = false)
        LEFT JOIN item_rows USING ({c.ITEM}) LEFT JOIN known_types USING ({c.TYPE}) LEFT JOIN erased USING ({c.USER})
        LEFT JOIN aliases USING ({c.USER})
        WHERE {UNTIL} IS NULL OR {c.TIME} > {UNTIL}
        ) TO $out (FORMAT parquet)
        """,
        files | {"out": str(out)},
    )


def _whole_users(reader: pa.RecordBatchReader, users_per_block: int) -> Iterator[pa.Table]:
    """The rows cut between users, so that no user lies in two tables."""
    pending: pa.Table | None = None
    for batch in reader:
        table = pa.Table.from_batches([batch])
        pending = table if pending is None else pa.concat_tables([pending, table])
        # The last user of what was read may go on in the next batch.
        starts = _starts(pending)
        cuts = [*starts[:-1][::users_per_block], starts[-1]] if len(starts) > 1 else [0]
        yield from (pending.slice(first, last - first) for first, last in pairwise(cuts))
        pending = pending.slice(cuts[-1])
    if pending is not None and len(pending):
        yield pending


def _starts(table: pa.Table) -> npt.NDArray[np.int64]:
    """First row of each user of a table in order."""
    user = table.column(c.USER).combine_chunks()
    changes = np.asarray(pa.compute.not_equal(user[1:], user[:-1]))
    return np.concatenate([[0], np.flatnonzero(changes) + 1]).astype(np.int64)


def _block(table: pa.Table, fields: Sequence[TokenField], bundle: Bundle, now_us: int) -> Block:
    starts = _starts(table)
    ids: list[str] = table.column(c.USER).take(pa.array(starts)).to_pylist()
    columns = {name: table.column(name).to_numpy() for name in ("item", "time", "type", "weight")}
    has_features = columns["item"][starts] == _NO_ITEM
    tokens = np.zeros((len(ids), bundle.limits.user_slots), np.int32)
    if fields and has_features.any():
        known = table.select([field.name for field in fields]).take(pa.array(starts[has_features])).to_pandas()
        tokens[has_features] = token_slots(known, fields)
    requests = []
    for user, (first, last) in enumerate(zip(starts, [*starts[1:], len(table)], strict=True)):
        kept = np.flatnonzero(columns["item"][first:last] >= 0) + first
        history = History(columns["item"][kept].astype(np.int32), columns["time"][kept].astype(np.int64),
                          columns["type"][kept].astype(np.int16), columns["weight"][kept].astype(np.float32))
        requests.append(Request(history, now_us, tokens[user]))
    return Block(ids, requests)
