"""What a release learns from: once valid has chosen, it is history like any other."""

from dataclasses import replace

import numpy as np

from pipelines.histories import train_counts
from pipelines.snapshot import TRAIN, VALID, SnapshotData


def with_valid(data: SnapshotData) -> SnapshotData:
    """The snapshot with the valid events as part of train; vocabularies and test stay what they are.

    A byte an event is held in memory for it.
    """
    split = np.array(data.histories.split)
    split[split == VALID] = TRAIN
    histories = replace(data.histories, split=split)
    return replace(data, histories=histories, item_counts=train_counts(histories, data.num_items))
