"""The two towers in one space, trained by softmax over items."""

from dataclasses import dataclass
from typing import Any

from models.distribution import summed
from models.item_tower import ItemTower
from models.legacy_keras import tf, tfrs
from models.softmax import softmax_loss
from models.user_tower import UserTower

LARGE_TABLE = 50_000  # rows


@dataclass(frozen=True)
class Sampling:
    """How the softmax is formed: over the whole catalogue, or over targets and shared negatives."""

    is_full: bool
    negatives: int  # uniform negatives shared by a batch, beside the batch's own targets


class TwoTower(tfrs.Model):
    """Questions of a batch against items; the score is the inner product plus the item's prior.

    A small catalogue is scored whole. Above that, the batch's targets and uniform negatives stand for it (Yang et al.
    2020, mixed negative sampling), each by one over its chance of being among them (logQ, Bengio and Senecal 2008).
    """

    def __init__(
        self, items: ItemTower, users: UserTower, sampling: Sampling, num_items: int, calendar_dropout: float = 0.0
    ) -> None:
        super().__init__(name="two_tower")
        self.items, self.users, self.sampling, self.num_items = items, users, sampling, num_items
        self.calendar_dropout = calendar_dropout

    @property
    def tables(self) -> list[tf.Variable]:
        """Tables of which a step touches few rows; a step that costs as much as the rows it touches must not read all.

        The catalogue's where it is sampled, and those of features that have many values.
        """
        items = self.items
        catalogue, features = ([], []) if self.sampling.is_full else ([items.ids, items.own_prior], [items.tokens])
        return catalogue + [table for table in (*features, self.users.user) if table.shape[0] > LARGE_TABLE]

    def question_vectors(
        self, batch: dict[str, tf.Tensor], vectors: tf.Tensor, row_of: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """User vectors [Q, D] for the batch's questions; `vectors`[`row_of`] are the events' items."""
        shape = tf.shape(batch["counts"])
        events = tf.gather(vectors, row_of) * batch["event_weight"][:, None]
        cells = tf.math.unsorted_segment_sum(events, batch["event_slot"], shape[0] * shape[1])
        inputs = {**batch, "visits": tf.reshape(cells, (shape[0], shape[1], self.users.dimension))}
        state, bags = self.users.states(inputs, training=training)
        at = batch["query_slot"]
        flat = [tf.gather(tf.reshape(part, (-1, self.users.dimension)), at) for part in (state, *bags)]
        calendar = batch["query_calendar"]
        if training and self.calendar_dropout > 0:
            is_told = tf.random.uniform((tf.shape(calendar)[0], 1)) >= self.calendar_dropout
            calendar *= tf.cast(is_told, calendar.dtype)
        user = tf.concat([tf.gather(batch["user"], at // shape[1]), calendar], axis=1)
        return self.users.read(flat[0], flat[1:], batch["query_wait"], user, training=training)

    def compute_loss(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Softmax cross-entropy over the batch's (question, item) pairs, their mean by `target_weight`.

        The logit is the inner product plus the item's prior and its demand at the question's time.
        """
        total = self._full_loss(inputs, training) if self.sampling.is_full else self._sampled_loss(inputs, training)
        return total / tf.maximum(tf.reduce_sum(inputs["target_weight"]), 1e-9)

    def _full_loss(self, batch: dict[str, tf.Tensor], training: bool) -> tf.Tensor:
        vectors, prior = self.items(None, training=training)
        questions = self.question_vectors(batch, vectors, batch["event_item"], training)
        met = tf.stack([batch["met_query"], batch["met_item"]], axis=1)
        return self._softmax(batch, questions, vectors, prior, met, batch["target_item"], self.items.demand_table)

    def _sampled_loss(self, batch: dict[str, tf.Tensor], training: bool) -> tf.Tensor:
        targets, events = batch["target_item"], tf.size(batch["event_item"])
        drawn = tf.random.uniform((self.sampling.negatives,), 0, self.num_items, tf.int32)
        offered = tf.unique(tf.sort(tf.concat([targets, drawn], axis=0)))[0]
        needed, row_of = tf.unique(tf.concat([batch["event_item"], offered], axis=0))
        vectors, prior = self.items(needed, training=training)
        questions = self.question_vectors(batch, vectors, row_of[:events], training)
        vectors, prior = (tf.gather(of, row_of[events:]) for of in (vectors, prior))
        prior -= tf.math.log(self._offered_chance(offered, tf.size(targets)))
        place = tf.minimum(tf.searchsorted(offered, batch["met_item"]), tf.size(offered) - 1)
        is_offered = tf.gather(offered, place) == batch["met_item"]
        met = tf.boolean_mask(tf.stack([batch["met_query"], place], axis=1), is_offered)
        return self._softmax(batch, questions, vectors, prior, met, tf.searchsorted(offered, targets),
                             tf.gather(self.items.demand_table, offered, axis=1))

    def _offered_chance(self, items: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """Chance float32 [n] of `items` [n] to be among so many targets of other users or the uniform negatives."""
        drawn = self.sampling.negatives * tf.math.log1p(-1.0 / self.num_items)
        asked = tf.cast(targets, tf.float32) * tf.math.log1p(-tf.gather(self.items.share, items))
        return -tf.math.expm1(drawn + asked)

    def _softmax(
        self, batch: dict[str, tf.Tensor], questions: tf.Tensor, vectors: tf.Tensor, prior: tf.Tensor, met: tf.Tensor,
        target: tf.Tensor, demand: tf.Tensor,
    ) -> tf.Tensor:
        """Sum of the loss over candidates of `vectors` [n, D], `prior` [n] and `demand` [moments, n].

        `met` [M, 2] and `target` [P] are places among the candidates.
        """
        return softmax_loss(
            tf.pad(questions, ((0, 0), (0, 1)), constant_values=1.0), tf.concat([vectors, prior[:, None]], axis=1), met,
            tf.stack([batch["target_query"], target], axis=1), batch["target_weight"], demand,
            self.items.moment_of(batch["query_time"]))

    def train_step(self, inputs: dict[str, tf.Tensor]) -> dict[str, Any]:
        """One step: tables of which it touches few rows go to the sparse optimiser, the rest to the dense one.

        Returns:
            the loss of this worker's part of the batch, to be summed over the workers.
        """
        # Each worker's mean, by its part of the weight, gives in sum the mean over the whole batch, and so for the
        # gradients, which the optimisers sum.
        weight = tf.reduce_sum(inputs["target_weight"])
        everywhere = tf.maximum(summed(weight), 1e-9)
        with tf.GradientTape() as tape:
            loss = self.compute_loss(inputs, training=True) * weight / everywhere
        variables = self.trainable_variables
        gradients = tape.gradient(loss, variables)
        pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
        names = {table.ref() for table in self.tables}
        sparse = [(g, v) for g, v in pairs if v.ref() in names]
        self.optimizer.apply_gradients([(g, v) for g, v in pairs if v.ref() not in names])
        if sparse:
            self.sparse_optimizer.apply_gradients(sparse)
        return {"loss": loss}
