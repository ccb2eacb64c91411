"""The customers of a window, asked of a release as its own training saw them."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.artifacts import read_json
from pipelines.contracts import Ingested, Snapshot, Window
from pipelines.errors import DataError
from pipelines.features import FeatureSettings, features
from pipelines.ingest import ingest
from pipelines.shop_spec import ShopSpec
from pipelines.shoppers import shoppers
from pipelines.snapshot import SnapshotData
from serving.bundle import Bundle, write_bundle
from serving.bundle_files import INDEX_CONFIG
from serving.encoding import Limits
from tests.release_world import user_tower
from tests.serving.conftest import seal_bundle
from tests.world import write_world

AS_OF = datetime(2026, 2, 1, tzinfo=UTC)
AS_OF_US = int(AS_OF.timestamp()) * 1_000_000


def bundle_of(snapshot: Snapshot, folder: Path) -> Bundle:
    """A bundle of a snapshot whose vectors nobody will ask for."""
    trained = folder / "trained"
    trained.mkdir(parents=True)
    for name, width in (("item_vectors", 3), ("item_inputs", 2)):
        np.save(trained / f"{name}.npy", np.zeros((snapshot.items, width), np.float32))
    spec = read_json(Path(snapshot.path) / "spec.json")
    tower = user_tower(len(spec["event_types"]), spec["visits"], groups=2, user_slots=Limits.of(spec).user_width)
    (trained / "user_tower.tflite").write_bytes(tower)
    out = folder / "bundle"
    out.mkdir()
    write_bundle(out, trained, Path(snapshot.path), {})
    (out / "index").mkdir()
    (out / INDEX_CONFIG).write_text('{"kind": "exact"}')
    return Bundle.load(seal_bundle(out))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ingested, Snapshot, Bundle]:
    root = tmp_path_factory.mktemp("world")
    lake = ingest(str(write_world(root / "shop")), Window(as_of=AS_OF), ShopSpec(), root)
    snapshot = features(lake, FeatureSettings(), root)
    return lake, snapshot, bundle_of(snapshot, root)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_histories_and_features_are_those_of_the_training(world, size: int) -> None:
    lake, snapshot, bundle = world
    data = SnapshotData.load(snapshot.path)
    blocks = list(shoppers(lake, bundle, size))
    assert max(len(block.requests) for block in blocks) <= size
    ids = [user for block in blocks for user in block.user_ids]
    assert ids == pd.read_parquet(Path(snapshot.path) / "users.parquet")["user_id"].tolist()
    assert len(ids) == 60
    requests = [request for block in blocks for request in block.requests]
    h = data.histories
    for user, request in enumerate(requests):
        own = slice(h.indptr[user], h.indptr[user + 1])
        for name in ("item", "time", "type", "weight"):
            np.testing.assert_array_equal(getattr(request.history, name), getattr(h, name)[own])
        np.testing.assert_array_equal(request.user_tokens, data.user_tokens[user])
        assert request.now_us == AS_OF_US
    # The toy shop: even users live in Arcadia, odd ones in Borea, every tenth nobody knows where.
    countries = {int(request.user_tokens[0]) for request in requests}
    assert len(countries) == 3
    assert 0 in countries


def test_batches_that_end_within_a_user_are_joined(world, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, _, bundle = world
    whole = [r.history.item.tolist() for block in shoppers(lake, bundle, 9) for r in block.requests]
    for rows in (1, 2, 5):
        monkeypatch.setattr("pipelines.shoppers._BATCH_ROWS", rows)
        assert [r.history.item.tolist() for block in shoppers(lake, bundle, 9) for r in block.requests] == whole


def test_a_log_larger_than_the_memory_of_its_sort(world, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, _, bundle = world
    people, each = 60_000, 20
    times = np.arange(people * each) * 1_000_000
    day = tmp_path / "events" / "day=1970-01-01"
    day.mkdir(parents=True)
    # The first second has the first event of everybody, and so on: nobody's events stand together.
    ids = [f"customer-{n:05d}" for n in range(people)]
    pq.write_table(pa.table({
        "user_id": ids * each, "item_id": pa.array(["000", "001", "002"] * (people * each // 3)),
        "timestamp": pa.array(times, pa.timestamp("us", "UTC")),
        "event_type": pa.array(["purchase"] * (people * each))}), day / "part.parquet")
    pq.write_table(pa.table({"user_id": ids, "country": ["Borea"] * people}), tmp_path / "users.parquet")
    monkeypatch.setattr("pipelines.shoppers.SORT_MEMORY", "80MB")
    found = []
    for block in shoppers(lake.model_copy(update={"path": str(tmp_path)}), bundle, 1000):
        found += block.user_ids
        for user, request in zip(block.user_ids, block.requests, strict=True):
            assert request.history.time.tolist() == times[int(user[-5:]) :: people].tolist()
    assert found == ids


def test_a_window_newer_than_the_release(world, tmp_path: Path) -> None:
    """New items are left out, new kinds of events are no sign of taste, newcomers stand on their features."""
    _, _, bundle = world
    shop = write_world(tmp_path / "shop")
    events, items, users = (pd.read_parquet(shop / f"{name}.parquet") for name in ("events", "items", "users"))
    new = pd.DataFrame({
        "user_id": ["u000", "u000", "x1"], "item_id": ["new", "003", "004"],
        "timestamp": pd.to_datetime(["2026-01-29", "2026-01-30", "2026-01-31"], utc=True).astype("datetime64[us, UTC]"),
        "event_type": ["purchase", "wishlist", "purchase"]})
    pd.concat([events, new]).to_parquet(shop / "events.parquet")
    pd.concat([items, items.tail(1).assign(item_id="new")]).to_parquet(shop / "items.parquet")
    pd.concat([users, pd.DataFrame({"user_id": ["x2"], "country": ["Borea"]})]).to_parquet(shop / "users.parquet")
    lake = ingest(str(shop), Window(as_of=AS_OF), ShopSpec(), tmp_path)
    found = {user: request for block in shoppers(lake, bundle, 8)
             for user, request in zip(block.user_ids, block.requests, strict=True)}
    assert len(found) == 62
    first = found["u000"].history
    # The wish is known, so that the item is not recommended again, but it weighs nothing.
    assert (int(first.item[-1]), float(first.weight[-1])) == (3, 0.0)
    assert len(first.item) == (events["user_id"] == "u000").sum() + 1
    assert found["x1"].history.item.tolist() == [4]
    assert found["x1"].user_tokens.tolist() == [0]
    assert len(found["x2"].history.item) == 0
    assert found["x2"].user_tokens.tolist() == found["u001"].user_tokens.tolist()


def test_a_feature_that_is_gone_is_named(world, tmp_path: Path) -> None:
    _, _, bundle = world
    shop = write_world(tmp_path / "shop")
    pd.read_parquet(shop / "users.parquet").rename(columns={"country": "land"}).to_parquet(shop / "users.parquet")
    lake = ingest(str(shop), Window(as_of=AS_OF), ShopSpec(), tmp_path)
    with pytest.raises(DataError, match="lack the column 'country'"):
        next(shoppers(lake, bundle, 8))
