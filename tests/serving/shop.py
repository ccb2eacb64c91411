"""The arithmetic shop (tests/release_world.py) with columns to filter by, as a service that answers.

Item i is called "Item i", is of category bags, shoes, coats, hats by i % 4, of brand Aurel (i < 20) or Belloc, of
colour black, red, white, green, blue by i % 5, of leather (even i) or silk (odd i) and where i % 3 == 0 also of wool,
and costs 10 * (i + 1). Item 36 was sold out when the release was made. Event types are purchase (weight 1), return (0)
and view (1).

Words are the categories and the colours. A category's vector is the one-hot vector of its group, and a colour's that of
the colour in the text block, so that

    score(words, i) = 2 * (is i of the category) + (is i of the colour)
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.artifacts import read_json, write_json
from pipelines.errors import NothingLive
from serving.bundle import Bundle
from serving.doors import Door, Doors
from serving.live import Status
from serving.query_encoder import QueryEncoder
from serving.query_text import Tokens
from serving.recommender import Recommender
from serving.service import Service
from serving.sessions.sqlite import SqliteSessions
from tests.release_world import GROUPS, ITEMS, user_tower
from tests.serving.conftest import make_bundle, seal_bundle

CATEGORIES, BRANDS = ("bags", "shoes", "coats", "hats"), ("Aurel", "Belloc")
COLOURS = ("black", "red", "white", "green", "blue")
TYPES = ["purchase", "return", "view"]
SOLD_OUT = 36
_folders = TemporaryDirectory(prefix="vitrine-shop-")  # until the tests end


@dataclass(frozen=True)
class Record:
    """What is asked of a release's record."""

    number: int


@dataclass(frozen=True)
class Release:
    """What a live holder hands out."""

    release: Record
    recommender: Recommender


class Holder:
    """Holds one release; `release` may be replaced at any time, as by a promotion."""

    def __init__(self, release: Release | None) -> None:
        self.release = release

    def served(self) -> Release:
        if self.release is None:
            raise NothingLive("store: no release is served")
        return self.release

    def status(self) -> Status:
        number = self.release.release.number if self.release is not None else None
        return Status(number=number, bundle=None, loaded_at=None, load_s=None, newest=number, swaps=0, kept=(),
                      refused=(), looked_at=None, trouble=None)


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


def write_words(folder: Path) -> None:
    """The text search of the shop, beside its bundle's other files."""
    words = (*CATEGORIES, *COLOURS)
    buckets = 64
    table = np.zeros((len(words) + buckets, GROUPS + 1 + len(COLOURS)), np.float32)
    table[len(words) :, GROUPS] = 0.01  # parts of other words say nothing but that something is asked for
    table[:GROUPS, :GROUPS] = np.eye(GROUPS)
    table[GROUPS : len(words), GROUPS + 1 :] = np.eye(len(COLOURS))
    encoder = QueryEncoder(Tokens({word: row for row, word in enumerate(words)}, buckets), table,
                           table[: len(words), GROUPS + 1 :])
    encoder.save(folder)
    np.save(folder / "item_text.npy", np.eye(len(COLOURS), dtype=np.float32)[np.arange(ITEMS) % len(COLOURS)])
    write_json(folder / "doors.json", Doors(search=Door(), pictures=Door(closed="the shop has no pictures")))
    write_json(folder / "text_index/index.json", {"kind": "exact"})


def make_shop(tmp_path: Path, name: str = "bundle", has_words: bool = True, **spec: Any) -> Bundle:
    """The sealed bundle; `spec` overrides its specification."""
    folder = make_bundle(tmp_path, name)
    pq.write_table(pa.table(shop_columns()), folder / "items.parquet")
    (folder / "user_tower.tflite").write_bytes(user_tower(len(TYPES)))
    if has_words:
        (folder / "text_index").mkdir()
        write_words(folder)
    kinds = {"name": "text", "category": "categorical", "brand": "categorical", "colour": "categorical",
             "materials": "multi", "price": "numeric"}
    write_json(folder / "spec.json", read_json(folder / "spec.json") | {
        "event_types": TYPES, "event_weights": {"purchase": 1.0, "return": 0.0, "view": 1.0},
        "item_fields": [{"name": column, "kind": kind} for column, kind in kinds.items()],
        "display": {"title": "name", "category": "category", "price": "price", "image": None},
    } | spec)
    return Bundle.load(seal_bundle(folder))


@cache
def recommender(has_words: bool = True) -> Recommender:
    """The shop's recommender, opened once for all tests: nothing of it changes."""
    folder = Path(_folders.name) / str(has_words)
    folder.mkdir()
    return Recommender(make_shop(folder, has_words=has_words))


def make_service(tmp_path: Path, has_words: bool = True, **changes: Any) -> Service:
    """A service on release 7 of the shop, with a session store of its own."""
    holder = Holder(Release(Record(7), recommender(has_words)))
    return Service(holder, SqliteSessions(tmp_path / "sessions.db"), **changes)
