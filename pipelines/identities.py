"""Who is who: ids that the online process has found to be a customer's, as of a moment.

A merge says since when an alias (an anonymous session, a store card, a CRM id) is known to be a customer. A window
takes those dated before its end, so that a history offline is the profile that answers online. Only what a question
could have known counts in an evaluation: before the merge, alias and customer were two people to whoever served them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipelines import columns as c
from pipelines.erasure.exclusion import Exclusion


@dataclass(frozen=True)
class Identities:
    """Merges that are in force.

    Attributes:
        customer: alias -> the customer whose it is, through merges of merges.
        since_us: alias -> from when on that was known, microseconds.
    """

    customer: Mapping[str, str]
    since_us: Mapping[str, int]

    @classmethod
    def of(cls, merges: Iterable[tuple[str, str, int]]) -> "Identities":
        """Identities of (alias, customer, microseconds).

        Of an alias's merges the latest counts. One that would close a circle says nothing, as the session store refuses
        it.
        """
        above: dict[str, tuple[str, int]] = {}

        def top(one: str) -> tuple[str, int]:
            since = 0
            while one in above:
                one, known = above[one]
                since = max(since, known)
            return one, since

        for alias, user, time_us in sorted(merges, key=lambda merge: merge[2]):
            if top(user)[0] != alias:
                above[alias] = (user, time_us)
        found = {alias: top(alias) for alias in above}
        return cls({alias: user for alias, (user, _) in found.items()},
                   {alias: since for alias, (_, since) in found.items()})

    @classmethod
    def read(cls, folder: Path, exclusion: Exclusion) -> "Identities":
        """Those of an ingested folder, without who was erased since; none where it has no merges."""
        path = folder / f"{c.MERGES}.parquet"
        if not path.exists():
            return NOBODY
        table = pd.read_parquet(path, columns=[c.ALIAS, c.USER, c.TIME])
        table = table[~exclusion.merges(table)]
        times = table[c.TIME].to_numpy("datetime64[us]").astype(np.int64).tolist()
        return cls.of(zip(table[c.ALIAS], table[c.USER], times, strict=True))

    def united(self, user: pd.Series) -> pd.Series:
        """Ids [rows] with the customer in the place of each alias."""
        return user.map(self.customer).fillna(user) if self.customer else user

    def known(self, user: pd.Series, time: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which events [events] could have been asked for with the history that stands before them.

        Not those at a moment when an id of that history, or the event's own, was not yet known to be the customer's:
        such a question would have known less, or its answer would have been somebody else's.

        Args:
            user: ids under which the events came, in time order.
            time: microseconds.
        """
        known = np.ones(len(user), bool)
        customer = self.united(user)
        # Everybody else is one id, and knows what it did.
        own = customer.isin(set(self.customer.values())).to_numpy()
        ids, people = user[own], customer[own]
        since = ids.map(self.since_us).fillna(0).astype(np.int64).groupby(people.to_numpy()).cummax().to_numpy()
        is_other = ids.ne(ids.groupby(people.to_numpy()).transform("first"))
        is_mixed = is_other.groupby(people.to_numpy()).cummax().to_numpy(bool)
        known[own] = ~is_mixed | (since <= time[own])
        return known


NOBODY = Identities({}, {})  # of whom two ids are known
