"""Training of one model: epochs, validation after each, and the weights of the best one.

Killed anywhere, a training goes on from its last checkpoint: the order of the batches is a function of seed and
epoch, and everything else that a step changes is saved. Only dropout draws other numbers then.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.averages import Averages
from models.checkpoints import Checkpoints, Saved
from models.demand import Demand
from models.distribution import Workers, summed
from models.item_tower import ItemTower
from models.legacy_keras import tf
from models.members import Members
from models.ranking import rank
from models.stream import Stream, VisitLog
from models.two_tower import Sampling, TwoTower
from models.user_tower import UserTower
from pipelines.artifacts import stage_key
from pipelines.errors import VitrineError
from pipelines.progress import Progress, duration, log
from pipelines.snapshot import Queries, SnapshotData
from pipelines.train_settings import TrainSettings
from serving.calendar import first_token, table_rows

Watch = Callable[[int, Mapping[str, float]], None]  # number of an epoch and its entry of the curves


class Enough(Exception):
    """What a watch raises to end a training of one process: the best weights so far are its result."""


def is_full(data: SnapshotData, settings: TrainSettings) -> bool:
    """Whether the softmax runs over the whole catalogue."""
    return data.num_items <= settings.full_softmax_below


def build(data: SnapshotData, demand: Demand, settings: TrainSettings) -> TwoTower:
    """An untrained model for a snapshot."""
    items = ItemTower(data, demand, settings.dimension, settings.id_dropout)
    users = UserTower(settings.dimension, settings.blocks, settings.heads, settings.dropout,
                      data.spec["visits"], table_rows(data.spec),
                      "mixed_bfloat16" if settings.mixed_precision else "float32")
    sampling = Sampling(is_full(data, settings), settings.negatives)
    model = TwoTower(items, users, sampling, data.num_items, settings.calendar_dropout)
    model.compile(optimizer=tf.keras.optimizers.legacy.Adam(settings.learning_rate))
    model.sparse_optimizer = tf.keras.optimizers.legacy.Adagrad(settings.table_learning_rate)
    return model


@dataclass
class State:
    """How far a training is; with the variables, all that it needs to go on in another process."""

    epoch: int = 1  # the one in progress
    batches: int = 0  # of this epoch, that are done
    step: int = 0  # batches of all epochs
    loss: float = 0.0  # of this epoch, summed over targets
    targets: int = 0
    questions: int = 0
    seconds: float = 0.0  # of this epoch, training without validation
    epoch_seconds: list[float] = field(default_factory=list)
    curves: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best_recall: float = -1.0

    def is_over(self, settings: TrainSettings) -> bool:
        """Whether no further epoch is wanted."""
        done = len(self.curves)
        return done >= settings.max_epochs or (done > 0 and done - self.best_epoch >= settings.patience)


class MemberTraining:
    """One training: model, optimisers, averages and the best weights so far, with the state that belongs to them."""

    def __init__(
        self, data: SnapshotData, demand: Demand, settings: TrainSettings, visits: VisitLog, valid: Queries | None,
        workers: Workers, checkpoints: Path | None,
    ) -> None:
        self.data, self.settings, self.visits, self.workers = data, settings, visits, workers
        self.valid = None
        if valid is not None:  # each worker ranks its part of the questions
            borders = np.linspace(0, len(valid), workers.share.workers + 1).astype(int)
            self.valid = valid.part(*borders[workers.share.index : workers.share.index + 2].tolist())
        slots = int(np.clip(visits.total("slots") / settings.steps, 256, settings.batch_slots))
        self.stream = Stream(visits, data.spec["visits"], len(data.spec["event_types"]), slots, settings.seed,
                             workers.share, not is_full(data, settings), first_token(data.spec))
        self.keeper, saved = self._open(checkpoints)
        self.state = State(**workers.document(saved.state if saved else {}))
        # Workers and resumed trainings draw other dropout; initial weights are the chief's in any case.
        tf.keras.utils.set_random_seed(settings.seed + self.state.step + 1_000_003 * workers.share.index)
        first = next(self.stream.epoch(1))
        with workers.strategy.scope():
            self.model = build(data, demand, settings)
            self.model.compute_loss(first)  # creates what is created on first use
        self.measured = self.model
        if settings.mixed_precision:
            # What is validated and exported computes as the online process will.
            self.measured = build(data, demand, settings.model_copy(update={"mixed_precision": False}))
            self.measured.compute_loss(first)
        self.members = Members.of([self.measured], data, demand.last)
        self.averages = Averages(_averaged(self.model), settings.average_decay)
        with tf.device("CPU"):
            self.best = [tf.Variable(v, trainable=False) for v in self.model.variables]
        self.step = self._compiled(first)
        self._resume(saved)

    def _open(self, folder: Path | None) -> tuple[Checkpoints | None, Saved | None]:
        if folder is None or not self.workers.is_chief:
            return None, None
        h = self.data.histories
        identity = stage_key("train", self.settings, self.data.spec, self.data.num_items, len(h.item),
                             self.visits.total("events"), self.visits.window.newest)
        keeper = Checkpoints(folder, identity)
        return keeper, keeper.newest()

    def _tensors(self) -> dict[str, list[tf.Variable]]:
        """Every variable that a step or an epoch changes."""
        return {"model": self.model.variables, "dense": self.model.optimizer.variables(),
                "sparse": self.model.sparse_optimizer.variables(),
                "averages": [self.averages.steps, *self.averages.shadows], "best": self.best}

    def _resume(self, saved: Saved | None) -> None:
        is_read = saved is not None and Checkpoints.restore(saved, self._tensors())
        if not self.workers.document(is_read):
            self.state = State()
            return
        for group in self._tensors().values():
            self.workers.copy_from_chief(group)
        log.info("train: resumed at epoch %d, batch %d (step %d)%s", self.state.epoch, self.state.batches,
                 self.state.step, f" from {saved.path}" if saved else "")

    def _save(self) -> None:
        if self.keeper is not None:
            # The end of an epoch is a moment of its own, after its last step.
            self.keeper.save(self.state.step + len(self.state.curves), asdict(self.state), self._tensors())

    def run(self, watch: Watch) -> State:
        """All epochs that are left; the model then has the weights of the best one."""
        model, visits, state = self.model, self.visits, self.state
        log.info("train: %s sequences, %s questions, %s targets, %s items, %s", f"{visits.total('sequences'):,}",
                 f"{visits.total('visits'):,}", f"{visits.total('targets'):,}", f"{self.data.num_items:,}",
                 "full softmax" if model.sampling.is_full else f"{model.sampling.negatives} shared negatives")
        while not state.is_over(self.settings):
            self._epoch()
            self._validate()
            self._save()
            if self.workers.is_chief:
                watch(len(state.curves), state.curves[-1])
        if len(state.curves) < self.settings.max_epochs:
            log.info("train: stopped early, no better epoch since %d", state.best_epoch)
        return self.finish()

    def finish(self) -> State:
        """Give the model the weights of its best epoch."""
        for variable, best in zip(self.measured.variables, self.best, strict=True):
            variable.assign(best)
        return self.state

    def _epoch(self) -> None:
        """The batches of the epoch that are left."""
        state, workers = self.state, self.workers.share.workers
        progress = Progress(f"epoch {state.epoch} of {self.settings.max_epochs}",
                            self.visits.total("visits") // workers - state.questions, "questions")
        began = saved = time.monotonic()
        before = state.seconds
        for batch in self.stream.epoch(state.epoch, state.batches):
            loss, targets = (float(v) for v in self.step({k: tf.constant(v) for k, v in batch.items()}))
            if not np.isfinite(loss):
                raise VitrineError(f"the loss became {loss} in epoch {state.epoch}: lower learning_rate, "
                                   f"now {self.settings.learning_rate}")
            now = time.monotonic()
            state.batches, state.step, state.seconds = state.batches + 1, state.step + 1, before + now - began
            state.loss, state.targets = state.loss + loss * targets, state.targets + int(targets)
            state.questions += len(batch["query_slot"])
            progress.advance(len(batch["query_slot"]), f"loss {state.loss / max(state.targets, 1):.4f}")
            if now - saved >= self.settings.checkpoint_seconds:
                self._save()
                saved = time.monotonic()

    def _validate(self) -> None:
        """Rank the validation questions, close the epoch and keep its weights where it is the best.

        Without questions the newest weights are the best.
        """
        state, loss = self.state, self.state.loss / max(self.state.targets, 1)
        with self.averages.in_place():
            if self.measured is not self.model:
                for variable, trained in zip(self.measured.variables, self.model.variables, strict=True):
                    variable.assign(trained)
            recall = self._recall()
            is_best = recall is None or recall > state.best_recall
            if is_best:
                for best, variable in zip(self.best, self.model.variables, strict=True):
                    best.assign(variable)
        measured = {} if recall is None else {"valid_recall@10": recall}
        log.info("epoch %d: loss %.4f%s, trained in %s", state.epoch, loss,
                 "".join(f", valid recall@10 {v:.4f}{' (best so far)' if is_best else ''}" for v in measured.values()),
                 duration(state.seconds))
        if is_best:
            state.best_epoch, state.best_recall = state.epoch, recall or 0.0
        state.curves.append({"epoch": state.epoch, "loss": loss, **measured})
        state.epoch_seconds.append(state.seconds)
        state.epoch, state.batches, state.questions = state.epoch + 1, 0, 0
        state.loss, state.targets, state.seconds = 0.0, 0, 0.0

    def _recall(self) -> float | None:
        """Recall@10 on the validation questions of all workers; None without questions."""
        if self.valid is None:
            return None
        ranks = rank(self.members.current(), self.data, self.valid, k=10).rank
        hits, asked = self.workers.sum([(ranks > 0).sum(), len(ranks)])
        return float(hits / asked)

    def _compiled(self, batch: Mapping[str, npt.NDArray[Any]]) -> Any:
        """The training step, traced once for every shape that a batch can have: loss and number of targets."""
        fixed = ("types", "user", "query_calendar")  # their last axis is part of the model
        shapes = {k: [None] * (v.ndim - 1) + [v.shape[-1] if k in fixed else None] for k, v in batch.items()}
        signature = {k: tf.TensorSpec(shapes[k], v.dtype) for k, v in batch.items()}
        strategy = self.workers.strategy

        def own_part(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
            loss = self.model.train_step(inputs)["loss"]
            targets = tf.math.count_nonzero(inputs["target_weight"], dtype=tf.float32)
            return summed(tf.stack([loss, targets]))

        def step(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
            found = strategy.run(own_part, args=(inputs,))
            self.averages.update()
            return found

        # Traced here: the optimisers' variables exist then, and can be restored. None of it is written for AutoGraph.
        traced: Callable[[dict[str, tf.Tensor]], tf.Tensor]
        traced = tf.function(step, input_signature=[signature], autograph=False).get_concrete_function()
        return traced


def _averaged(model: TwoTower) -> list[Any]:
    """The weights that are averaged: all, but for the tables of which a step touches few rows."""
    tables = {table.ref() for table in model.tables}
    return [v for v in model.trainable_variables if v.ref() not in tables]
