"""What every baseline reads: who bought what, and what stands in a query's context.

Both are binary in the events' number (a second purchase of a product says little about a third) and
know positives only: events of weight 0, returns, are no sign of taste.
"""

import numpy as np
import numpy.typing as npt
from scipy import sparse

from models.ranking import Ints, contexts
from pipelines.snapshot import TRAIN, Queries, SnapshotData


def purchases(data: SnapshotData) -> sparse.csr_array:
    """Float32 [users, items]: 1 where the user has a positive train event with the item."""
    h = data.histories
    kept = (h.split == TRAIN) & (h.weight > 0)
    user = np.repeat(np.arange(data.num_users), np.diff(h.indptr))[kept]
    table = sparse.csr_array((np.ones(len(user), np.float32), (user, h.item[kept])),
                             shape=(data.num_users, data.num_items))
    table.sum_duplicates()
    table.data[:] = 1
    return table


def buyers(data: SnapshotData, half_life: float = np.inf) -> npt.NDArray[np.float32]:
    """Number of users [items] with a positive train event: one who buys a hundred times counts once.

    A user counts half for each `half_life`, a part of the train window, between their last event with the item and
    the window's end.
    """
    if not np.isfinite(half_life):
        return np.asarray(purchases(data).sum(axis=0), np.float32)
    h = data.histories
    kept = (h.split == TRAIN) & (h.weight > 0)
    pair = np.repeat(np.arange(data.num_users), np.diff(h.indptr))[kept] * data.num_items + h.item[kept]
    pair, owner = np.unique(pair, return_inverse=True)
    last = np.full(len(pair), np.iinfo(np.int64).min)
    np.maximum.at(last, owner, h.time[kept])
    end, span = last.max(initial=0), max(np.ptp(h.time[kept]) if len(pair) else 0, 1)
    return np.bincount(pair % data.num_items, np.exp2((last - end) / (half_life * span)),
                       data.num_items).astype(np.float32)


def positives(data: SnapshotData, queries: Queries) -> tuple[Ints, Ints]:
    """The positive events of the contexts, in time order: query [n] and item row [n] of each."""
    owner, event = contexts(queries)
    kept = data.histories.weight[event] > 0
    return owner[kept], data.histories.item[event[kept]].astype(np.int64)
