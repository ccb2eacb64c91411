"""Training of the two towers: epochs, validation after each, and the weights of the best one."""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from models.averages import Averages
from models.batches import Visits, cut, epoch
from models.item_tower import ItemTower
from models.legacy_keras import tf
from models.newcomers import newcomer_offset
from models.ranking import rank, sample
from models.requests import request_inputs
from models.served_tower import ServedTower
from models.two_tower import Sampling, TwoTower
from models.user_tower import UserTower
from pipelines.errors import DataError, VitrineError
from pipelines.progress import Progress, duration, log
from pipelines.snapshot import VALID, Queries, SnapshotData
from pipelines.train_settings import TrainSettings

Floats = npt.NDArray[np.float32]


@dataclass
class Fitted:
    """A trained model with the weights of its best epoch."""

    model: TwoTower
    curves: list[dict[str, float]] = field(default_factory=list)  # one entry an epoch
    seconds: list[float] = field(default_factory=list)  # one entry an epoch, training without validation
    best_epoch: int = 0
    best_recall: float = -1.0

    def item_matrices(self) -> tuple[Floats, Floats]:
        """Score vectors [items, D + 1], whose last column is the prior, and input vectors [items, D]."""
        vectors, prior = self.model.items(None)
        return np.concatenate([vectors, prior[:, None]], axis=1).astype(np.float32), vectors.numpy()


class _Current:
    """The model as it stands, for ranking."""

    name = "two_tower"

    def __init__(self, fitted: Fitted, tower: ServedTower) -> None:
        self.vectors, self.inputs = fitted.item_matrices()
        self.tower = tower

    def scores(self, data: SnapshotData, queries: Queries) -> Floats:
        inputs = request_inputs(data, queries, self.inputs)
        users: Floats = self.tower.function(**{k: tf.constant(v) for k, v in inputs.items()})["vector"].numpy()
        return users @ self.vectors.T


def build(data: SnapshotData, settings: TrainSettings) -> TwoTower:
    """An untrained model for a snapshot."""
    items = ItemTower(data, settings.dimension, settings.id_dropout)
    users = UserTower(settings.dimension, settings.blocks, settings.heads, settings.dropout,
                      data.spec["visits"], data.spec["user_token_count"])
    sampling = Sampling(data.num_items <= settings.full_softmax_below, settings.negatives)
    model = TwoTower(items, users, sampling, data.num_items)
    model.compile(optimizer=tf.keras.optimizers.legacy.Adam(settings.learning_rate))
    model.sparse_optimizer = tf.keras.optimizers.legacy.Adagrad(settings.table_learning_rate)
    return model


def fit(data: SnapshotData, settings: TrainSettings) -> Fitted:
    """Train until the validation recall@10 has not risen for `settings.patience` epochs.

    Raises:
        DataError: there is nothing to learn from or to validate on.
        VitrineError: the loss is no longer finite.
    """
    tf.keras.utils.set_random_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    visits = Visits.of(data, settings.half_life)
    sequences = cut(visits, data.spec["visits"])
    valid = sample(data.queries(VALID), settings.valid_targets, settings.seed)
    if not visits.is_new.any() or not len(valid):
        raise DataError(f"{int(visits.is_new.sum())} training targets and {len(valid)} validation questions: "
                        "both are needed; give a longer window")
    fitted = Fitted(build(data, settings))
    slots = int(np.clip(sum(s.last - s.first + 1 for s in sequences) / settings.steps, 256, settings.batch_slots))
    tower = ServedTower(fitted.model.users, data.spec)
    first = next(epoch(visits, sequences, data.user_tokens, len(data.spec["event_types"]), slots, rng))
    fitted.model.compute_loss(first)  # creates what is created on first use
    averages = Averages(_averaged(fitted.model), settings.average_decay)
    step = _compiled(fitted.model, averages, first)
    best: list[Any] = []
    log.info("train: %s sequences, %s questions, %s targets, %s items, %s", f"{len(sequences):,}",
             f"{len(visits.time):,}", f"{int(visits.is_new.sum()):,}", f"{data.num_items:,}",
             "full softmax" if fitted.model.sampling.is_full else f"{settings.negatives} shared negatives")
    for number in range(1, settings.max_epochs + 1):
        started = time.monotonic()
        progress = Progress(f"epoch {number} of {settings.max_epochs}", len(visits.time), "questions")
        total, asked = 0.0, 0
        for batch in epoch(visits, sequences, data.user_tokens, len(data.spec["event_types"]), slots, rng):
            loss = float(step({k: tf.constant(v) for k, v in batch.items()}))
            if not np.isfinite(loss):
                raise VitrineError(f"the loss became {loss} in epoch {number}: lower learning_rate, "
                                   f"now {settings.learning_rate}")
            total, asked = total + loss * len(batch["target_item"]), asked + len(batch["target_item"])
            progress.advance(len(batch["query_slot"]), f"loss {total / max(asked, 1):.4f}")
        fitted.seconds.append(time.monotonic() - started)
        with averages.in_place():
            recall = float((rank(_Current(fitted, tower), data, valid, k=10).rank > 0).mean())
            if recall > fitted.best_recall:
                best = fitted.model.get_weights()
        fitted.curves.append({"epoch": number, "loss": total / max(asked, 1), "valid_recall@10": recall})
        log.info("epoch %d: loss %.4f, valid recall@10 %.4f%s, trained in %s", number, total / max(asked, 1), recall,
                 " (best so far)" if recall > fitted.best_recall else "", duration(fitted.seconds[-1]))
        if recall > fitted.best_recall:
            fitted.best_epoch, fitted.best_recall = number, recall
        elif number - fitted.best_epoch >= settings.patience:
            log.info("train: stopped early, no better epoch since %d", fitted.best_epoch)
            break
    fitted.model.set_weights(best)
    fitted.model.items.newcomer.assign(newcomer_offset(
        _Current(fitted, tower), data, valid, data.item_counts == 0, settings.newcomer_budget))
    return fitted


def _averaged(model: TwoTower) -> list[Any]:
    """The weights that are averaged: all, but for the tables of a large catalogue, where a step moves few rows."""
    large = set() if model.sampling.is_full else {model.num_items}
    return [v for v in model.trainable_variables if v.shape.rank == 0 or v.shape[0] not in large]


def _compiled(model: TwoTower, averages: Averages, batch: dict[str, npt.NDArray[Any]]) -> Any:
    """The training step, traced once for every shape that a batch can have."""
    fixed = ("types", "user")  # their last axis is part of the model
    shapes = {k: [None] * (v.ndim - 1) + [v.shape[-1] if k in fixed else None] for k, v in batch.items()}
    signature = {k: tf.TensorSpec(shapes[k], v.dtype) for k, v in batch.items()}

    def step(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        loss = model.train_step(inputs)["loss"]
        averages.update()
        return loss

    return tf.function(step, input_signature=[signature])
