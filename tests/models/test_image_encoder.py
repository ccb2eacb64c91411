"""The image encoder on shapes and colours: what it is told, what it then sees, and what it refuses."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.image_encoder import ImageEncoder, fit
from models.token_bags import TokenBags
from pipelines.errors import DataError
from pipelines.image_settings import ImageSettings
from pipelines.pictures import pictures
from serving.image_encoder import ImageEncoder as Served
from serving.pictures import thumbnail
from tests.picture_world import products

SMALL = ImageSettings(dimension=8, fine_filters=16, coarse_filters=16, patches=2000)


def bags(*columns: np.ndarray) -> TokenBags:
    """One token a column and product, three values a column."""
    tokens = np.stack(columns, axis=1) + 3 * np.arange(len(columns))
    return TokenBags(np.arange(len(tokens) + 1) * len(columns), tokens.reshape(-1).astype(np.int32),
                     np.ones(tokens.size, np.float32))


def world(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    files, shape, colour = products(count, seed)
    return pictures(pd.Series(files, name="image"))[0], shape, colour


@pytest.fixture(scope="module")
def trained() -> ImageEncoder:
    """Told shapes and colours of 240 products."""
    images, shape, colour = world(240, seed=1)
    return fit(images, bags(shape, colour), SMALL)


def test_unseen_pictures_of_the_same_shape_and_colour_are_neighbours(trained: ImageEncoder) -> None:
    images, shape, colour = world(120, seed=2)
    vectors = trained.vectors(images)
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -1)
    nearest = scores.argmax(axis=1)
    assert (shape[nearest] == shape).mean() > 0.9
    assert (colour[nearest] == colour).mean() > 0.9


def test_vectors_have_length_one_in_any_batch(trained: ImageEncoder) -> None:
    images = world(5, seed=3)[0]
    vectors = trained.vectors(images)
    assert (vectors.shape, vectors.dtype) == ((5, 8), np.float32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert np.concatenate([trained.vectors(images[i : i + 1]) for i in range(5)]) == pytest.approx(vectors, abs=1e-5)
    assert trained.vectors(images[:0]).shape == (0, 8)


def test_what_it_learned_from_is_counted(trained: ImageEncoder) -> None:
    assert (trained.pictures, trained.tokens, trained.dimension) == (240, 6, 8)
    assert trained.seconds > 0


def test_the_same_seed_gives_the_same_vectors(trained: ImageEncoder) -> None:
    images, shape, colour = world(240, seed=1)
    assert fit(images, bags(shape, colour), SMALL).vectors(images) == pytest.approx(trained.vectors(images), abs=1e-3)


def test_the_exported_file_gives_the_same_vectors(trained: ImageEncoder, tmp_path: Path) -> None:
    images = world(70, seed=4)[0]
    served = Served(trained.export(tmp_path))
    assert served.path.name == "image_encoder.tflite"
    assert served.dimension == 8
    for count in (3, 70, 1):
        assert served.vectors(images[:count]) == pytest.approx(trained.vectors(images[:count]), abs=1e-5)
    data = products(1, seed=4)[0][0]
    assert served.from_bytes(data) == pytest.approx(trained.vectors(thumbnail(data, "it")[None])[0], abs=1e-5)


def test_what_is_not_told_is_not_learned_at_its_cost() -> None:
    """Told colours alone, the encoder brings colours together, whatever the shape."""
    images, _, colour = world(240, seed=1)
    encoder = fit(images, bags(colour), SMALL)
    images, _, colour = world(120, seed=2)
    vectors = encoder.vectors(images)
    similar = vectors @ vectors.T
    is_same = colour[:, None] == colour[None]
    assert similar[is_same].mean() > 0.8
    assert similar[~is_same].mean() < 0.3


def test_of_a_large_catalogue_a_part_is_learned_from() -> None:
    images, shape, _ = world(64, seed=1)
    assert fit(images, bags(shape), SMALL.model_copy(update={"max_pictures": 40})).pictures == 40


def test_products_without_tokens_are_left_out() -> None:
    images, shape, _ = world(64, seed=1)
    labels = bags(shape)
    some = TokenBags(np.minimum(labels.indptr, 50), labels.tokens[:50], labels.weights[:50])
    assert fit(images, some, SMALL).pictures == 50


def test_images_and_labels_must_belong_together() -> None:
    images, shape, _ = world(12, seed=1)
    with pytest.raises(DataError, match=r"uint8 \[12, 64, 48, 3\] beside 11 bags of tokens; give uint8 \[11, 64"):
        fit(images, bags(shape[:11]), SMALL)
    with pytest.raises(DataError, match="float32"):
        fit(images.astype(np.float32), bags(shape), SMALL)


def test_labels_that_tell_nothing_apart_are_named() -> None:
    images, shape, _ = world(12, seed=1)
    with pytest.raises(DataError, match="12 pictured products share 1 tokens that 5 of them have"):
        fit(images, bags(np.zeros_like(shape)), SMALL)


def test_blank_pictures_are_named() -> None:
    images, shape, _ = world(60, seed=1)
    with pytest.raises(DataError, match="0 patches of 60 pictures show anything at the fine scale, fewer than the 16"):
        fit(np.full_like(images, 255), bags(shape), SMALL)
