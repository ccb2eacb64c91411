"""Two tables of a million rows: gradients that touch few rows, by Adagrad on those rows or by Adam on all.

Adam keeps two moments for every row and lets all of them decay in every step, whichever rows the batch has; Adagrad
changes the rows of the batch and no other.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.side_by_side import Comparison, Side, fastest
from benchmarks.training_scale import BATCH_SLOTS, VISITS, generate
from models.demand import Demand
from models.legacy_keras import tf, tfrs
from models.member_training import build
from models.stream import Stream, VisitLog
from models.two_tower import TwoTower
from pipelines.snapshot import SnapshotData
from pipelines.train_settings import TrainSettings

ROWS, BATCH = 1_000_000, 512
_WARMUP = 2  # steps


class Tables(tfrs.Model):  # type: ignore[misc]
    """Nothing but two tables and the retrieval task: what a step costs beyond them is next to nothing."""

    def __init__(self, users: int, items: int, dimension: int) -> None:
        super().__init__()
        self.users, self.items = (tf.keras.layers.Embedding(rows, dimension) for rows in (users, items))
        self.task = tfrs.tasks.Retrieval()

    def compute_loss(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """In-batch softmax, without metrics."""
        return self.task(self.users(inputs["user"]), self.items(inputs["item"]), compute_metrics=False)


class DenseAdam(TwoTower):
    """The two towers with one optimiser for everything, as Keras takes it."""

    def train_step(self, inputs: dict[str, tf.Tensor]) -> dict[str, Any]:
        """Forward, backward, Adam."""
        with tf.GradientTape() as tape:
            loss = self.compute_loss(inputs, training=True)
        variables = self.trainable_variables
        self.optimizer.apply_gradients(
            (gradient, variable) for gradient, variable in
            zip(tape.gradient(loss, variables), variables, strict=True) if gradient is not None)
        return {"loss": loss}


def tables_alone(steps: int, dimension: int = 64, rows: int = ROWS, batch: int = BATCH) -> Comparison:
    """Two bare tables on generated pairs."""
    rng = np.random.default_rng(0)
    pairs = [{name: tf.constant((rows * rng.random(batch) ** 3).astype(np.int32)) for name in ("user", "item")}
             for _ in range(steps + _WARMUP)]
    sides = []
    for name, optimizer in (("Adagrad on sparse rows", tf.keras.optimizers.legacy.Adagrad(0.1)),
                            ("dense Adam", tf.keras.optimizers.Adam(1e-3))):
        model = Tables(rows, rows, dimension)
        model.compile(optimizer=optimizer)
        seconds = fastest(compiled_step(model), pairs, _WARMUP)
        sides.append(Side(name, batch, seconds, f"the fastest of {steps} steps of {batch} pairs"))
    return Comparison(f"Two tables of {rows:,} rows and nothing else", sides[0], sides[1], target=100)


def large_catalogue(data: SnapshotData, rows: int) -> SnapshotData:
    """A snapshot of `benchmarks.training_scale.generate` with `rows` items, each with two of `rows` feature tokens."""
    rng = np.random.default_rng(1)
    item = data.histories.item.astype(np.int64) * rows // data.num_items
    item = np.minimum(item + rng.integers(0, max(rows // data.num_items, 1), len(item)), rows - 1).astype(np.int32)
    return replace(
        data, histories=replace(data.histories, item=item), item_counts=np.bincount(item, minlength=rows),
        item_tokens_indptr=2 * np.arange(rows + 1), item_tokens=rng.integers(0, rows, 2 * rows).astype(np.int32),
        item_token_weights=np.full(2 * rows, 0.5, np.float32), item_dense=np.zeros((rows, 0), np.float32),
        spec={**data.spec, "item_token_count": rows})


def whole_training(
    folder: Path, settings: TrainSettings, steps: int, rows: int = ROWS, events: int = 400_000
) -> Comparison:
    """Vitrine's training of a catalogue of `rows` items and as many feature tokens, on generated events.

    Args:
        folder: empty; the log is written there.
        settings: of the towers.
        steps: that are timed.
        rows: of each of the two tables.
        events: of the log.
    """
    generate(folder, events)
    data = large_catalogue(SnapshotData.load(folder), rows)
    settings = settings.model_copy(update={"full_softmax_below": 0})
    demand, log = Demand.of(data), VisitLog.of(data, VISITS)
    sides = []
    for name, kind in (("Vitrine", TwoTower), ("the same, dense Adam", DenseAdam)):
        tf.keras.utils.set_random_seed(settings.seed)
        plain = build(data, demand, settings)
        model = kind(plain.items, plain.users, plain.sampling, plain.num_items)
        adam = tf.keras.optimizers.Adam(settings.learning_rate)
        model.compile(optimizer=plain.optimizer if kind is TwoTower else adam)
        model.sparse_optimizer = plain.sparse_optimizer
        chosen = list(_first(Stream(log, VISITS, 1, BATCH_SLOTS, 1, with_later=True), steps + _WARMUP))
        seconds = fastest(compiled_step(model), chosen, _WARMUP)
        positions = round(float(np.mean([len(batch["target_item"]) for batch in chosen])))
        sides.append(Side(name, positions, seconds, f"the fastest of {steps} steps of {positions:,} targets"))
    return Comparison(f"Whole training with two tables of {rows:,} rows", sides[0], sides[1], target=None)


def compiled_step(model: tfrs.Model) -> Callable[[Any], float]:
    """The model's training step, compiled; it returns the loss, and so not before its work is done."""
    step = tf.function(model.train_step, reduce_retracing=True)
    return lambda inputs: float(step(inputs)["loss"])


def _first(stream: Stream, number: int) -> Iterator[dict[str, tf.Tensor]]:
    """The first batches of the first epoch."""
    for batch, _ in zip(stream.epoch(1), range(number), strict=False):
        yield {name: tf.constant(array) for name, array in batch.items()}
