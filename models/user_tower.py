"""User tower: a causal transformer over visits beside pooled whole histories.

Both are needed. Where order tells (the next shade after this one) the sequence wins; where histories are
long baskets of wholesale buyers a transformer overfits at once and a bag of everything wins.
"""

from functools import partial

from models.legacy_keras import tf
from serving.encoding import GAP_BUCKETS

Inputs = dict[str, tf.Tensor]


class Block(tf.keras.layers.Layer):
    """Pre-norm transformer block over slots: attends to earlier slots that are not empty.

    Positions are relative: a learned bias for each head and distance (T5, Raffel et al. 2020, without
    buckets). A learned null key takes the attention of those who have nothing to look back at. What attention
    and MLP say is let in by gates that the slot's state decides (LiGR, Borisyuk et al. 2025).
    """

    def __init__(self, dimension: int, heads: int, slots: int, dropout: float, name: str, policy: str) -> None:
        super().__init__(name=name, dtype=policy)
        self.dimension, self.heads, self.slots = dimension, heads, slots
        self.norms = [tf.keras.layers.LayerNormalization(epsilon=1e-6, dtype=policy) for _ in range(2)]
        self.query_key_value = tf.keras.layers.Dense(3 * dimension, use_bias=False, dtype=policy)
        self.out = tf.keras.layers.Dense(dimension, dtype=policy)
        self.wide = tf.keras.layers.Dense(2 * dimension, activation="gelu", dtype=policy)
        self.narrow = tf.keras.layers.Dense(dimension, dtype=policy)
        self.dropout = tf.keras.layers.Dropout(dropout, dtype=policy)
        self.gates = [tf.keras.layers.Dense(dimension, activation="sigmoid", dtype=policy) for _ in range(2)]

    def build(self, _: tf.TensorShape) -> None:
        """Create the position bias and the null key."""
        self.bias = self.add_weight("bias", (self.slots + 1, self.heads), initializer="zeros")
        width = self.dimension // self.heads
        self.null = self.add_weight("null", (1, self.heads, 1, width), initializer="glorot_uniform")

    def call(self, x: tf.Tensor, is_empty: tf.Tensor, training: bool = False) -> tf.Tensor:
        """States [B, T, D] from states [B, T, D]; `is_empty` [B, T] are slots nobody may look at."""
        length, width = tf.shape(x)[1], self.dimension // self.heads
        parts = tf.split(self.query_key_value(self.norms[0](x)), 3, axis=-1)
        query, key, value = (
            tf.transpose(tf.reshape(part, (-1, length, self.heads, width)), (0, 2, 1, 3)) for part in parts)
        distance = tf.range(length)[:, None] - tf.range(length)[None, :]
        bias = tf.transpose(tf.gather(self.bias, tf.clip_by_value(distance, 0, self.slots)), (2, 0, 1))
        hidden = tf.cast(distance < 0, tf.float32)[None, None] + tf.cast(is_empty, tf.float32)[:, None, None, :]
        logits = tf.matmul(query, key, transpose_b=True) * width**-0.5 + bias[None]
        null = tf.reduce_sum(query * self.null, axis=-1, keepdims=True) * width**-0.5
        logits = tf.concat([tf.cast(null, tf.float32), tf.cast(logits, tf.float32) - 1e9 * hidden], axis=-1)
        attention = tf.cast(tf.nn.softmax(logits)[..., 1:], value.dtype)
        mixed = tf.reshape(tf.transpose(tf.matmul(attention, value), (0, 2, 1, 3)), (-1, length, self.dimension))
        x += self.gates[0](x) * self.dropout(self.out(mixed), training=training)
        return x + self.gates[1](x) * self.dropout(self.narrow(self.wide(self.norms[1](x))), training=training)


