"""Feeds of the arithmetic shop (tests/release_world.py): every slate is known by hand."""

import csv
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipelines.artifacts import verify
from pipelines.cli import app
from pipelines.contracts import Ingested, Origin, Verdict, Window
from pipelines.errors import CorruptArtifact, DataError
from pipelines.feeds import FeedSettings, export_feeds
from pipelines.ingest import ingest
from pipelines.product_feed import ProductSettings
from pipelines.promote import promote
from pipelines.releases.opening import open_store
from pipelines.settings import Settings
from pipelines.shop_spec import ShopSpec
from serving.recommender import Recommender
from serving.store import ReleaseStore
from tests.pipelines.test_promote import judge
from tests.release_world import AS_OF, ITEMS, NOW_US, USERS, expected_score, history_of

PRODUCTS = ProductSettings(currency="EUR", link="https://shop.example/p/{item_id}",
                           image_link="https://shop.example/pictures/{item_id}", brand="Maison")
TABLES = ("user_items", "next_best", "similar_items", "google_products", "meta_products")


def write_shop(folder: Path, **columns: list) -> Path:
    """The tables that the arithmetic snapshot could have come from; a thirteenth user has no event."""
    own = [history_of(user) for user in range(USERS)]
    folder.mkdir(parents=True)
    pd.DataFrame({
        "user_id": np.repeat([f"u{user:02d}" for user in range(USERS)], 3),
        "item_id": [f"i{row:02d}" for h in own for row in h.item],
        "timestamp": pd.to_datetime(np.concatenate([h.time for h in own]), unit="us", utc=True).astype(
            "datetime64[us, UTC]"),
        "event_type": "purchase",
    }).to_parquet(folder / "events.parquet", index=False)
    pd.DataFrame({"item_id": [f"i{row:02d}" for row in range(ITEMS)], "title": [f"Item {row}" for row in range(ITEMS)],
                  "category": "things", "price": np.arange(ITEMS) + 10.0} | columns).to_parquet(
        folder / "items.parquet", index=False)
    pd.DataFrame({"user_id": [f"u{user:02d}" for user in range(USERS + 1)], "city": ["Rome", "Oslo", "Bern"] * 4
                  + ["Rome"]}).to_parquet(folder / "users.parquet", index=False)
    return folder


@pytest.fixture
def verdict(tmp_path: Path, places: Settings) -> Verdict:
    """A live release."""
    judged = judge(places.artifacts, places)
    promote(judged, Origin(actor="tester"), False, places)
    return judged


@pytest.fixture
def lake(tmp_path: Path, places: Settings) -> Ingested:
    return ingest(str(write_shop(tmp_path / "shop")), Window(as_of=AS_OF), ShopSpec(), places.artifacts)


def read(feeds: Any, name: str) -> pd.DataFrame:
    return pd.read_parquet(Path(feeds.path) / f"{name}.parquet")


