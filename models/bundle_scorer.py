"""A released bundle on today's events: the champion, asked the very questions of its challenger.

The bundle has rows, event types and vocabularies of its own. Items are matched by id: what it does not
know it cannot show, and a purchase of it is no sign of taste to it, as online.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from models.ranking import Floats
from pipelines import columns as c
from pipelines.artifacts import read_json
from pipelines.errors import CorruptArtifact, SettingsError
from pipelines.progress import log
from pipelines.snapshot import Queries, SnapshotData
from pipelines.vocabulary import token_slots
from serving.bundle import Bundle
from serving.encoding import History, Ints, encode
from serving.tokens import read_fields
from serving.user_tower import UserTower

UNKNOWN = -1


@dataclass(frozen=True)
class BundleScorer:
    """A bundle with its mapping to one snapshot."""

    bundle: Bundle
    tower: UserTower
    rows: npt.NDArray[np.int32]  # [snapshot's items] row in the bundle, -1 where it has none
    types: npt.NDArray[np.int16]  # [snapshot's event types] type in the bundle, -1 where it has none
    user_tokens: Ints  # [snapshot's users, K] in the bundle's vocabulary
    name: str = "champion"

    @classmethod
    def of(cls, bundle: Bundle, data: SnapshotData, users: pd.DataFrame | None) -> "BundleScorer":
        """Match a bundle with a snapshot.

        Args:
            bundle: what was released.
            data: the snapshot to score.
            users: the shop's users with their columns, as the snapshot was made from; None where it has none.

        Raises:
            SettingsError: bundle and snapshot have no item in common.
            CorruptArtifact: the bundle's parts do not fit one another.
        """
        ids = pq.read_table(data.path / "items.parquet", columns=[c.ITEM]).column(0).to_pylist()
        rows = np.array([bundle.rows.get(str(i), UNKNOWN) for i in ids], np.int32)
        known = int((rows != UNKNOWN).sum())
        if not known:
            raise SettingsError(
                f"the live bundle {bundle.digest[:12]} knows none of the snapshot's {len(ids):,} items "
                f"(it has {bundle.num_items:,}, such as {bundle.item_ids[0]!r}; the snapshot has {ids[0]!r}): the "
                "serving store belongs to another shop; set VITRINE_STORE to a store of this shop's own"
            )
        log.info("champion: bundle %s knows %s of %s items", bundle.digest[:12], f"{known:,}", f"{len(ids):,}")
        own_types = bundle.spec["event_types"]
        types = np.array([own_types.index(t) if t in own_types else UNKNOWN for t in data.spec["event_types"]],
                         np.int16)
        tokens = user_tokens(bundle, data, users)
        return cls(bundle, UserTower(bundle.path / "user_tower.tflite"), rows, types, tokens)

    def scores(self, data: SnapshotData, queries: Queries) -> Floats:
        """Scores [queries, items] in the snapshot's rows; -inf for items that the bundle cannot show."""
        histories = [self._history(data, slice(s, e)) for s, e in zip(queries.start, queries.end, strict=True)]
        inputs = encode(histories, queries.time, self.user_tokens[queries.user], self.bundle.item_inputs,
                        self.bundle.limits)
        own = self.tower.vectors(inputs) @ self.bundle.item_vectors.T
        own[:, self.bundle.tombstones] = -np.inf
        return np.where(self.rows == UNKNOWN, np.float32(-np.inf), own[:, self.rows])

    def _history(self, data: SnapshotData, events: slice) -> History:
        h = data.histories
        item, event_type = self.rows[h.item[events]], self.types[h.type[events]]
        kept = (item != UNKNOWN) & (event_type != UNKNOWN)
        return History(item[kept], h.time[events][kept], event_type[kept], h.weight[events][kept])


def user_tokens(bundle: Bundle, data: SnapshotData, users: pd.DataFrame | None) -> Ints:
    """Tokens [users, K] of the snapshot's users in the bundle's vocabulary; 0 where a column or a user is missing."""
    slots = bundle.limits.user_slots
    names = [f["name"] for f in bundle.spec["user_fields"]]
    if not names:
        return np.zeros((data.num_users, slots), np.int32)
    fields = read_fields(_vocabulary(bundle).get("users", []))
    if [f.name for f in fields] != names or len(fields) != slots:
        raise CorruptArtifact(f"{bundle.path}: spec.json has the user fields {names} in {slots} slots, vocabulary.json "
                              f"has {[f.name for f in fields]}; roll back to a release whose bundle is whole")
    table = pq.read_table(data.path / "users.parquet", columns=[c.USER]).to_pandas()
    if users is not None:
        table = table.merge(users, on=c.USER, how="left")
    missing = [name for name in names if name not in table.columns]
    if missing:
        log.warning("champion: the shop's users no longer have %s, which the live release was trained with",
                    ", ".join(missing))
    return token_slots(table.assign(**dict.fromkeys(missing)), fields)


def _vocabulary(bundle: Bundle) -> dict[str, Any]:
    path = bundle.path / "vocabulary.json"
    found: dict[str, Any] = read_json(path) if path.exists() else {}
    return found
