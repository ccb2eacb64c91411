"""The training loop of the TFRS tutorial "Basic retrieval", on the log that Vitrine trains on.

As in the tutorial (tensorflow.org/recommenders/examples/basic_retrieval): ids are strings that the model looks up,
two embedding tables of 32 columns, FactorizedTopK over all items in `fit`, Adagrad at .1, batches of 8,192 examples
from a shuffled tf.data pipeline. An example is one (user, item) pair, and a position is one example.
"""

from time import process_time
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from benchmarks.side_by_side import Side
from benchmarks.training_tables import Tables, compiled_step
from models.legacy_keras import tf, tfrs
from models.visits import Visits
from pipelines import columns as c
from pipelines.snapshot import SnapshotData

DIMENSION, BATCH = 32, 8192
_WARMUP = 1  # steps


class TutorialModel(tfrs.Model):  # type: ignore[misc]
    """The tutorial's `MovielensModel`, of users and items."""

    def __init__(self, users: npt.NDArray[np.object_], items: npt.NDArray[np.object_]) -> None:
        super().__init__()
        self.user_model, self.item_model = (
            tf.keras.Sequential([
                tf.keras.layers.StringLookup(vocabulary=ids, mask_token=None),
                tf.keras.layers.Embedding(len(ids) + 1, DIMENSION),
            ]) for ids in (users, items))
        candidates = tf.data.Dataset.from_tensor_slices(items.astype(str)).batch(128).map(self.item_model)
        self.task = tfrs.tasks.Retrieval(metrics=tfrs.metrics.FactorizedTopK(candidates=candidates))

    def compute_loss(self, features: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """The tutorial's: in-batch softmax, with metrics."""
        return self.task(self.user_model(features["user"]), self.item_model(features["item"]))


def rows_of(data: SnapshotData) -> dict[str, npt.NDArray[np.int32]]:
    """The pairs that Vitrine has as targets: rows "user" [n] and "item" [n], by user, then time."""
    visits = Visits.of(data)
    user = np.repeat(visits.user, np.diff(visits.event_ptr[visits.user_ptr]))
    return {"user": user[visits.is_new], "item": visits.item[visits.is_new]}


def examples(data: SnapshotData) -> dict[str, npt.NDArray[np.object_]]:
    """The same pairs as strings."""
    ids = _ids(data)
    return {side: ids[side][rows] for side, rows in rows_of(data).items()}


def _ids(data: SnapshotData) -> dict[str, npt.NDArray[np.object_]]:
    return {side: pq.read_table(data.path / f"{table}.parquet", columns=[column]).column(0).to_numpy()
            for side, table, column in (("user", c.USERS, c.USER), ("item", c.ITEMS, c.ITEM))}


def tutorial(data: SnapshotData, steps: int, batch: int = BATCH) -> Side:
    """Time `steps` steps of the tutorial's `fit`, behind one that traces.

    Raises:
        ValueError: the log has too few examples for so many batches.
    """
    pairs, ids = examples(data), _ids(data)
    number = len(pairs["user"])
    if number // batch < steps + _WARMUP:
        raise ValueError(f"{number:,} examples are {number // batch} whole batches of {batch:,}: too few for {steps} "
                         f"steps and {_WARMUP} before them; give a smaller --batch or fewer --steps")
    tf.keras.utils.set_random_seed(1)
    whole = tf.data.Dataset.from_tensor_slices({name: ids.astype(str) for name, ids in pairs.items()})
    train = whole.shuffle(100_000).batch(batch, drop_remainder=True).cache().take(steps + _WARMUP)
    model = TutorialModel(ids["user"], ids["item"])
    model.compile(optimizer=tf.keras.optimizers.Adagrad(0.1))
    clock = _Clock()
    model.fit(train, epochs=1, verbose=0, callbacks=[clock])
    spent = np.diff(clock.ends)
    return Side("TFRS tutorial", batch, float(spent.min()),
                f"the fastest of {len(spent)} steps of {batch:,} examples, metrics in fit")


def tutorial_by_rows(data: SnapshotData, batch: int = 512) -> Side:
    """Time an epoch of the tutorial's two tables, trained as Vitrine trains tables, shuffling included.

    The rest of the ratio is what the loop costs: strings that are looked up, metrics in fit, and batches so large that
    each example has 8,192 logits.
    """
    pairs = rows_of(data)
    model = Tables(data.num_users, data.num_items, DIMENSION)
    model.compile(optimizer=tf.keras.optimizers.legacy.Adagrad(0.1))
    step, number = compiled_step(model), len(pairs["user"]) // batch
    step({name: tf.constant(rows[:batch]) for name, rows in pairs.items()})  # traces
    began = process_time()
    order = np.random.default_rng(1).permutation(len(pairs["user"]))[: number * batch]
    for part in order.reshape(number, batch):
        step({name: tf.constant(rows[part]) for name, rows in pairs.items()})
    return Side("its tables, by rows", number * batch, process_time() - began,
                f"an epoch of {number:,} steps of {batch} pairs, without metrics")


class _Clock(tf.keras.callbacks.Callback):  # type: ignore[misc]
    """When each step ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Note the moment."""
        self.ends.append(process_time())
