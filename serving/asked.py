"""One question while it is answered: its release, what can be bought, and the slate that comes of it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipelines.errors import DataError
from serving import answers
from serving.catalogue import Bools
from serving.encoding import History
from serving.filters import Filters, allowed, rows_of, unheard_of
from serving.finder import Found
from serving.retriever import NONE, Rows, distinct
from serving.view import ReleaseView

_NO_ITEMS = '"items":[]'  # a quotation mark within a text has a backslash: this is the field


class UnknownItem(DataError):
    """The release does not know the item that was asked about."""


class Written(NamedTuple):
    """An answer as the bytes of its JSON.

    Attributes:
        slate: the answer without its items.
        body: with them.
        spare: how many of them are best-sellers, in places that the model could not fill.
    """

    slate: answers.Slate
    body: bytes
    spare: int


@dataclass(frozen=True)
class Asked:
    """What one question works with; all of it is of one release.

    Attributes:
        view: the release.
        gone: rows that cannot be bought now.
        notices: what the caller should know; grows while the question is answered.
        started: reading of `time.perf_counter` when it came.
        now_us: moment of asking, microseconds since 1970.
        is_now: whether that is the clock's own.
    """

    view: ReleaseView
    gone: Rows
    notices: list[str]
    started: float
    now_us: int
    is_now: bool

    def never(self, filters: Filters) -> Rows:
        """Rows that must not be shown, whatever the conditions let through."""
        bundle = self.view.bundle
        gone = NONE if filters.sold_out else self.gone
        return distinct(bundle.tombstones, gone, rows_of(filters.exclude, bundle))

    def allowed(self, filters: Filters) -> Bools | None:
        """Mask [items] of what the filters let through, see `serving.filters.allowed`; notices tell unknown labels.

        Raises:
            DataError: a column is not in this release, or not of the kind asked for.
        """
        mask = allowed(filters, self.view.catalogue)
        if mask is not None:
            self.notices.extend(unheard_of(filters, self.view.catalogue))
        return mask

    def row(self, item_id: str) -> int:
        """Row of an item.

        Raises:
            UnknownItem: the release does not know it.
        """
        row = self.view.row(item_id)
        if row is None:
            raise UnknownItem(f"item_id: release {self.view.number} does not know the item {item_id!r}")
        return row

    def best_sellers(self, places: int, mask: Bools | None, taken: Rows) -> Rows:
        """Rows [<= places] of the best-selling items that are let through, without those `taken`."""
        if places <= 0:
            return NONE
        ranked = self.view.bundle.popularity
        free = np.ones(self.view.bundle.num_items, bool) if mask is None else mask.copy()
        free[taken] = False
        rows: Rows = ranked[free[ranked]][:places]
        return rows

    def slate(
        self, found: Found, history: History | None = None, spare: int = 0,
        reasons: Sequence[tuple[answers.Reason, ...]] | None = None, pinned: frozenset[int] = frozenset(),
    ) -> answers.Slate:
        """An answer of found items, the last `spare` of which are best-sellers, and `pinned` put there by a rule."""
        view, own = self.view, len(found.rows) - spare
        return self._slate(found, history, spare, tuple(
            view.item(int(row), float(score), place >= own, int(row) in pinned,
                      reasons[place] if reasons is not None else None)
            for place, (row, score) in enumerate(zip(found.rows, found.scores, strict=True))))

    def written(self, found: Found, history: History, spare: int = 0) -> Written:
        """`slate` without reasons and pins as it is sent, for a third of the time: no document is made of its items."""
        slate, own, line = self._slate(found, history, spare, ()), len(found.rows) - spare, self.view.line
        before, _, after = slate.model_dump_json().partition(_NO_ITEMS)
        lines = [line(row, score, place >= own)
                 for place, (row, score) in enumerate(zip(found.rows.tolist(), found.scores.tolist(), strict=True))]
        return Written(slate, f'{before}"items":[{",".join(lines)}]{after}'.encode(), spare)

    def _slate(self, found: Found, history: History | None, spare: int, items: tuple[answers.Item, ...]
               ) -> answers.Slate:
        view, own = self.view, len(found.rows) - spare
        return answers.Slate(
            release=view.number, model_version=view.model_version, items=items,
            is_fallback=spare > 0 and own == 0,
            fallback_reason=f"the shopper has seen all but {own} of the items that the conditions let through: "
                            f"{spare} best-sellers fill the places" if spare else None,
            known_events=int((history.weight > 0).sum()) if history is not None else 0,
            filtered=answers.Filtered(catalogue=view.bundle.num_items, allowed=found.allowed, search=found.how),
            notices=tuple(self.notices), latency_ms=1000 * (time.perf_counter() - self.started))
