"""Batches the plain way: a loop over users and events, to compare the arrays of models/batches.py with."""

from pipelines.snapshot import TRAIN, SnapshotData

Run = tuple[int, int, int, int]


def plain_cut(user_ptr: list[int], slots: int) -> list[Run]:
    """(user, first, target, last) of every sequence."""
    found = []
    for user in range(len(user_ptr) - 1):
        begin, end = user_ptr[user], user_ptr[user + 1]
        target = begin
        while target < end:
            last = min(end, target + (slots + 1 if target == begin else slots // 2))
            first = max(begin, last - slots)
            found.append((user, begin if first == begin + 1 else first, target, last))
            target = last
    return found


def plain_batches(runs: list[Run], noisy_order: list[int], slots_a_batch: int) -> list[list[int]]:
    """Sequences in order fill batches, greedily, until one more would need more slots than there are."""
    batches: list[list[int]] = []
    longest = 0
    for row in noisy_order:
        size = runs[row][3] - runs[row][1] + 1
        if batches and max(longest, size) * (len(batches[-1]) + 1) <= slots_a_batch:
            batches[-1].append(row)
            longest = max(longest, size)
        else:
            batches.append([row])
            longest = size
    return batches


def plain_questions(data: SnapshotData) -> list[tuple[int, int, tuple[int, ...]]]:
    """(user, item, items met before) of every target in the training events."""
    h, found = data.histories, []
    for user in range(data.num_users):
        events = [e for e in range(h.indptr[user], h.indptr[user + 1]) if h.split[e] == TRAIN and h.weight[e] > 0]
        for event in events:
            before = [int(h.item[e]) for e in events if h.time[e] < h.time[event]]
            same = [int(h.item[e]) for e in events if h.time[e] == h.time[event] and e < event]
            if h.item[event] not in before and h.item[event] not in same:
                found.append((user, int(h.item[event]), tuple(sorted(set(before)))))
    return found