def test_every_customer_gets_the_best_of_their_group(
    verdict: Verdict, lake: Ingested, places: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.feeds._REQUESTS_AT_ONCE", 2)  # of which u12, without a history, is the first
    settings = FeedSettings(k=3, similar=9, products=PRODUCTS, users_per_block=5)
    feeds = export_feeds(lake, settings, open_store(places), places.artifacts)
    assert (feeds.release, feeds.users, feeds.fallbacks, feeds.listed) == (1, 13, 0, ITEMS)
    table = read(feeds, "user_items")
    assert list(table) == ["user_id", "rank", "item_id", "score", "is_fallback", "release"]
    for user in range(USERS):
        # Of their group g they bought g, g + 4, g + 8: next are g + 12, g + 16, g + 20.
        own = table[table["user_id"] == f"u{user:02d}"]
        rows = [user % 4 + 12, user % 4 + 16, user % 4 + 20]
        assert own["item_id"].tolist() == [f"i{row:02d}" for row in rows]
        assert own["rank"].tolist() == [1, 2, 3]
        assert own["score"].tolist() == pytest.approx([expected_score(row, 3) for row in rows], abs=1e-5)
    # Nobody knows the thirteenth: the prior, which falls with the row.
    assert table[table["user_id"] == "u12"]["item_id"].tolist() == ["i00", "i01", "i02"]
    assert len(table) == 13 * 3
    assert set(table["release"]) == {1}
    best = read(feeds, "next_best")
    assert best.loc[1].to_dict() == {
        "user_id": "u01", "item_id": "i13", "title": "Item 13", "price": "23.00 EUR",
        "link": "https://shop.example/p/i13", "image_link": "https://shop.example/pictures/i13", "release": 1}
    similar = read(feeds, "similar_items")
    assert len(similar) == ITEMS * 9 == feeds.similar
    # The nine others of group 3, all with cosine 1.
    third = similar[similar["item_id"] == "i03"]
    assert third["similar_item_id"].tolist() == [f"i{row:02d}" for row in range(7, 40, 4)]
    assert similar["score"].to_numpy() == pytest.approx(1.0, abs=1e-6)


def test_the_answers_are_those_of_the_recommender(verdict: Verdict, lake: Ingested, places: Settings) -> None:
    """Similar items and slates as the online process gives them, ids and scores."""
    from serving.bundle import Bundle
    from tests.release_world import NO_TOKENS

    feeds = export_feeds(lake, FeedSettings(k=40, similar=40), open_store(places), places.artifacts)
    recommender = Recommender(Bundle.load(verdict.sealed.path))
    table, similar = read(feeds, "user_items"), read(feeds, "similar_items")
    for user in range(USERS):
        own = table[table["user_id"] == f"u{user:02d}"]
        found = recommender.recommend(history_of(user), NOW_US, NO_TOKENS, 40)
        assert own["item_id"].tolist() == [f"i{one.row:02d}" for one in found]
        assert own["is_fallback"].tolist() == [one.is_fallback for one in found]
        assert own["score"].to_numpy() == pytest.approx([one.score for one in found], abs=1e-6)
    assert feeds.fallbacks == 3 * USERS  # who is asked for all 40 gets the three known ones last
    for row in range(ITEMS):
        own = similar[similar["item_id"] == f"i{row:02d}"]
        assert own["similar_item_id"].tolist() == [f"i{one.row:02d}" for one in recommender.similar(row, 40)]


def test_parquet_and_csv_say_the_same_and_are_stamped(verdict: Verdict, lake: Ingested, places: Settings) -> None:
    feeds = export_feeds(lake, FeedSettings(k=2, products=PRODUCTS), open_store(places), places.artifacts)
    verify(Path(feeds.path))
    for name in TABLES:
        table = pq.read_table(Path(feeds.path) / f"{name}.parquet")
        assert table.schema.metadata[b"release"] == b"1"
        assert table.schema.metadata[b"bundle"] == verdict.sealed.digest.encode()
        assert table.schema.metadata[b"as_of"] == b"2026-11-01T00:00:00+00:00"
        with (Path(feeds.path) / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        assert rows[0] == table.column_names
        assert len(rows) == len(table) + 1
        first = table.slice(0, 1).to_pylist()[0]
        for value, text in zip(first.values(), rows[1], strict=True):
            assert (pytest.approx(value) == float(text)) if isinstance(value, float) else (
                text == ("" if value is None else str(value).lower() if isinstance(value, bool) else str(value)))


def test_what_is_out_of_stock_or_gone_is_not_recommended(verdict: Verdict, tmp_path: Path, places: Settings) -> None:
    shop = write_shop(tmp_path / "shop", available=[0 if row in (13, 17) else 1 for row in range(ITEMS)])
    table = pd.read_parquet(shop / "items.parquet")
    table[table["item_id"] != "i21"].to_parquet(shop / "items.parquet", index=False)
    lake = ingest(str(shop), Window(as_of=AS_OF), ShopSpec(), places.artifacts)
    feeds = export_feeds(lake, FeedSettings(k=37, similar=39, products=PRODUCTS), open_store(places), places.artifacts)
    assert not {"i13", "i17", "i21"} & set(read(feeds, "user_items")["item_id"])
    assert read(feeds, "next_best").set_index("user_id").loc["u01", "item_id"] == "i25"
    assert not {"i13", "i17", "i21"} & (set(read(feeds, "similar_items")["item_id"])
                                        | set(read(feeds, "similar_items")["similar_item_id"]))
    google = read(feeds, "google_products").set_index("id")["availability"]
    assert (google["i13"], google["i14"], "i21" in google) == ("out_of_stock", "in_stock", False)


def test_the_same_again_is_found_and_a_new_release_is_not(verdict: Verdict, lake: Ingested, places: Settings) -> None:
    first = export_feeds(lake, FeedSettings(k=2), open_store(places), places.artifacts)
    assert export_feeds(lake, FeedSettings(k=2), open_store(places), places.artifacts) == first
    again = judge(places.artifacts, places, parent=1, champion=verdict.sealed.digest, note="second")
    promote(again, Origin(actor="tester"), False, places)
    second = export_feeds(lake, FeedSettings(k=2), open_store(places), places.artifacts)
    assert (second.release, second.path != first.path) == (2, True)


def test_half_a_feed_is_never_seen(
    verdict: Verdict, lake: Ingested, places: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine fails in the second of three blocks; the next call writes the whole."""
    settings, calls, answer = FeedSettings(k=2, users_per_block=5), [0], Recommender.recommend_many

    def failing(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == 2:
            raise OSError(28, "No space left on device")
        return answer(*arguments, **named)

    monkeypatch.setattr(Recommender, "recommend_many", failing)
    with pytest.raises(OSError, match="No space"):
        export_feeds(lake, settings, open_store(places), places.artifacts)
    assert list((places.artifacts / "feeds").iterdir()) == []
    feeds = export_feeds(lake, settings, open_store(places), places.artifacts)
    assert len(read(feeds, "user_items")) == 26


def test_what_cannot_be_exported_is_refused(verdict: Verdict, lake: Ingested, tmp_path: Path, places: Settings) -> None:
    with pytest.raises(DataError, match="has no release to export"):
        export_feeds(lake, FeedSettings(), ReleaseStore(tmp_path / "empty"), places.artifacts)
    early = ingest(lake.source, Window(as_of=AS_OF - timedelta(days=1)), ShopSpec(), places.artifacts)
    with pytest.raises(DataError, match="before that of release 1"):
        export_feeds(early, FeedSettings(), open_store(places), places.artifacts)
    sold_out = ingest(str(write_shop(tmp_path / "none", available=[False] * ITEMS)), Window(as_of=AS_OF), ShopSpec(),
                      places.artifacts)
    with pytest.raises(DataError, match="none of the 40 items of release 1 is in stock"):
        export_feeds(sold_out, FeedSettings(), open_store(places), places.artifacts)
    (Path(lake.path) / "users.parquet").write_bytes(b"changed")
    with pytest.raises(CorruptArtifact, match=r"users\.parquet"):
        export_feeds(lake, FeedSettings(), open_store(places), places.artifacts)


def test_the_command(
    verdict: Verdict, lake: Ingested, tmp_path: Path, places: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The store of a shop lies below the installation's, under the name of its source.
    stores = tmp_path / "stores"
    stores.mkdir()
    Path(places.store).rename(stores / "shop")
    monkeypatch.setenv("VITRINE_HOME", str(places.home))
    monkeypatch.setenv("VITRINE_STORE", str(stores))
    answer = CliRunner().invoke(app, ["export-feeds", lake.path, "--k", "2", "--no-products"])
    assert answer.exit_code == 0, answer.output
    assert "release 1: 13 customers x 2" in answer.output
    refused = CliRunner().invoke(app, ["export-feeds", lake.path])
    assert "give --currency" in str(refused.exception)
    wrong = CliRunner().invoke(app, ["export-feeds", lake.path, "--currency", "EUR", "--link", "nowhere"])
    assert "link is 'nowhere'" in str(wrong.exception)
