import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.artifacts import verify
from pipelines.contracts import Ingested, Snapshot, Window
from pipelines.errors import DataError
from pipelines.features import FeatureSettings, features, split_by_time
from pipelines.ingest import ingest
from pipelines.item_texts import read_texts
from pipelines.pictures import read_pictures
from pipelines.shop_spec import ShopSpec
from pipelines.snapshot import TEST, TRAIN, VALID, SnapshotData
from serving.pictures import thumbnail
from tests.picture_world import add_pictures
from tests.world import write_world

AS_OF = datetime(2026, 1, 26, tzinfo=UTC)


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    folder = tmp_path_factory.mktemp("shop")
    return ingest(str(write_world(folder / "in")), Window(as_of=AS_OF), ShopSpec(), folder / "artifacts")


@pytest.fixture(scope="module")
def snapshot(ingested: Ingested, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return features(ingested, FeatureSettings(visits=8), tmp_path_factory.mktemp("artifacts"))


@given(st.lists(st.integers(0, 60), min_size=20, max_size=200).map(sorted))
def test_no_part_begins_before_the_one_before_it_has_ended(times: list[int]) -> None:
    time = np.array(times, np.int64) * 1_000_000
    try:
        split, valid_from, test_from = split_by_time(time, np.ones(len(time), bool), FeatureSettings())
    except DataError:
        return  # too few instants to cut
    assert valid_from <= test_from
    for earlier, later in ((TRAIN, VALID), (VALID, TEST), (TRAIN, TEST)):
        assert time[split == earlier].max() < time[split == later].min()


def test_the_split_by_hand() -> None:
    # Ten events at seconds 0..9 and shares of a tenth: the ninth is valid, the tenth is test.
    split, valid_from, test_from = split_by_time(np.arange(10) * 1_000_000, np.ones(10, bool), FeatureSettings())
    assert split.tolist() == [0] * 8 + [1, 2]
    assert (valid_from.timestamp(), test_from.timestamp()) == (8, 9)


def test_histories_are_the_source(snapshot: Snapshot, ingested: Ingested) -> None:
    data = SnapshotData.load(snapshot.path)
    users = pd.read_parquet(Path(snapshot.path) / "users.parquet")["user_id"]
    items = pd.read_parquet(Path(snapshot.path) / "items.parquet")["item_id"]
    source = pd.read_parquet(Path(ingested.source) / "events.parquet").sort_values("timestamp", kind="stable")
    h = data.histories
    for row in (0, 5, 59):
        own = source[source["user_id"] == users[row]]
        span = slice(h.indptr[row], h.indptr[row + 1])
        assert items.iloc[h.item[span]].tolist() == own["item_id"].tolist()
        assert h.time[span].tolist() == own["timestamp"].astype("datetime64[us, UTC]").astype("int64").tolist()
        assert [data.spec["event_types"][t] for t in h.type[span]] == own["event_type"].tolist()


def test_returns_have_no_weight_and_are_no_targets(snapshot: Snapshot) -> None:
    data = SnapshotData.load(snapshot.path)
    h = data.histories
    returns = np.asarray(h.type) == data.spec["event_types"].index("return")
    assert returns.any()
    assert not h.weight[returns].any() and not h.target[returns].any()


def test_targets_are_first_meetings_after_training(snapshot: Snapshot) -> None:
    data = SnapshotData.load(snapshot.path)
    queries = data.queries(TEST)
    for number, event in zip(queries.target_query, queries.target_event, strict=True):
        context = data.histories.item[queries.start[number] : queries.end[number]]
        assert data.histories.item[event] not in context
    assert len(queries.target_event) == snapshot.test_targets > 0


def test_words_and_pictures_are_in_the_order_of_the_items(tmp_path: Path) -> None:
    shop = add_pictures(write_world(tmp_path / "in"))
    # Whatever order the table comes in.
    items = pd.read_parquet(shop / "items.parquet")
    items.sample(frac=1, random_state=0).to_parquet(shop / "items.parquet", index=False)
    made = Path(features(ingest(str(shop), Window(as_of=AS_OF), ShopSpec(), tmp_path), FeatureSettings(),
                         tmp_path).path)
    texts, found = read_texts(made), read_pictures(made)
    assert texts is not None and found is not None
    # Item 13 is a green bear (tests/world.py); yellow ones, every fourth, have no picture.
    assert texts[13] == (["green", "bear", "number", "13"], ["bear", "green"])
    assert found.rows.tolist() == [row for row in range(24) if row % 4 != 3]
    assert (found.images[0] == thumbnail(items["image"][0], "it")).all()


def test_the_future_changes_nothing(ingested: Ingested, snapshot: Snapshot, tmp_path: Path) -> None:
    """Events at or after as_of may be anything: the snapshot is the same to the byte."""
    source = tmp_path / "in"
    write_world(source)
    events = pd.read_parquet(source / "events.parquet")
    future = events.head(50).assign(timestamp=pd.Timestamp(AS_OF), item_id="003", event_type="purchase")
    pd.concat([events, future]).to_parquet(source / "events.parquet", index=False)
    again = ingest(str(source), Window(as_of=AS_OF), ShopSpec(), tmp_path)
    assert again.key != ingested.key
    second = features(again, FeatureSettings(visits=8), tmp_path)
    assert second.digest == snapshot.digest


def test_an_earlier_as_of_sees_less(ingested: Ingested, snapshot: Snapshot, tmp_path: Path) -> None:
    earlier = ingest(ingested.source, Window(as_of=datetime(2026, 1, 20, tzinfo=UTC)), ShopSpec(), tmp_path)
    small = features(earlier, FeatureSettings(visits=8), tmp_path)
    assert small.events < snapshot.events
    assert SnapshotData.load(small.path).histories.time.max() < datetime(2026, 1, 20, tzinfo=UTC).timestamp() * 1e6


def test_twice_is_once_and_the_folder_is_whole(ingested: Ingested, snapshot: Snapshot) -> None:
    root = Path(snapshot.path).parent.parent
    assert features(ingested, FeatureSettings(visits=8), root) == snapshot
    assert features(ingested, FeatureSettings(visits=9), root).key != snapshot.key
    verify(Path(snapshot.path))
    assert json.loads((Path(snapshot.path) / "spec.json").read_text())["visits"] == 8


def test_too_little_to_split_is_said() -> None:
    with pytest.raises(DataError, match="cannot be cut in time"):
        split_by_time(np.zeros(30, np.int64), np.ones(30, bool), FeatureSettings())
    with pytest.raises(DataError, match="counts as a positive"):
        split_by_time(np.arange(30), np.zeros(30, bool), FeatureSettings())