class UserTower(tf.keras.layers.Layer):
    """Visits -> user vectors.

    Args:
        dimension: D, of item and user vectors.
        blocks, heads, dropout: of the transformer.
        slots: L, the longest sequence.
        user_tokens: rows of the user feature table; token 0 is padding.
        policy: Keras policy of the blocks: float32 or mixed_bfloat16.
    """

    def __init__(
        self, dimension: int, blocks: int, heads: int, dropout: float, slots: int, user_tokens: int,
        policy: str = "float32",
    ) -> None:
        super().__init__(name="user_tower")
        self.dimension, self.user_tokens = dimension, user_tokens
        self.blocks = [Block(dimension, heads, slots, dropout, f"block_{i}", policy) for i in range(blocks)]
        self.dropout = tf.keras.layers.Dropout(dropout)
        self.norm = tf.keras.layers.LayerNormalization(epsilon=1e-6)
        self.mlp = [tf.keras.layers.Dense(2 * dimension, activation="gelu"), tf.keras.layers.Dense(dimension)]
        self.decays = (1.0, 0.9, 0.6)
        size = dimension
        small = partial(tf.keras.initializers.RandomNormal, stddev=0.02)
        self.start = self.add_weight("start", (size,), initializer=small())
        self.gap = self.add_weight("gap", (GAP_BUCKETS, size), initializer=small())
        self.wait = self.add_weight("wait", (GAP_BUCKETS, size), initializer=small())
        # From nothing: a month, say, that training never met is to say nothing.
        self.user = self.add_weight("user", (max(self.user_tokens, 1), size), initializer="zeros")
        self.type = tf.keras.layers.Dense(size, use_bias=False, kernel_initializer=small())
        self.enter = self.add_weight("enter", (size, size), initializer=tf.keras.initializers.Identity(1.0))
        self.leave = tf.keras.layers.Dense(size)
        # The bags start as plain sums of what was bought: a sensible recommender before the first step.
        identity = tf.keras.initializers.Identity(1.0 / len(self.decays))
        self.pool = [self.add_weight(f"pool_{i}", (size, size), initializer=identity) for i in range(len(self.decays))]

    def states(self, inputs: Inputs, training: bool = False) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """What is known after each slot: sequence states [B, T, D] and the bags, each [B, T, D]."""
        counts = inputs["counts"]
        is_empty = counts <= 0
        visits = inputs["visits"] * tf.math.rsqrt(tf.maximum(counts, 1e-9))[:, :, None]
        x = tf.matmul(visits, self.enter) + self.type(inputs["types"]) + tf.gather(self.gap, inputs["gaps"])
        x = tf.where(is_empty[:, :, None], self.start, x)
        x = self.dropout(x, training=training)
        for block in self.blocks:
            x = tf.cast(block(x, is_empty, training=training), tf.float32)
        length = tf.shape(counts)[1]
        distance = tf.cast(tf.range(length)[:, None] - tf.range(length)[None, :], tf.float32)
        bags = []
        for decay in self.decays:
            weight = tf.where(distance >= 0, tf.pow(decay, distance), 0.0)
            total = tf.matmul(weight, counts[:, :, None])
            bags.append(tf.matmul(weight[None], inputs["visits"]) * tf.math.rsqrt(tf.maximum(total, 1.0)))
        return x, bags

    def read(
        self, state: tf.Tensor, bags: list[tf.Tensor], wait: tf.Tensor, user: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        """User vectors [Q, D] from what is known [Q, D], the time since [Q] and user tokens [Q, K]."""
        vector = self.leave(self.norm(state)) + tf.gather(self.wait, wait)
        for bag, project in zip(bags, self.pool, strict=True):
            vector += tf.matmul(self.dropout(bag, training=training), project)
        known = tf.cast(user > 0, tf.float32)[:, :, None]
        vector += tf.reduce_sum(tf.gather(self.user, user) * known, axis=1)
        wide, narrow = self.mlp
        return vector + self.dropout(narrow(wide(vector)), training=training)

    def call(self, inputs: Inputs) -> tf.Tensor:
        """User vectors [B, D + 1] of right-aligned requests; the last column takes the item's prior."""
        state, bags = self.states(inputs)
        vector = self.read(state[:, -1], [bag[:, -1] for bag in bags], inputs["wait"], inputs["user"])
        return tf.concat([vector, tf.ones_like(vector[:, :1])], axis=1)
