"""A shop with so many events on each day of March 2026 that anyone can say what its lake must hold.

Day n has four events, at hours 0, 6, 12 and 18, of customers u0 to u3, each of item x, y, z, x; `number` counts the
events of the whole log from 0, so that day n holds the numbers 4(n-1) to 4n-1.
"""

from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from pipelines.contracts import Origin, Published
from pipelines.lake import Lake
from pipelines.lake_steps import IngestParams, ingest_day
from pipelines.settings import Settings

FIRST = date(2026, 3, 1)
PER_DAY = 4
SHOP = "kiosk"


def march(day: int) -> date:
    """The day-th of March, also beyond its end."""
    return FIRST + timedelta(days=day - 1)


def log_of(days: int) -> pd.DataFrame:
    """Events of the first `days` days."""
    numbers = range(days * PER_DAY)
    return pd.DataFrame({
        "user_id": [f"u{n % PER_DAY}" for n in numbers],
        "item_id": ["xyzx"[n % PER_DAY] for n in numbers],
        "timestamp": pd.DatetimeIndex(
            [pd.Timestamp(FIRST, tz="UTC") + pd.Timedelta(hours=6 * n) for n in numbers]).as_unit("us"),
        "event_type": "purchase",
        "number": list(numbers),
    })


def write_kiosk(folder: Path, events: pd.DataFrame, **columns: Iterable[object]) -> Path:
    """Write the shop's tables to `folder`/kiosk; `columns` are further ones of its three items."""
    shop = folder / SHOP
    shop.mkdir(parents=True, exist_ok=True)
    events.to_parquet(shop / "events.parquet", index=False)
    pd.DataFrame({"item_id": list("xyz"), "colour": ["red", "green", "blue"], **columns}).to_parquet(
        shop / "items.parquet", index=False)
    return shop


def installation(folder: Path) -> Settings:
    """An installation below `folder`."""
    return Settings(home=folder, artifacts=folder / "artifacts", store=str(folder / "store"), mlflow_uri="sqlite:///no")


def ingest(shop: Path | str, day: date, places: Settings, **params: object) -> Published:
    """Take one day in."""
    return ingest_day(IngestParams.model_validate({"source": str(shop), "day": day, **params}), Origin(), places)


def lake_of(places: Settings) -> Lake:
    """The kiosk's lake."""
    return Lake(places.lake_of(SHOP))


def numbers_of(lake: Lake, day: date) -> list[int]:
    """The `number` of each event of a day, in order."""
    found = lake.latest(day)
    assert found is not None
    return [int(n) for n in pq.read_table(lake.path(found.events))["number"].to_pylist()]
