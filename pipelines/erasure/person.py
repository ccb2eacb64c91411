"""Whose data is looked for: a person's ids, and what was erased together with them under ids that nobody recalls."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from serving.erased import Erased


class Person:
    """All ids of one person.

    Attributes:
        ids: that are known: the one that was asked for, and those merged with it.
    """

    def __init__(self, ids: Iterable[str], erased: Erased) -> None:
        """A merge that was erased before leaves its ids as digests in the same record: they are looked for too."""
        self.ids = tuple(dict.fromkeys(ids))
        known = {erased.digest_of_user(one) for one in self.ids} if erased.number else set()
        self._others = erased.of_one_person(self.ids) - known if erased.number else frozenset()
        self._erased, self._met = erased, dict.fromkeys(self.ids, True)

    def __contains__(self, user_id: str) -> bool:
        if user_id not in self._met:
            self._met[user_id] = bool(self._others) and self._erased.digest_of_user(user_id) in self._others
        return self._met[user_id]

    def rows(self, users: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        """Which of these ids [rows] are the person's."""
        users = users.cast(pa.string())
        ids = [one for one in pc.unique(users).to_pylist() if one in self] if self._others else self.ids
        return np.asarray(pc.fill_null(pc.is_in(users, pa.array(ids, pa.string())), False))
