"""The network of the image encoder: one wide layer of patch filters at two scales, and a linear map above it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.legacy_keras import tf
from models.patch_dictionary import CONTRAST_FLOOR, PATCH
from serving.pictures import HEIGHT, SHAPE, WIDTH

Floats = npt.NDArray[np.float32]

ROWS, COLUMNS = 4, 3  # of cells, over which responses are averaged
THUMBNAIL = 8  # pixels a side that are features of their own: what colour is where
_STRIDES = (2, 1)  # of the filters, at the fine and the coarse scale


class PatchFeatures(tf.Module):
    """Pictures -> features.

    At each scale: responses r of the filters to contrast-normalised patches; max(r - threshold, 0) and
    max(-r - threshold, 0); their means over ROWS x COLUMNS cells; the square root, since means of what is mostly
    0 are skewed. Beside them the colours of an 8 x 8 thumbnail, 0 for white and 1 for black.
    """

    def __init__(self, filters: Sequence[Floats], threshold: float) -> None:
        """Take the filters [PATCH * PATCH * 3, n] of the fine and the coarse scale."""
        super().__init__(name="patch_features")
        self.kernels = [tf.constant(f.reshape(PATCH, PATCH, 3, -1)) for f in filters]
        self.sums = [tf.constant(f.sum(axis=0)) for f in filters]
        self.threshold = threshold
        self.width = 2 * ROWS * COLUMNS * sum(f.shape[1] for f in filters) + THUMBNAIL**2 * 3

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Features float32 [n, width] of images uint8 [n, HEIGHT, WIDTH, 3]."""
        # The ground of a product picture is white: it becomes exactly 0, and its contrast too.
        fine = 255.0 - tf.cast(images, tf.float32)
        coarse = tf.nn.avg_pool2d(fine, 2, 2, "VALID")
        parts = [self._responses(pictures, scale) for scale, pictures in enumerate((fine, coarse))]
        cell = HEIGHT // THUMBNAIL, WIDTH // THUMBNAIL
        colours = tf.reshape(tf.nn.avg_pool2d(fine, cell, cell, "VALID") / 255.0, (-1, THUMBNAIL**2 * 3))
        return tf.concat([*parts, colours], axis=1)

    def _responses(self, pictures: tf.Tensor, scale: int) -> tf.Tensor:
        stride, kernel = _STRIDES[scale], self.kernels[scale]
        mean = tf.reduce_mean(tf.nn.avg_pool2d(pictures, PATCH, stride, "VALID"), axis=-1, keepdims=True)
        square = tf.reduce_mean(tf.nn.avg_pool2d(pictures**2, PATCH, stride, "VALID"), axis=-1, keepdims=True)
        deviation = tf.sqrt(tf.maximum(square - mean**2, 0.0))
        # Filters see patches less their mean: by linearity, a response less mean times the filter's sum.
        plain = tf.nn.conv2d(pictures, kernel, stride, "VALID") - mean * self.sums[scale]
        response = -plain / (deviation + CONTRAST_FLOOR)  # minus, since dark was made bright
        both = tf.concat([tf.nn.relu(response - self.threshold), tf.nn.relu(-response - self.threshold)], axis=-1)
        height, width = both.shape[1], both.shape[2]
        cells = [
            tf.reduce_mean(both[:, r * height // ROWS : (r + 1) * height // ROWS,
                                c * width // COLUMNS : (c + 1) * width // COLUMNS], axis=[1, 2])
            for r in range(ROWS) for c in range(COLUMNS)
        ]
        return tf.sqrt(tf.concat(cells, axis=1) + 1e-6)


class ImageNetwork(tf.Module):
    """Pictures -> vectors of length 1, under a fixed signature: input `image`, output `vector`."""

    def __init__(self, features: PatchFeatures, weights: Floats, bias: Floats) -> None:
        """Take the map from features to vectors: weights [width, dimension] and bias [dimension]."""
        super().__init__(name="image_encoder")
        self.features, self.weights, self.bias = features, tf.constant(weights), tf.constant(bias)
        self.serve = tf.function(self._vector, autograph=False).get_concrete_function(
            image=tf.TensorSpec([None, *SHAPE], tf.uint8, "image"))

    def _vector(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        plain = tf.matmul(self.features(image), self.weights) + self.bias
        return {"vector": tf.math.l2_normalize(plain, axis=-1, epsilon=1e-12)}
