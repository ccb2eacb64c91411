"""What speaks for an item: events of the shopper and features of the item that lie near to it.

All of it is likeness of vectors. A sequence model does not add up what it was shown, so that no list of parts would
be the whole of a score; what can be said truly is which visits were alike, and what a label is worth to this shopper.
"""

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from serving.answers import Reason
from serving.encoding import Floats, History
from serving.retriever import Rows

if TYPE_CHECKING:
    from serving.view import ReleaseView

MOST, MOST_EVENTS = 4, 50
_LEAST_COSINE = 0.2  # below it two items are strangers
_REMEMBERED = 2_000  # label vectors, one of D numbers each
_SAMPLE = 2_000  # items that stand for a label which more have


class Reasons:
    """Reasons by one release."""

    def __init__(self, view: "ReleaseView") -> None:
        self.view = view
        self.average: Floats = view.bundle.item_vectors.mean(axis=0)
        self._labels: OrderedDict[tuple[str, int], Floats] = OrderedDict()
        self._lock = Lock()

    def of(self, vector: Floats, history: History, rows: Rows) -> list[tuple[Reason, ...]]:
        """Reasons for each of `rows` [n], strongest first: at most two events, and features up to `MOST` in all.

        Args:
            vector: [D] of the shopper.
            history: of the shopper.
            rows: items of the answer.
        """
        events = self._events(history, rows)
        return [(*mine, *self._features(vector, int(row))[: MOST - len(mine)])
                for row, mine in zip(rows, events, strict=True)]

    def _events(self, history: History, rows: Rows) -> list[tuple[Reason, ...]]:
        positive = np.flatnonzero(history.weight > 0)
        # The newest event of each item.
        newest = {int(history.item[place]): int(history.type[place]) for place in positive[-MOST_EVENTS:]}
        if not newest:
            return [() for _ in rows]
        plain, norms = self.view.bundle.item_vectors[:, :-1], self.view.recommender.norms
        met = np.array(list(newest), np.int64)
        cosines = (plain[rows] @ plain[met].T) / (norms[rows][:, None] * norms[met][None, :])
        answer = []
        for row, of_row in zip(rows, cosines, strict=True):
            order = [place for place in np.argsort(-of_row, kind="stable")[:3]
                     if of_row[place] >= _LEAST_COSINE and met[place] != row][:2]
            answer.append(tuple(
                Reason(kind="event", item_id=self.view.bundle.item_ids[int(met[place])],
                       event_type=self.view.event_types[newest[int(met[place])]], strength=float(of_row[place]))
                for place in order))
        return answer

    def _features(self, vector: Floats, row: int) -> list[Reason]:
        """Labels of the item that the shopper's vector prefers to the average item."""
        found = []
        for column in self.view.catalogue.label_columns:
            labels = self.view.catalogue.labels(column)
            for code in labels.of(row):
                worth = float((self._label(column, code) - self.average) @ vector)
                if worth > 0:
                    found.append(Reason(kind="feature", column=column, label=labels.values[code], strength=worth))
        return sorted(found, key=lambda reason: -reason.strength)

    def _label(self, column: str, code: int) -> Floats:
        """Mean vector [D] of the items of a label, or of so many spread evenly over them."""
        with self._lock:
            if (known := self._labels.get((column, code))) is not None:
                self._labels.move_to_end((column, code))
                return known
        labels = self.view.catalogue.labels(column)
        rows = labels.row[labels.code == code]
        mean: Floats = self.view.bundle.item_vectors[rows[:: max(1, len(rows) // _SAMPLE)]].mean(axis=0)
        with self._lock:
            self._labels[column, code] = mean
            while len(self._labels) > _REMEMBERED:
                self._labels.popitem(last=False)
        return mean
