"""Patch filters on pictures with two kinds of edges."""

import numpy as np
import pytest

from models.patch_dictionary import contrast_normalised, learn_filters, sample_patches


def striped(count: int) -> np.ndarray:
    """White pictures, the left half with upright stripes of 3 pixels."""
    images = np.full((count, 32, 24, 3), 255, np.uint8)
    images[:, :, :12][:, :, [0, 1, 2, 6, 7, 8]] = 20
    return images


def test_patches_are_pieces_of_pictures_that_show_something() -> None:
    patches = sample_patches(striped(5), 200, np.random.default_rng(0))
    assert patches.shape == (200, 108)
    assert (patches.std(axis=1) > 4).all()
    rows = patches.reshape(-1, 6, 6, 3)
    assert (rows == rows[:, :1]).all()  # stripes are the same in every row
    assert set(np.unique(patches)) == {20, 255}


def test_blank_pictures_have_none() -> None:
    assert len(sample_patches(np.full((3, 32, 24, 3), 255, np.uint8), 50, np.random.default_rng(0))) == 0


def test_contrast_is_normalised_but_not_that_of_faint_noise() -> None:
    """Values 0 and 100: mean 50, deviation 50, so -50 / 60 and 50 / 60. Values 10 and 12: -1 / 11 and 1 / 11."""
    patches = np.array([[0, 100], [10, 12], [7, 7]], np.float32)
    assert contrast_normalised(patches) == pytest.approx(np.array([[-5 / 6, 5 / 6], [-1 / 11, 1 / 11], [0, 0]]))


def test_filters_find_the_kinds_of_patches() -> None:
    """Two kinds, upright and level edges of either sign, with a little noise: each has a filter that is its own."""
    rng = np.random.default_rng(1)
    upright, level = np.zeros((6, 6, 3)), np.zeros((6, 6, 3))
    upright[:, 3:], level[3:] = 100, 100
    kind = rng.integers(0, 2, 600)
    patches = np.stack([upright, level])[kind].reshape(600, -1) + rng.normal(0, 2, (600, 108))
    filters = learn_filters(patches.astype(np.float32), 2, rng)
    assert filters.shape == (108, 2)
    response = contrast_normalised(patches.astype(np.float32)) @ filters
    assert len({tuple(np.bincount(kind[response.argmax(axis=1) == f], minlength=2) > 0) for f in (0, 1)}) == 2
    own = response.argmax(axis=1)
    assert max((own == kind).mean(), (own != kind).mean()) == 1.0
    assert np.abs(contrast_normalised(np.full((1, 108), 9, np.float32)) @ filters).max() == 0
