"""Item tower: an item is its own embedding plus what its features say."""

import numpy as np

from models.bag_sums import BagSums
from models.demand import Demand
from models.item_embedding import SMALLEST
from models.legacy_keras import tf
from pipelines.snapshot import SnapshotData

GAIN = 1.5  # where the learned length of item vectors starts


class ItemTower(tf.keras.layers.Layer):
    """Rows of items -> vectors.

    vector = gain * unit(id embedding + weighted bag of feature tokens + projected dense features). The id
    embedding is left out for a random part of the items in each training step, and for good where an item
    has no training event, so that new products live on their features (DropoutNet, Volkovs et al. 2017). All
    vectors are of one length, learned, so that what sold often is not longer, and what is new not shorter.

    The prior is what an item is asked for beyond the demand of the time (models/demand.py). It has the same two
    parts, an own one and one that the features tell.
    """

    def __init__(self, data: SnapshotData, demand: Demand, dimension: int, id_dropout: float) -> None:
        super().__init__(name="item_tower")
        items = data.num_items
        self.id_dropout = id_dropout
        self.dimension = dimension
        self.is_known = tf.constant((data.item_counts > 0)[:, None], tf.float32)
        tokens = max(data.spec["item_token_count"], 1)
        self.sums = BagSums(data.item_tokens_indptr, np.asarray(data.item_tokens), np.asarray(data.item_token_weights),
                            tokens)
        self.bag_ptr = tf.constant(data.item_tokens_indptr)
        self.bag_tokens, self.bag_weights = tf.constant(data.item_tokens), tf.constant(data.item_token_weights)
        self.dense = tf.constant(data.item_dense)
        share = (data.item_counts + 1.0) / (data.item_counts.sum() + items)
        self.share = tf.constant(share, tf.float32)
        normal = tf.keras.initializers.RandomNormal
        scale = dimension**-0.5
        self.ids = self.add_weight("ids", (items, self.dimension), initializer=normal(stddev=0.3 * scale))
        self.tokens = self.add_weight("tokens", (tokens, self.dimension), initializer=normal(stddev=0.3 * scale))
        self.moments, self.demand_table = tf.constant(demand.moments), tf.constant(demand.table)
        self.own_prior = self.add_weight("own_prior", (items, 1), initializer="zeros")
        self.content_prior = tf.keras.layers.Dense(1, kernel_initializer="zeros")
        self.gain = self.add_weight("gain", (), initializer=tf.constant_initializer(GAIN))
        self.project = tf.keras.layers.Dense(
            self.dimension, use_bias=False, kernel_initializer=normal(stddev=0.3 * scale))

    def content(self, items: tf.Tensor | None) -> tf.Tensor:
        """Feature part of the vectors [n, dimension] of `items` [n]; None means the whole catalogue."""
        if items is None:
            return self.sums(self.tokens) + self.project(self.dense)
        first = tf.gather(self.bag_ptr, items)
        lengths = tf.gather(self.bag_ptr, items + 1) - first
        at = tf.ragged.range(first, first + lengths).flat_values
        owner = tf.repeat(tf.range(tf.size(items)), lengths)
        part = tf.gather(self.tokens, tf.gather(self.bag_tokens, at))
        part *= tf.gather(self.bag_weights, at)[:, None]
        words = tf.math.unsorted_segment_sum(part, owner, tf.size(items))
        return words + self.project(tf.gather(self.dense, items))

    def moment_of(self, time: tf.Tensor) -> tf.Tensor:
        """The row int32 [n] of the demand table that holds at each `time` [n], microseconds."""
        return tf.maximum(tf.searchsorted(self.moments, time, side="right") - 1, 0)

    def lengths(self) -> tf.Tensor:
        """Lengths [items] of the whole catalogue's vectors before they are brought to the gain."""
        summed = self.ids * self.is_known + self.content(None)
        return tf.sqrt(tf.maximum(tf.reduce_sum(summed**2, axis=-1), SMALLEST))

    def call(self, items: tf.Tensor | None, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """Vectors [n, dimension] and priors [n] of `items` [n], or of the whole catalogue for None."""
        ids, known, own_prior = self.ids, self.is_known, self.own_prior
        if items is not None:
            ids, known, own_prior = (tf.gather(table, items) for table in (ids, known, own_prior))
        if training and self.id_dropout > 0:
            known *= tf.cast(tf.random.uniform(tf.shape(known)) >= self.id_dropout, tf.float32)
        content = self.content(items)
        vectors = tf.math.l2_normalize(ids * known + content, axis=-1, epsilon=SMALLEST) * self.gain
        prior = own_prior * known + self.content_prior(content)
        return vectors, prior[:, 0]
