"""One release as the service sees it: its recommender, and what filters, reasons and profiles need of it."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np

from pipelines import columns as c
from pipelines.artifacts import read_json
from pipelines.errors import BundleRefused, DataError, Unanswerable
from serving.answers import Item, Reason
from serving.catalogue import Catalogue
from serving.discover.lexicon import Lexicon
from serving.encoding import Floats, Ints
from serving.finder import FEW, Finder, Found
from serving.query_text import MAX_CHARACTERS
from serving.reasons import Reasons
from serving.recommender import Recommender
from serving.retriever import ExactRetriever, Rows, best
from serving.sessions.contract import Availability
from serving.tokens import TokenField, read_fields, slots_of

VIEW = "view"
_REMEMBERED = 50_000  # items whose shown columns are held, some 400 bytes each
# JSON of what differs from answer to answer. Quotation marks within a text have a backslash: it stands here alone.
_FLAGS = {(is_fallback, is_pinned): f'"is_fallback":{str(is_fallback).lower()},"is_pinned":{str(is_pinned).lower()}'
          for is_fallback in (False, True) for is_pinned in (False, True)}
_UNSCORED = f'"score":0.0,{_FLAGS[False, False]}'
_SAMPLE = 2_000  # best-sellers that two kinds of scores are brought to one scale by
SMALL = 20_000  # items that are compared with, every one, in some tenths of a millisecond
_EVEN = 1.02  # norms that differ by less give the order of cosines and of inner products alike


class ReleaseView:
    """Everything an answer needs of one release; holds nothing of any other."""

    def __init__(self, number: int, recommender: Recommender) -> None:
        """Read the vocabularies.

        Raises:
            BundleRefused: the user fields of spec.json and vocabulary.json differ.
        """
        self.number, self.recommender, self.bundle = number, recommender, recommender.bundle
        bundle = self.bundle
        self.catalogue = Catalogue(bundle)
        self.shoppers = Finder(recommender.retriever)
        self.words = Finder(recommender.text_retriever) if recommender.text_retriever is not None else None
        self.pictures = Finder(recommender.pictures.retriever) if recommender.pictures is not None else None
        registered: Mapping[str, Any] = bundle.provenance.get("registered", {})
        self.model_version = str(registered.get("model_version", "unknown"))
        self.event_types: list[str] = bundle.spec["event_types"]
        self.type_codes = {name: code for code, name in enumerate(self.event_types)}
        self.weights: dict[str, float] = bundle.spec["event_weights"]
        self.type_weights = np.array([self.weights.get(name, 1.0) for name in self.event_types], np.float32)
        self.user_fields = _user_fields(bundle.path / "vocabulary.json", bundle.spec)
        self._lines: dict[int, tuple[str, str]] = {}
        self._gone: tuple[int, Rows] = (-1, np.zeros(0, np.int64))
        self._lock = Lock()

    @property
    def is_quick(self) -> bool:
        """Whether a shopper's slate without conditions takes no look at the whole catalogue, or at a small one."""
        _, gone = self._gone
        if isinstance(self.recommender.retriever, ExactRetriever):
            return self.bundle.num_items <= SMALL
        return len(gone) + len(self.bundle.tombstones) <= FEW

    @cached_property
    def reasons(self) -> Reasons:
        """What speaks for an item."""
        return Reasons(self)

    @cached_property
    def lexicon(self) -> Lexicon:
        """What the words of a wish mean to this catalogue."""
        return Lexicon(self.catalogue)

    @cached_property
    def purchase_types(self) -> tuple[str, ...]:
        """Types whose items a shopper has: purchases, or all signs of taste where the log has no such type."""
        if c.PURCHASE in self.type_codes:
            return (c.PURCHASE,)
        return tuple(name for name in self.event_types if self.weights.get(name, 0) > 0)

    @cached_property
    def look_type(self) -> str:
        """The type of an event that says none: a view, or the least of the signs of taste."""
        if VIEW in self.type_codes:
            return VIEW
        positive = [name for name in self.event_types if self.weights.get(name, 0) > 0] or self.event_types
        return min(positive, key=lambda name: self.weights.get(name, 0))

    def user_tokens(self, features: Mapping[str, Any]) -> Ints:
        """Tokens [K] of a user's features.

        Raises:
            DataError: a numeric feature is no number.
        """
        try:
            return slots_of(features, self.user_fields, self.bundle.limits.user_slots)
        except (ValueError, TypeError) as error:
            numeric = ", ".join(f.name for f in self.user_fields if f.kind == "numeric")
            raise DataError(f"user_features: {error}; numbers are wanted for {numeric}") from error

    def row(self, item_id: str) -> int | None:
        """Row of an item, None where the release does not know it."""
        return self.bundle.rows.get(item_id)

    def gone(self, availability: Availability) -> Rows:
        """Rows that cannot be bought: what the release says, and what was said since. Ascending."""
        version, rows = self._gone
        if version != availability.version:
            said = {row: can for item, can in availability.items.items() if (row := self.row(item)) is not None}
            back = np.array([row for row, can in said.items() if can], np.int64)
            out = np.array([row for row, can in said.items() if not can], np.int64)
            rows = np.union1d(np.setdiff1d(self.bundle.unavailable, back), out)
            self._gone = (availability.version, rows)
        return rows

    def similar(self, vector: Floats, k: int, allowed: Any, never: Rows) -> Found:
        """The k items of the highest cosine with a behaviour vector [D], the item prior left out."""
        norms, plain = self.recommender.norms, self.bundle.item_vectors[:, :-1]
        query = vector / max(float(np.linalg.norm(vector)), 1e-12)
        if float(norms.max()) <= _EVEN * float(norms.min()):
            found = self.shoppers.find(np.append(query, 0).astype(np.float32), k, allowed, never)
            cosines = (plain[found.rows] @ query / norms[found.rows]).astype(np.float32)
            order = np.argsort(-cosines, kind="stable")
            return Found(found.rows[order], cosines[order], found.how, found.allowed)
        cosines = (plain @ query / norms).astype(np.float32)
        cosines[never] = -np.inf
        if allowed is not None:
            cosines[~allowed] = -np.inf
        return Found(*best(cosines, k), "exact", int(np.isfinite(cosines).sum()))

    def query_vector(self, text: str) -> Floats:
        """Vector [D + S] of typed words.

        Raises:
            DataError: the text holds no letter and no digit.
            Unanswerable: no product of the shop has words.
        """
        if self.bundle.text is None or self.words is None:
            raise Unanswerable(f"this release cannot be searched by words: {self.bundle.doors.search.closed}")
        vector = self.bundle.text.encoder.vector(text)
        if not vector.any():
            raise DataError(f"text: {text[:MAX_CHARACTERS]!r} asks for nothing: type a word or a number")
        return vector

    def blended(self, query: Floats, shopper: Floats, weight: float) -> Floats:
        """Query vector [D + S] and user vector [D] as one [D + S]; see `mixed`."""
        return self.mixed([(query, 1 - weight), (shopper, weight)])

    def mixed(self, parts: Sequence[tuple[Floats, float]]) -> Floats:
        """Vectors [D] or [D + S] by their weights as one of the widest, each brought to one spread of scores.

        The spreads are those over the best-selling items, whose vectors any scale would do for.
        """
        width = max(len(vector) for vector, _ in parts)
        vectors = self._best_sellers[:, :width]
        mixed = np.zeros(width, np.float32)
        for vector, weight in parts:
            wide = np.concatenate([vector, np.zeros(width - len(vector), np.float32)])
            mixed += np.float32(weight / max(float(np.std(vectors @ wide)), 1e-9)) * wide
        return mixed

    def spread(self, vector: Floats) -> float:
        """Standard deviation of a shopper's scores over the best-selling items."""
        return float(np.std(self._best_sellers[:, : len(vector)] @ vector))

    @cached_property
    def _best_sellers(self) -> Floats:
        """Vectors [<= _SAMPLE, D + S] of the best-selling items; [_, D] where items have no words."""
        return (self.words or self.shoppers).vectors.take(self.bundle.popularity[:_SAMPLE])

    def likeness(self, row: int) -> Floats:
        """Vector [D + S] that asks for what an item is like, its prior left out; [D] where items have no words."""
        behaviour = np.append(self.bundle.item_vectors[row, :-1], np.float32(0))
        return behaviour if self.bundle.text is None else np.concatenate([behaviour, self.bundle.text.vectors[row]])

    def item(
        self, row: int, score: float, is_fallback: bool = False, is_pinned: bool = False,
        reasons: tuple[Reason, ...] | None = None,
    ) -> Item:
        """An item of an answer."""
        plain = Item.model_validate_json(self.line(row, score, is_fallback, is_pinned))
        return plain if reasons is None else plain.model_copy(update={"reasons": reasons})

    def line(self, row: int, score: float, is_fallback: bool = False, is_pinned: bool = False) -> str:
        """An item of an answer as its JSON, without reasons: what every answer says of it alike is remembered."""
        parts = self._lines.get(row)
        if parts is None:
            before, _, after = self._read(row).model_dump_json().partition(_UNSCORED)
            parts = before, after
            with self._lock:
                if len(self._lines) >= _REMEMBERED:
                    self._lines.clear()
                self._lines[row] = parts
        return f'{parts[0]}"score":{score!r},{_FLAGS[is_fallback, is_pinned]}{parts[1]}'

    def _read(self, row: int) -> Item:
        """What every answer says of an item alike."""
        catalogue = self.catalogue
        shown = catalogue.shown(row)

        def text(name: str | None) -> str | None:
            value = shown.get(name) if name else None
            return ", ".join(value) if isinstance(value, list) else None if value is None else str(value)

        price = shown.get(catalogue.price) if catalogue.price else None
        return Item(item_id=self.bundle.item_ids[row], score=0, title=text(catalogue.title),
                    category=text(catalogue.category), brand=text(catalogue.brand),
                    price=float(price) if price is not None else None, image_url=catalogue.picture_url(row))


def _user_fields(path: Any, spec: Mapping[str, Any]) -> list[TokenField]:
    names = [field["name"] for field in spec["user_fields"]]
    if not names:
        return []
    fields = read_fields(read_json(path).get("users", []))
    if [field.name for field in fields] != names:
        raise BundleRefused(f"{path} has the user fields {[f.name for f in fields]} where spec.json has {names}; run "
                            "the index stage again and promote that")
    return fields
