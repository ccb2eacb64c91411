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

    A small catalogue is scored whole. Above that, the batch's targets and uniform negatives stand for it,
    with logQ correction (Yi et al. 2019), by the TFRS retrieval task.
    """

    def __init__(
        self, items: ItemTower, users: UserTower, sampling: Sampling, num_items: int, calendar_dropout: float = 0.0
    ) -> None:
        super().__init__(name="two_tower")
        self.items, self.users, self.sampling, self.num_items = items, users, sampling, num_items
        self.calendar_dropout = calendar_dropout
        self.task = tfrs.tasks.Retrieval(remove_accidental_hits=True)

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
        """Mean softmax cross-entropy over the batch's (question, item) pairs."""
        if self.sampling.is_full:
            return self._full_loss(inputs, training)
        return self._sampled_loss(inputs, training)

    def _full_loss(self, batch: dict[str, tf.Tensor], training: bool) -> tf.Tensor:
        vectors, prior = self.items(None, training=training)
        questions = self.question_vectors(batch, vectors, batch["event_item"], training)
        candidates = tf.concat([vectors, prior[:, None]], axis=1)
        asked = tf.pad(questions, ((0, 0), (0, 1)), constant_values=1.0)
        met = tf.stack([batch["met_query"], batch["met_item"]], axis=1)
        target = tf.stack([batch["target_query"], batch["target_item"]], axis=1)
        total = softmax_loss(asked, candidates, met, target, batch["target_weight"],
                             self.items.demand_table, self.items.moment_of(batch["query_time"]))
        return total / tf.maximum(tf.reduce_sum(batch["target_weight"]), 1e-9)

    def _sampled_loss(self, batch: dict[str, tf.Tensor], training: bool) -> tf.Tensor:
        targets = batch["target_item"]
        drawn = tf.random.uniform((self.sampling.negatives,), 0, self.num_items, tf.int32)
        needed, row_of = tf.unique(tf.concat([batch["event_item"], targets, drawn], axis=0))
        vectors, prior = self.items(needed, training=training)
        events, pairs = tf.size(batch["event_item"]), tf.size(targets)
        questions = self.question_vectors(batch, vectors, row_of[:events], training)
        offered = tf.concat([targets, drawn], axis=0)
        # The demand at the question's time as part of the inner product: a column for each moment.
        moments = tf.one_hot(self.items.moment_of(batch["query_time"]), self.items.demand_table.shape[0])
        asked = tf.concat([questions, tf.ones_like(questions[:, :1]), moments], axis=1)
        candidates = tf.concat([
            tf.gather(tf.concat([vectors, prior[:, None]], axis=1), row_of[events:]),
            tf.transpose(tf.gather(self.items.demand_table, offered, axis=1))], axis=1)
        # The part of the offered rows that an item takes up on average: by uniform draws, and as a target.
        drawn_part = tf.cast(self.sampling.negatives, tf.float32) / tf.cast(self.sampling.negatives + pairs, tf.float32)
        probability = drawn_part / self.num_items + (1 - drawn_part) * tf.gather(self.items.share, offered)
        total = self.task(
            tf.gather(asked, batch["target_query"]), candidates, sample_weight=batch["target_weight"],
            candidate_sampling_probability=probability, candidate_ids=offered, compute_metrics=False,
        )
        return total / tf.maximum(tf.reduce_sum(batch["target_weight"]), 1e-9)

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
