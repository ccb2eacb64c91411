"""What training sees of a picture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.image_batches import augmented, batches, halved


def test_halving_takes_the_mean_of_four_pixels() -> None:
    image = np.zeros((1, 2, 4, 3), np.uint8)
    image[0, :, :2, 0] = [[10, 20], [30, 41]]  # mean 25.25
    image[0, :, 2:, 2] = 255
    assert halved(image).tolist() == [[[[25, 0, 0], [0, 0, 255]]]]


def test_pictures_are_shifted_and_mirrored_and_nothing_else() -> None:
    """A dark pixel stays one pixel, at most a twelfth away from where it was or from its mirror image."""
    images = np.full((400, 24, 12, 3), 255, np.uint8)
    images[:, 10, 3] = 7
    out = augmented(images, np.random.default_rng(0))
    image, y, x, _ = np.nonzero(out != 255)
    assert (out[out != 255] == 7).all()
    assert np.bincount(image).tolist() == [3] * 400  # the three channels of one pixel
    assert set(y - 10) == {-2, -1, 0, 1, 2}
    assert set(x) == {2, 3, 4, 7, 8, 9}  # column 3, mirrored 8, one either way
    assert 0.4 < (x > 5).mean() < 0.6
    assert (images[:, 10, 3] == 7).all()


@given(st.integers(1, 50), st.integers(1, 20), st.integers(0, 30), st.integers(0, 2**32))
def test_each_round_has_every_row_once_but_for_the_rest(number: int, size: int, steps: int, seed: int) -> None:
    found = list(batches(number, size, steps, np.random.default_rng(seed)))
    assert len(found) == steps
    size = min(size, number)
    a_round = number // size
    for first in range(0, steps, a_round):
        rows = np.concatenate(found[first : first + a_round])
        assert len(set(rows.tolist())) == len(rows)
    assert all(len(rows) == size and (np.diff(rows) > 0).all() for rows in found)
    assert all(0 <= row < number for rows in found for row in rows)


def test_the_order_is_the_seed_s() -> None:
    first, second, other = (np.concatenate(list(batches(100, 10, 30, np.random.default_rng(s)))) for s in (1, 1, 2))
    assert (first == second).all()
    assert (first != other).any()
    assert first[:100] != pytest.approx(first[100:200])
