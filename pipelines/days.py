"""Time-ordered events, day by day."""

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa

from pipelines import columns as c
from pipelines.moments import EPOCH

_DAY = 86_400_000_000  # microseconds


def split_days(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[date, pa.Table]]:
    """Each day of UTC that has events, with all of them: one day is held in memory, however the batches were cut."""
    day, pending = -1, list[pa.Table]()

    def finished() -> tuple[date, pa.Table]:
        return (EPOCH + timedelta(days=day)).date(), pa.concat_tables(pending)

    for batch in batches:
        numbers = batch.column(c.TIME).cast(pa.int64()).to_numpy() // _DAY
        cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
        for start, stop in pairwise(cuts):
            if start == stop:
                continue
            if pending and numbers[start] != day:
                yield finished()
                pending.clear()
            day = int(numbers[start])
            pending.append(pa.Table.from_batches([batch.slice(start, stop - start)]))
    if pending:
        yield finished()
