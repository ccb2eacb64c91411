"""Training of a release: its members one after the other, what valid decides, and the members anew on all events."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models.demand import Demand
from models.distribution import Workers
from models.member_training import Enough, MemberTraining, Watch
from models.members import Members
from models.newcomer_share import NewcomerShare
from models.newcomers import newcomer_offset
from models.ranking import rank, sample
from models.release_data import with_valid
from models.stream import VisitLog
from models.two_tower import TwoTower
from pipelines.errors import DataError
from pipelines.progress import log
from pipelines.settings import Cluster
from pipelines.snapshot import VALID, Queries, SnapshotData
from pipelines.train_settings import TrainSettings


@dataclass(frozen=True)
class Fitted:
    """Trained members with the weights of their best epochs."""

    members: Members
    curves: list[dict[str, float]]  # one entry an epoch, of one member after the other
    seconds: list[float]  # one entry an epoch, training without validation
    best_epoch: int  # of the best member, in the numbering of the curves
    best_recall: float  # of the members together
    epochs: list[int]  # of each member's best weights, from 1
    demand: Demand
    newcomer_offset: float


def fit(
    data: SnapshotData, settings: TrainSettings, watch: Watch | None = None, checkpoints: Path | None = None,
    cluster: Cluster | None = None,
) -> Fitted:
    """Train each member until its validation recall@10 has not risen for `settings.patience` epochs.

    With `settings.refit`, what is returned is then trained anew, on train and valid.

    Args:
        data: the snapshot.
        settings: all that decides the result, apart from the data.
        watch: called by the chief after each epoch that is trained in this call; what it raises ends the training,
            `Enough` with a result: of the members that were begun, each by its best epoch.
        checkpoints: folder to resume from and to write to; only the chief's counts. None for no checkpoints.
        cluster: the workers that train together, all with the same data and settings; None for this process alone.

    Raises:
        DataError: there is nothing to learn from or to validate on.
        VitrineError: the loss is no longer finite.
        WorkerLost: another worker is gone. Start all again, in new processes.
    """
    visits = VisitLog.of(data, data.spec["visits"], settings.memory_mb)
    valid = sample(data.queries(VALID), settings.valid_targets, settings.seed)
    if not visits.total("targets") or not len(valid):
        raise DataError(f"{visits.total('targets')} training targets and {len(valid)} validation questions: "
                        "both are needed; give a longer window")
    workers = Workers.join(cluster)
    with workers.together():
        chosen = _choose(data, settings, visits, valid, workers, watch, checkpoints)
        return _refit(data, settings, chosen, valid, workers, checkpoints) if settings.refit else chosen


def _choose(
    data: SnapshotData, settings: TrainSettings, visits: VisitLog, valid: Queries, workers: Workers,
    watch: Watch | None, checkpoints: Path | None,
) -> Fitted:
    """Members trained on train, each with the weights of the epoch that is best on valid."""
    demand = Demand.of(data)
    models: list[TwoTower] = []
    curves: list[dict[str, float]] = []
    seconds: list[float] = []
    epochs: list[int] = []
    for number in range(settings.members):
        own = settings.model_copy(update={"seed": settings.seed + number})
        log.info("train: member %d of %d", number + 1, settings.members)
        member = MemberTraining(data, demand, own, visits, valid, workers,
                                checkpoints / f"member-{number}" if checkpoints else None)
        before = len(curves)

        def told(epoch: int, entry: Mapping[str, float], before: int = before, number: int = number) -> None:
            if watch is not None:
                watch(before + epoch, {**entry, "epoch": before + epoch, "member": number + 1})

        is_over = number + 1 == settings.members
        try:
            state = member.run(told)
        except Enough:
            state, is_over = member.finish(), True
        curves += [{**entry, "epoch": before + entry["epoch"], "member": number + 1} for entry in state.curves]
        seconds += state.epoch_seconds
        epochs.append(state.best_epoch)
        models.append(member.measured)
        if is_over:
            break
    together = Members.of(models, data, demand.last)
    is_new = np.asarray(data.item_counts) == 0
    offset = newcomer_offset(together.current(), data, valid, is_new, settings.newcomer_budget)
    together = together.raised(is_new, offset)
    recall = float((rank(together.current(), data, valid, k=10).rank > 0).mean())
    log.info("train: %d members together have valid recall@10 %.4f", len(models), recall)
    best = max(curves, key=lambda entry: entry["valid_recall@10"])
    return Fitted(together, curves, seconds, int(best["epoch"]), recall, epochs, demand, offset)


def _refit(
    data: SnapshotData, settings: TrainSettings, chosen: Fitted, valid: Queries, workers: Workers,
    checkpoints: Path | None,
) -> Fitted:
    """Members trained anew on train and valid, each for as many epochs as were best on valid.

    What valid decided stands: epochs, demand and the share of new items. Only test is left to measure it by.
    """
    was_new = np.asarray(data.item_counts) == 0
    data = with_valid(data)
    visits = VisitLog.of(data, data.spec["visits"], settings.memory_mb)
    demand = Demand.at(data, chosen.demand.half_life, chosen.demand.smoothing)
    models: list[TwoTower] = []
    for number, epochs in enumerate(chosen.epochs):
        own = settings.model_copy(update={"seed": settings.seed + number, "max_epochs": epochs})
        log.info("train: member %d of %d on train and valid, %d epochs", number + 1, settings.members, epochs)
        member = MemberTraining(data, demand, own, visits, None, workers,
                                checkpoints / f"release-{number}" if checkpoints else None)
        member.run(lambda _, __: None)
        models.append(member.measured)
    together = Members.of(models, data, demand.last)
    is_new, offset = np.asarray(data.item_counts) == 0, chosen.newcomer_offset
    if is_new.any():
        share = NewcomerShare.of(chosen.members.current(), data, valid, was_new).at(0)
        offset = NewcomerShare.of(together.current(), data, valid, is_new).offset(share)
        log.info("newcomers: %s items without an event of train and valid stand %.2f higher in log odds, so that each "
                 "has %.3g times an even share of the demand, as new items had on train", f"{is_new.sum():,}", offset,
                 share)
    return replace(chosen, members=together.raised(is_new, offset), demand=demand, newcomer_offset=offset)
