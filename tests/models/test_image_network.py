"""The features of pictures against the plain expression, one patch after the other."""

import numpy as np
import pytest

from models.image_network import ImageNetwork, PatchFeatures
from models.patch_dictionary import contrast_normalised

THRESHOLD = 0.3


@pytest.fixture(scope="module")
def filters() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.2, (108, n)).astype(np.float32) for n in (3, 2)]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Noise with a blank quarter."""
    noise = np.random.default_rng(1).integers(0, 256, (3, 64, 48, 3)).astype(np.uint8)
    noise[:, :32, :24] = 255
    return noise


def plain(pictures: np.ndarray, filters: np.ndarray, stride: int) -> np.ndarray:
    """[24 * filters]: cell by cell, the responses above the threshold, then those below its negative."""
    windows = np.lib.stride_tricks.sliding_window_view(pictures, (6, 6), axis=(0, 1))[::stride, ::stride]
    height, width = windows.shape[:2]
    patches = np.moveaxis(windows, 2, -1).reshape(height * width, 108).astype(np.float32)
    response = (contrast_normalised(patches) @ filters).reshape(height, width, -1)
    cells = []
    for row in range(4):
        for column in range(3):
            cell = response[row * height // 4 : (row + 1) * height // 4]
            cell = cell[:, column * width // 3 : (column + 1) * width // 3]
            for sign in (1, -1):
                cells.append(np.maximum(sign * cell - THRESHOLD, 0).mean(axis=(0, 1)))
    return np.sqrt(np.concatenate(cells) + 1e-6)


def test_features_are_those_of_the_plain_expression(images: np.ndarray, filters: list[np.ndarray]) -> None:
    features = PatchFeatures(filters, THRESHOLD)
    found = features(images).numpy()
    assert found.shape == (3, features.width) == (3, 24 * 5 + 192)
    for image, row in zip(images.astype(np.float32), found, strict=True):
        half = image.reshape(32, 2, 24, 2, 3).mean(axis=(1, 3))
        dark = 1 - image.reshape(8, 8, 8, 6, 3).mean(axis=(1, 3)) / 255
        expected = np.concatenate([plain(image, filters[0], 2), plain(half, filters[1], 1), dark.reshape(-1)])
        assert row == pytest.approx(expected, abs=1e-3)


def test_a_blank_picture_shows_nothing(filters: list[np.ndarray]) -> None:
    features = PatchFeatures(filters, THRESHOLD)(np.full((1, 64, 48, 3), 255, np.uint8)).numpy()
    assert features[:, :-192] == pytest.approx(np.full((1, 120), 1e-3))  # the root of 1e-6
    assert not features[:, -192:].any()


def test_vectors_are_the_linear_map_at_length_one(images: np.ndarray, filters: list[np.ndarray]) -> None:
    extractor = PatchFeatures(filters, THRESHOLD)
    rng = np.random.default_rng(2)
    weights, bias = rng.normal(size=(extractor.width, 4)).astype(np.float32), np.arange(4, dtype=np.float32)
    expected = extractor(images).numpy() @ weights + bias
    found = ImageNetwork(extractor, weights, bias).serve(image=images)["vector"].numpy()
    assert found == pytest.approx(expected / np.linalg.norm(expected, axis=1, keepdims=True), abs=1e-5)
