"""Histories of all users as CSR arrays, in linear time."""

import numpy as np
import numpy.typing as npt
from scipy import sparse

from pipelines.snapshot import TRAIN, Histories


def group_by_user(user: npt.NDArray[np.int32], num_users: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Counting sort of time-ordered events by user: one pass, the order within a user is kept.

    Args:
        user: [events] dense user rows, events in time order.
        num_users: rows there are.

    Returns:
        indptr int64 [users + 1] and order int64 [events], with `user[order]` ascending.
    """
    events = np.arange(len(user), dtype=np.int64)
    # Going from coordinates to CSR is a counting sort, and it is written in C.
    table = sparse.coo_array((events, (user, events)), shape=(num_users, max(len(user), 1))).tocsr()
    return table.indptr.astype(np.int64), table.data.astype(np.int64)


def first_meetings(user: npt.NDArray[np.int32], item: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Mask [events] of the first event of each user with each item; events are in time order."""
    pair = user.astype(np.int64) << 32 | item.astype(np.int64)
    _, first = np.unique(pair, return_index=True)
    mask = np.zeros(len(user), bool)
    mask[first] = True
    return mask


def train_counts(histories: Histories, num_items: int) -> npt.NDArray[np.int64]:
    """Positive train events of each item [items]: the popularity."""
    counted = (histories.split == TRAIN) & (histories.weight > 0)
    return np.bincount(histories.item[counted], minlength=num_items).astype(np.int64)
