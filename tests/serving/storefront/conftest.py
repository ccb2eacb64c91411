"""The arithmetic shop (tests/serving/shop.py) with pictures, descriptions, arrivals and a panel, behind its pages.

Item i has a picture of one colour, arrived on day i of 2026, and is "Piece i, made for day i.". The panel knows three
shoppers: one bought four bags (0, 4, 8, 12), one two shoes and three hats (1, 5, 3, 7, 11), and one too little to say.
"""

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from pipelines.artifacts import read_json, write_json
from pipelines.photos import pack_photos
from serving.api.app import create_app
from serving.api.settings import ApiSettings
from serving.bundle import Bundle
from serving.bundle_files import PANEL
from serving.panel import Panel, Shopper
from serving.recommender import Recommender
from serving.service import Service
from serving.sessions.sqlite import SqliteSessions
from serving.storefront.router import storefront_router
from serving.storefront.settings import StorefrontSettings
from tests.release_world import ITEMS
from tests.serving.conftest import seal_bundle
from tests.serving.shop import Holder, Record, Release, item, make_shop

SETTINGS = StorefrontSettings(name="Arithmetic", currency="EUR", row=8, page=6)


def picture(row: int) -> bytes:
    """A JPEG of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (80, 80), (6 * row, 120, 255 - 6 * row)).save(file, "JPEG")
    return file.getvalue()


def shopper(*rows: int) -> Shopper:
    return Shopper(items=tuple(item(row) for row in rows), types=("purchase",) * len(rows), weights=(1.0,) * len(rows),
                   seconds_before=tuple(86_400 * day for day in range(len(rows), 0, -1)))


def make_pictured_shop(folder: Path) -> Bundle:
    """The sealed bundle."""
    path = make_shop(folder).path
    table = pq.read_table(path / "items.parquet")
    arrived = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=row) for row in range(ITEMS)]
    for name, values in (
        ("description", pa.array([f"Piece {row}, made for day {row}." for row in range(ITEMS)])),
        ("available_from", pa.array(arrived, pa.timestamp("us", tz="UTC"))),
        # One item has no picture.
        ("image", pa.array([picture(row) if row != 2 else None for row in range(ITEMS)], pa.binary())),
    ):
        table = table.append_column(name, values)
    pq.write_table(table, path / "items.parquet")
    spec = read_json(path / "spec.json")
    write_json(path / "spec.json", spec | {
        "display": spec["display"] | {"image": "image"},
        "item_fields": [*spec["item_fields"], {"name": "description", "kind": "text"}]})
    assert pack_photos(path) == ITEMS - 1
    write_json(path / PANEL, Panel(shoppers=(shopper(16), shopper(0, 4, 8, 12), shopper(1, 5, 3, 7, 11))))
    return Bundle.load(seal_bundle(path))


@pytest.fixture(scope="package")
def recommender(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    """Opened once: nothing of it changes."""
    return Recommender(make_pictured_shop(tmp_path_factory.mktemp("pictured")))


@pytest.fixture
def service(recommender: Recommender, tmp_path: Path) -> Service:
    """On release 7, with a session store of its own."""
    return Service(Holder(Release(Record(7), recommender)), SqliteSessions(tmp_path / "sessions.db"))


@pytest.fixture
def app(service: Service) -> FastAPI:
    # A machine that is busy with other tests is no reason to shed a page.
    return create_app(service, ApiSettings(timeout_s=60), pages=[storefront_router(service, SETTINGS)])


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client
