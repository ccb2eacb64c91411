"""The arithmetic shop (tests/release_world.py) with columns to filter by, as a service that answers.

Item i is called "Item i", is of category bags, shoes, coats, hats by i % 4, of brand Aurel (i < 20) or Belloc, of
colour black, red, white, green, blue by i % 5, of leather (even i) or silk (odd i) and where i % 3 == 0 also of wool,
and costs 10 * (i + 1). Item 36 was sold out when the release was made. Event types are purchase (weight 1), return (0)
and view (1).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.artifacts import read_json, write_json
from serving.bundle import Bundle
from serving.recommender import Recommender
from serving.service import Service
from serving.sessions.sqlite import SqliteSessions
from tests.release_world import ITEMS, user_tower
from tests.serving.conftest import make_bundle, seal_bundle

CATEGORIES, BRANDS = ("bags", "shoes", "coats", "hats"), ("Aurel", "Belloc")
COLOURS = ("black", "red", "white", "green", "blue")
TYPES = ["purchase", "return", "view"]
SOLD_OUT = 36


@dataclass
class Release:
    """What a live holder hands out."""

    number: int
    recommender: Recommender


class Holder:
    """Holds one release; `release` may be replaced at any time, as by a promotion."""

    def __init__(self, release: Release | None) -> None:
        self.release = release

    def current(self) -> Release | None:
        return self.release


def item(row: int) -> str:
    return f"i{row:02d}"


def shop_columns() -> dict[str, Any]:
    rows = range(ITEMS)
    return {
        "item_id": [item(row) for row in rows], "name": [f"Item {row}" for row in rows],
        "category": [CATEGORIES[row % 4] for row in rows], "brand": [BRANDS[row // 20] for row in rows],
        "colour": [COLOURS[row % 5] for row in rows],
        "materials": [["silk" if row % 2 else "leather", *(["wool"] if row % 3 == 0 else [])] for row in rows],
        "price": [10.0 * (row + 1) for row in rows], "available": [row != SOLD_OUT for row in rows],
    }


def make_shop(tmp_path: Path, name: str = "bundle", **spec: Any) -> Bundle:
    """The sealed bundle; `spec` overrides its specification."""
    folder = make_bundle(tmp_path, name)
    pq.write_table(pa.table(shop_columns()), folder / "items.parquet")
    (folder / "user_tower.tflite").write_bytes(user_tower(len(TYPES)))
    kinds = {"name": "text", "category": "categorical", "brand": "categorical", "colour": "categorical",
             "materials": "multi", "price": "numeric"}
    write_json(folder / "spec.json", read_json(folder / "spec.json") | {
        "event_types": TYPES, "event_weights": {"purchase": 1.0, "return": 0.0, "view": 1.0},
        "item_fields": [{"name": column, "kind": kind} for column, kind in kinds.items()],
        "display": {"title": "name", "category": "category", "price": "price", "image": None},
    } | spec)
    return Bundle.load(seal_bundle(folder))


def make_service(tmp_path: Path, **changes: Any) -> Service:
    """A service on release 7 of the shop."""
    holder = Holder(Release(7, Recommender(make_shop(tmp_path))))
    return Service(holder, SqliteSessions(tmp_path / "sessions.db"), **changes)
