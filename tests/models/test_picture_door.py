"""Search by picture as a training leaves it: discs and squares that it never saw find discs and squares."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.neighbours import is_held_out
from models.picture_door import HELD_SHARE, train_pictures
from pipelines.contracts import Window
from pipelines.features import FeatureSettings, features
from pipelines.image_settings import ImageSettings
from pipelines.ingest import ingest
from pipelines.pictures import read_pictures
from pipelines.shop_spec import load_spec
from pipelines.snapshot import SnapshotData
from serving.doors import Door, PicturePart
from serving.image_encoder import ImageEncoder
from tests.picture_world import add_pictures
from tests.world import write_world

SMALL = ImageSettings(dimension=8, fine_filters=16, coarse_filters=16, patches=2000)


def snapshot(folder: Path, items: int, **changed: object) -> SnapshotData:
    shop = add_pictures(write_world(folder / "shop", items=items))
    table = pd.read_parquet(shop / "items.parquet")
    table.assign(**changed).to_parquet(shop / "items.parquet", index=False)
    taken = ingest(str(shop), Window(as_of=datetime(2026, 1, 26, tzinfo=UTC)), load_spec(str(shop)), folder)
    return SnapshotData.load(features(taken, FeatureSettings(), folder).path)


def trained(data: SnapshotData, out: Path) -> Door:
    pictures = read_pictures(data.path)
    assert pictures is not None
    return train_pictures(data, pictures, SMALL, out)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SnapshotData:
    """400 products, of which the yellow ones, a fourth, have no picture; apples are discs, bears squares."""
    return snapshot(tmp_path_factory.mktemp("pictures"), 400)


def test_pictures_that_were_not_learned_from_find_their_category(world: SnapshotData, tmp_path: Path) -> None:
    door = trained(world, tmp_path)
    assert door.closed is None
    # Half of the products are of either category: of 299 others 149.
    assert door.figures["chance_precision@10"] == pytest.approx(149 / 299)
    assert door.figures["precision@10"] > 0.9
    part = PicturePart.load(tmp_path, np.load(tmp_path / "picture_vectors.npy"), world.num_items)
    assert part.rows.tolist() == [row for row in range(400) if row % 4 != 3]

    # The same by hand, with the file that serves.
    pictures, served = read_pictures(world.path), ImageEncoder(tmp_path / "image_encoder.tflite")
    assert pictures is not None
    assert served.vectors(pictures.images[:70]) == pytest.approx(part.vectors[:70], abs=1e-5)
    ids = pd.read_parquet(world.path / "items.parquet")["item_id"].iloc[part.rows]
    held = np.flatnonzero(is_held_out(ids.tolist(), HELD_SHARE))
    is_bear = part.rows >= 200
    scores = part.vectors[held] @ part.vectors.T
    scores[np.arange(len(held)), held] = -np.inf
    same = is_bear[np.argsort(-scores, axis=1)[:, :10]] == is_bear[held][:, None]
    assert same.mean() == pytest.approx(door.figures["precision@10"])


def test_a_shop_without_categories_is_searched_and_not_measured(tmp_path: Path) -> None:
    data = snapshot(tmp_path, 60, category=None)
    assert data.spec["display"]["category"] is None
    assert trained(data, tmp_path) == Door(figures={})


def test_too_few_pictures_to_learn_from_close_the_door_with_the_reason(tmp_path: Path) -> None:
    data = snapshot(tmp_path, 10)
    door = trained(data, tmp_path)
    assert door.closed is not None and "pictured products share" in door.closed
    assert not (tmp_path / "picture_vectors.npy").exists()
