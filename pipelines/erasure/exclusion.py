"""Who a stage leaves out of what it reads: the erasures as of its beginning, which are part of its key."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import columns as c
from pipelines.errors import ErasedMeanwhile
from pipelines.snapshot import SnapshotData
from serving.erased import NOBODY, Erased, ErasureLog

UNTIL = "erased_until"
ERASED_USERS = pa.schema([(c.USER, pa.string()), (UNTIL, pa.timestamp("us", "UTC"))])


class Exclusion:
    """The erasures that a stage knows of.

    Attributes:
        erased: who was erased when the stage began.
    """

    def __init__(self, log: ErasureLog | None = None) -> None:
        """Read the log; without one nobody is left out, as of a data set that belongs to no shop."""
        self._log = log
        self.erased: Erased = NOBODY if log is None else log.read()

    @property
    def digest(self) -> str:
        """For the stage's key: what was sealed before an erasure is not found again after it."""
        return self.erased.digest

    def require_unchanged(self) -> None:
        """For the end of the stage, just before its result can be seen.

        Raises:
            ErasedMeanwhile: somebody was erased since it began.
        """
        if self._log is not None and self._log.newer(self.erased) is not self.erased:
            raise ErasedMeanwhile("somebody was erased while this stage read the data: nothing was sealed; run it "
                                  "again, and it leaves them out")

    def among(self, user_ids: Iterable[pa.Array | pa.ChunkedArray]) -> pa.Table:
        """ERASED_USERS: those of some batches of distinct ids that were erased, and until when."""
        found = {user: until for batch in (user_ids if self.erased.number else ())
                 for user, until in self.erased.among(batch.to_pylist()).items()}
        times = pa.array(list(found.values()), pa.int64()).cast(ERASED_USERS.field(UNTIL).type)
        return pa.table([pa.array(list(found), pa.string()), times], schema=ERASED_USERS)

    def events(self, events: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """Which of some events [events] are of erased people, up to their erasure."""
        return self._before(events, c.USER)

    def merges(self, merges: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """Which of some merges [merges] were made of an id, or into one, that was erased since."""
        return self._before(merges, c.ALIAS) | self._before(merges, c.USER)

    def _before(self, rows: pd.DataFrame, column: str) -> npt.NDArray[np.bool_]:
        """Which rows [rows] are dated up to the erasure of whom `column` names."""
        until = self.erased.among(rows[column].unique())
        if not until:
            return np.zeros(len(rows), bool)
        limits = rows[column].map(until).fillna(-1).to_numpy(np.int64)
        return np.asarray(rows[c.TIME].to_numpy("datetime64[us]").astype(np.int64) <= limits)

    def users(self, data: SnapshotData) -> npt.NDArray[np.bool_]:
        """Which users of a snapshot [users] have events there that were erased since it was made."""
        gone = np.zeros(data.num_users, bool)
        if not self.erased.number:
            return gone
        ids = pq.read_table(data.path / f"{c.USERS}.parquet", columns=[c.USER]).column(0).to_pylist()
        start, times = data.histories.indptr[:-1], data.histories.time
        until = self.erased.among(ids)
        for row in (row for row, user in enumerate(ids) if user in until):
            # Who has only later events is somebody new; who has none is in the snapshot by the user table alone.
            has_events = start[row] < data.histories.indptr[row + 1]
            gone[row] = not has_events or times[start[row]] <= until[ids[row]]
        return gone


EVERYBODY = Exclusion()  # leaves nobody out
