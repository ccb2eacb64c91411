"""Pictures as training sees them: in a new order each epoch, mirrored and shifted."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from serving.pictures import Pixels

_SHIFT = 1 / 12  # of height and width, at most, either way
_GROUND = 255  # what a shift uncovers: product pictures stand on white


def halved(images: Pixels) -> Pixels:
    """[n, h / 2, w / 2, 3], each pixel the mean of four."""
    n, height, width, _ = images.shape
    cells = images.reshape(n, height // 2, 2, width // 2, 2, 3)
    return np.asarray(cells.mean(axis=(2, 4), dtype=np.float32) + 0.5, np.uint8)


def augmented(images: Pixels, rng: np.random.Generator) -> Pixels:
    """Each of `images` [n, h, w, 3] shifted by up to a twelfth, and every second one, by chance, mirrored.

    Colours are left as they are: they are among what is to be told from a picture.
    """
    n, height, width, _ = images.shape
    up, left = round(height * _SHIFT), round(width * _SHIFT)
    wide = np.pad(images, ((0, 0), (up, up), (left, left), (0, 0)), constant_values=_GROUND)
    y, x = rng.integers(0, 2 * up + 1, n), rng.integers(0, 2 * left + 1, n)
    out = np.empty_like(images)
    for i, turn in enumerate(np.where(rng.random(n) < 0.5, -1, 1)):
        out[i] = wide[i, y[i] : y[i] + height, x[i] : x[i] + width][:, ::turn]
    return out


def batches(number: int, size: int, steps: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.intp]]:
    """`steps` batches [size] of rows out of `number`; in each round every row once, but for an incomplete batch."""
    done, size = 0, min(size, number)
    while True:
        order = rng.permutation(number)
        for first in range(0, number - size + 1, size):
            if done == steps:
                return
            done += 1
            # Sorted: the pictures of a large catalogue are read from a file.
            yield np.sort(order[first : first + size])
