"""Search by words and by picture on a small sample shop, with vectors that say nothing of behaviour."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.neighbours import is_held_out
from models.picture_door import HELD_SHARE, train_pictures
from models.text_door import train_search
from pipelines.contracts import Window
from pipelines.features import FeatureSettings, features
from pipelines.image_settings import ImageSettings
from pipelines.ingest import ingest
from pipelines.pictures import read_pictures
from pipelines.sample import write_sample
from pipelines.search_settings import SearchSettings
from pipelines.shop_spec import load_spec
from pipelines.snapshot import SnapshotData
from serving.doors import ITEM_TEXT, TextPart
from serving.image_encoder import ImageEncoder
from serving.pictures import thumbnail
from serving.retriever import ExactRetriever

PRODUCTS = 300


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, SnapshotData]:
    """The item table by id, as the snapshot's rows are, and the snapshot."""
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder / "shop", products=PRODUCTS, customers=50, events=500, weeks=8)
    taken = ingest(str(folder / "shop"), Window(as_of=datetime(2026, 6, 28, tzinfo=UTC)),
                   load_spec(str(folder / "shop")), folder)
    items = pd.read_parquet(folder / "shop" / "items.parquet").sort_values("item_id", ignore_index=True)
    return items, SnapshotData.load(features(taken, FeatureSettings(), folder).path)


def test_the_words_of_a_product_find_it(shop: tuple[pd.DataFrame, SnapshotData], tmp_path: Path) -> None:
    items, data = shop
    vectors = np.random.default_rng(0).normal(size=(PRODUCTS, 17)).astype(np.float32)
    train_search(data.path, vectors, SearchSettings(text_dimension=64, steps=250, batch=128), tmp_path)
    part = TextPart.load(tmp_path, np.load(tmp_path / ITEM_TEXT), *vectors.shape)
    found, _ = ExactRetriever(vectors, part.vectors).search(np.stack([part.encoder.vector(t) for t in items.title]), 3)
    # Two products may be called the same: then either is right.
    titles = items.title.to_numpy()
    assert np.mean([title in titles[rows] for title, rows in zip(titles, found, strict=True)]) == 1
    assert np.mean([row in rows for row, rows in enumerate(found)]) > 0.98


def test_a_picture_of_a_product_that_was_not_learned_from_finds_its_category(
    shop: tuple[pd.DataFrame, SnapshotData], tmp_path: Path
) -> None:
    items, data = shop
    pictures = read_pictures(data.path)
    assert pictures is not None
    door = train_pictures(data, pictures, ImageSettings(fine_filters=64, coarse_filters=64, patches=5000), tmp_path)
    vectors, encoder = np.load(tmp_path / "picture_vectors.npy"), ImageEncoder(tmp_path / "image_encoder.tflite")
    asked = np.flatnonzero(is_held_out(items.item_id.tolist(), HELD_SHARE))
    assert len(asked) > 20
    # From the bytes on, as a shopper's photograph comes.
    scores = encoder.vectors(np.stack([thumbnail(items.image[row], "it") for row in asked])) @ vectors.T
    scores[np.arange(len(asked)), asked] = -np.inf
    first = items.category.to_numpy()[scores.argmax(axis=1)]
    assert np.mean(first == items.category[asked]) > 0.9
    assert door.figures["precision@10"] > 3 * door.figures["chance_precision@10"]
