"""The same layers and the same loss, trained the plain way: every history padded to the full window.

Sequences are batched as they come, all of them padded to L + 1 slots; user vectors and logits over the whole
catalogue are computed for every slot, empty or not, all at once; TensorFlow's own differentiation does the rest.
"""

from collections.abc import Iterator

import numpy as np

from benchmarks.side_by_side import Side, fastest
from models.averages import Averages
from models.batches import Batch, assemble, cut
from models.demand import Demand
from models.legacy_keras import tf
from models.member_training import build
from models.two_tower import TwoTower
from models.visits import Visits
from pipelines.errors import DataError
from pipelines.snapshot import SnapshotData
from pipelines.train_settings import TrainSettings
from serving.calendar import first_token

_NEVER = -1e9
_WARMUP = 2  # steps


class PaddedTwoTower(TwoTower):
    """The two towers with a question in every slot of every sequence."""

    def _full_loss(self, batch: dict[str, tf.Tensor], training: bool) -> tf.Tensor:
        vectors, prior = self.items(None, training=training)
        questions = self.question_vectors(batch, vectors, batch["event_item"], training)
        logits = tf.matmul(questions, vectors, transpose_b=True) + prior[None]
        table = self.items.demand_table
        # One row is the same for all questions.
        logits += table if len(table) == 1 else tf.gather(table, self.items.moment_of(batch["query_time"]))
        met = tf.stack([batch["met_query"], batch["met_item"]], axis=1)
        logits = tf.tensor_scatter_nd_update(logits, met, tf.fill(tf.shape(met)[:1], _NEVER))
        target = tf.stack([batch["target_query"], batch["target_item"]], axis=1)
        return -tf.reduce_sum(batch["target_weight"] * tf.gather_nd(tf.nn.log_softmax(logits), target))


def padded(batch: Batch, slots: int) -> Batch:
    """A batch of `models.batches.assemble` in `slots` slots a sequence, with a question in each.

    The slots that nobody asks from are questions at time 0 without a target: work, and nothing in the loss.
    """
    rows, size = batch["counts"].shape
    cell = np.arange(rows * size)
    place = (cell // size * slots + cell % size).astype(np.int32)  # where each old cell lies
    wide = {name: np.pad(batch[name], ((0, 0), (0, slots - size), *[(0, 0)] * (batch[name].ndim - 2)))
            for name in ("types", "gaps", "counts")}
    asked = place[batch["query_slot"]]
    questions = {}
    for name in ("query_wait", "query_time", "query_calendar"):
        values = batch[name]
        questions[name] = np.zeros((rows * slots, *values.shape[1:]), values.dtype)
        questions[name][asked] = values
    return {**batch, **wide, **questions, "event_slot": place[batch["event_slot"]],
            "query_slot": np.arange(rows * slots, dtype=np.int32),
            "target_query": asked[batch["target_query"]], "met_query": asked[batch["met_query"]]}


def batches(data: SnapshotData, sequences: int, number: int, seed: int) -> tuple[Iterator[Batch], int]:
    """`number` padded batches of so many random sequences each, and how many sequences the log has."""
    visits = Visits.of(data)
    whole = cut(visits, data.spec["visits"])
    if len(whole) < sequences:
        raise DataError(f"{data.path} has {len(whole):,} sequences, a batch of the padded training {sequences:,}")
    rng = np.random.default_rng(seed)
    parts = (whole.part(rng.choice(len(whole), sequences, replace=False)) for _ in range(number))
    made = (assemble(visits, part, data.user_tokens, len(data.spec["event_types"]), calendar=first_token(data.spec))
            for part in parts)
    return (padded(batch, data.spec["visits"] + 1) for batch in made), len(whole)


def padded_training(
    data: SnapshotData, settings: TrainSettings, positions: int, sequences: int, steps: int
) -> Side:
    """An epoch of the padded training, extrapolated from the fastest of `steps` steps.

    Args:
        data: of a catalogue that is scored whole.
        settings: of the towers and optimisers, as Vitrine's.
        positions: targets of the log.
        sequences: of a batch.
        steps: that are timed.
    """
    tf.keras.utils.set_random_seed(settings.seed)
    plain = build(data, Demand.of(data), settings)
    model = PaddedTwoTower(plain.items, plain.users, plain.sampling, plain.num_items)
    model.compile(optimizer=plain.optimizer)
    found, whole = batches(data, sequences, steps + _WARMUP, settings.seed)
    first = next(found)
    model.compute_loss({name: tf.constant(array) for name, array in first.items()})
    averages = Averages(model.trainable_variables, settings.average_decay)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(batch: dict[str, tf.Tensor]) -> tf.Tensor:
        loss = model.train_step(batch)["loss"]
        averages.update()
        return loss

    made = [first, *found]  # before the clock starts: only the steps are timed
    seconds = fastest(lambda batch: float(step({name: tf.constant(array) for name, array in batch.items()})), made,
                      _WARMUP)
    return Side("padded to the window", positions, seconds * whole / sequences,
                f"an epoch of {whole:,} sequences, extrapolated from the fastest of {steps} steps of {sequences} "
                f"({seconds:.2f} s), without making its batches")
