"""Sums over all bags of tokens, and their gradient: most of what the item tower does where products have words.

TensorFlow's product of a sparse matrix and a table goes one entry after another. Here entries of a bag that stand
beside each other and weigh the same, as the words of a title do, are first summed by the kernel that is made for sums
of rows; then the sums are weighted, and summed to bags. The gradient goes the same way back, entries in the order of
tokens. See docs/benchmarks.md for what that is worth.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from models.legacy_keras import tf


class BagSums:
    """The matrix of bags by tokens, made ready for products with a table.

    Args:
        indptr: int64 [bags + 1]; bag i has the entries indptr[i]:indptr[i + 1].
        tokens: int32 [entries].
        weights: float32 [entries].
        count: tokens that there are.
    """

    def __init__(self, indptr: npt.NDArray[np.int64], tokens: npt.NDArray[np.int32],
                 weights: npt.NDArray[np.float32], count: int) -> None:
        self._bags, self._count = len(indptr) - 1, count
        owner = np.repeat(np.arange(self._bags, dtype=np.int32), np.diff(indptr))
        begins = np.ones(len(tokens), bool)
        begins[1:] = (np.diff(owner) != 0) | (np.diff(weights) != 0)
        run = np.cumsum(begins, dtype=np.int32) - 1
        by_token = np.argsort(tokens, kind="stable")
        self._runs = int(begins.sum())
        self._weights, self._owner = tf.constant(weights[begins][:, None]), tf.constant(owner[begins])
        self._tokens, self._run = tf.constant(tokens), tf.constant(run)
        self._sorted_tokens, self._run_of_token = tf.constant(tokens[by_token]), tf.constant(run[by_token])

    def __call__(self, table: tf.Tensor) -> tf.Tensor:
        """Weighted sums [bags, D] of the rows of `table` [count, D]."""
        @tf.custom_gradient
        def summed(table: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            runs = tf.sparse.segment_sum(table, self._tokens, self._run, num_segments=self._runs)
            return tf.math.unsorted_segment_sum(runs * self._weights, self._owner, self._bags), to_table

        def to_table(upstream: tf.Tensor) -> tf.Tensor:
            runs = tf.gather(upstream, self._owner) * self._weights
            return tf.sparse.segment_sum(runs, self._run_of_token, self._sorted_tokens, num_segments=self._count)

        return summed(tf.convert_to_tensor(table))
