"""Slices of the evaluated events by the shop's own columns."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.contracts import Snapshot, Window
from pipelines.errors import SettingsError
from pipelines.features import FeatureSettings, features
from pipelines.ingest import ingest
from pipelines.shop_spec import ShopSpec
from pipelines.slices import column_slices
from pipelines.snapshot import TEST, SnapshotData
from tests.world import write_world


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    folder = tmp_path_factory.mktemp("shop")
    window = Window(as_of=datetime(2026, 1, 26, tzinfo=UTC))
    ingested = ingest(str(write_world(folder / "in")), window, ShopSpec(), folder / "artifacts")
    return features(ingested, FeatureSettings(), folder / "artifacts")


def slices(snapshot: Snapshot, **options: object) -> dict[str, np.ndarray]:
    data = SnapshotData.load(snapshot.path)
    chosen = {"item_columns": None, "user_columns": None, "most": 12, "least": 1} | options
    return column_slices(snapshot, data, data.queries(TEST), **chosen)  # type: ignore[arg-type]


def test_category_and_country_are_found_and_split_the_world_in_halves(snapshot: Snapshot) -> None:
    found = slices(snapshot)
    assert set(found) == {"items.category=apple", "items.category=bear", "users.country=Arcadia", "users.country=Borea"}
    # Arcadians touch apples only, Boreans bears only; of every tenth user, a Borean, the country is not known.
    apple, bear = found["items.category=apple"], found["items.category=bear"]
    assert (apple ^ bear).all()
    assert (found["users.country=Arcadia"] == apple).all()
    assert (found["users.country=Borea"] <= bear).all()
    assert found["users.country=Borea"].sum() < bear.sum()


def test_the_biggest_values_of_the_columns_asked_for(snapshot: Snapshot) -> None:
    found = slices(snapshot, item_columns=("colour", "price"), user_columns=(), most=2)
    sizes = [int(mask.sum()) for mask in found.values()]
    assert [name.partition("=")[0] for name in found] == ["items.colour"] * 2 + ["items.price"] * 2
    assert sizes[0] >= sizes[1] and sizes[2] >= sizes[3]
    assert set(slices(snapshot, least=10**6)) == set()


def test_a_column_that_is_not_there_or_holds_lists_is_named(snapshot: Snapshot, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot slice items by season: the columns are item_id, title, category"):
        slices(snapshot, item_columns=("season",))
    path = Path(snapshot.ingested.path) / "items.parquet"  # type: ignore[union-attr]
    lists = pd.read_parquet(path).assign(tags=[["a"]] * 24)
    (tmp_path / "lake").mkdir()
    lists.to_parquet(tmp_path / "lake" / "items.parquet")
    (tmp_path / "lake" / "shop.json").write_bytes((path.parent / "shop.json").read_bytes())
    moved = snapshot.ingested.model_copy(update={"path": str(tmp_path / "lake")})  # type: ignore[union-attr]
    with pytest.raises(SettingsError, match=r"items\.tags: it holds lists"):
        slices(snapshot.model_copy(update={"ingested": moved}), item_columns=("tags",), user_columns=())


def test_a_snapshot_without_tables_has_none_unless_asked(snapshot: Snapshot) -> None:
    bare = snapshot.model_copy(update={"ingested": None})
    assert slices(bare) == {}
    with pytest.raises(SettingsError, match="made without an ingest"):
        slices(bare, user_columns=("country",))
