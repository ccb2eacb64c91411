"""Dictionaries of small image patches: what edges, textures and colour borders the shop's pictures are made of.

Coates, Lee and Ng, An Analysis of Single-Layer Networks in Unsupervised Feature Learning (2011), and Coates and Ng,
Learning Feature Representations with K-means (2012): with few pictures to learn from, patches clustered without
labels and a linear model above them tell more than a deep network trained from scratch, in a fraction of the time.
"""

import numpy as np
import numpy.typing as npt

from serving.pictures import Pixels

PATCH = 6  # pixels a side
CONTRAST_FLOOR = 10.0  # grey levels: the noise of flat areas is not blown up to full contrast
_FLAT = 4.0  # grey levels of deviation, below which a patch shows nothing
_WHITENING = 0.05  # added to the eigenvalues of the patches' covariance
_ROUNDS = 8  # of k-means; later ones change little

Floats = npt.NDArray[np.float32]


def sample_patches(images: Pixels, count: int, rng: np.random.Generator) -> Floats:
    """At most `count` patches [m, PATCH * PATCH * 3] from anywhere in `images` [n, h, w, 3], flat ones left out."""
    number, height, width, _ = images.shape
    # Half of a product picture is its ground.
    tries = 3 * count
    image = np.sort(rng.integers(0, number, tries))
    y, x = rng.integers(0, height - PATCH + 1, tries), rng.integers(0, width - PATCH + 1, tries)
    found = np.stack([images[i, b : b + PATCH, a : a + PATCH].reshape(-1) for i, b, a in zip(image, y, x, strict=True)])
    patches = found[found.std(axis=1) > _FLAT].astype(np.float32)
    chosen: Floats = patches[rng.permutation(len(patches))[:count]]
    return chosen


def contrast_normalised(patches: Floats) -> Floats:
    """Patches [m, d] less their mean, by their deviation and CONTRAST_FLOOR."""
    mean = patches.mean(axis=1, keepdims=True)
    normalised: Floats = (patches - mean) / (patches.std(axis=1, keepdims=True) + np.float32(CONTRAST_FLOOR))
    return normalised


def learn_filters(patches: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Filters [d, count] for contrast-normalised patches: whitening, then the centres of spherical k-means.

    The response of a filter to a patch is its inner product with the contrast-normalised patch, about 1 in
    deviation; that of a flat patch is 0.

    Args:
        patches: [m, d], m >= count.
        count: of filters.
    """
    normalised = contrast_normalised(patches)
    values, axes = np.linalg.eigh(normalised.T @ normalised / len(normalised))
    whitening = ((axes / np.sqrt(np.maximum(values, 0) + _WHITENING)) @ axes.T).astype(np.float32)
    points = _unit(normalised @ whitening)
    centres = points[rng.choice(len(points), count, replace=False)]
    for _ in range(_ROUNDS):
        scores = points @ centres.T
        nearest = scores.argmax(axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, points * scores[np.arange(len(points)), nearest][:, None])
        is_empty = np.linalg.norm(sums, axis=1) < 1e-6
        # A centre that nothing is near to begins anew at some patch.
        sums[is_empty] = points[rng.choice(len(points), int(is_empty.sum()))]
        centres = _unit(sums)
    return np.asarray(whitening @ centres.T, np.float32)


def _unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + np.float32(1e-9))
    return unit
