"""What one bundle answers: a history, an item, words, a photograph or a basket in, item rows and scores out.

The same few lines answer in the gate's trial, on the command line and online; serving/doors.py says how the questions
share one space.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipelines.columns import PURCHASE
from pipelines.errors import BundleRefused, DataError, Unanswerable
from serving.bundle import Bundle
from serving.bundle_files import INDEX, TEXT_INDEX
from serving.doors import Door
from serving.encoding import Floats, History, Ints, encode
from serving.picture_search import PictureSearch
from serving.query_text import MAX_CHARACTERS
from serving.retriever import NONE, NOTHING, Retriever, Rows, best, distinct, open_retriever
from serving.user_tower import UserTower


@dataclass(frozen=True)
class Request:
    """What is known of a shopper at the time of asking."""

    history: History
    now_us: int  # microseconds since 1970, UTC
    user_tokens: Ints  # [K] feature tokens, 0 for padding


class Recommendation(NamedTuple):
    """An item and its score: the inner product of query and item vector, for likeness the cosine."""

    row: int
    score: float
    is_fallback: bool = False  # taken from the best-sellers because the model had no item left to give


class Recommender:
    """A loaded bundle that answers.

    Every answer is best first, names no item twice and none that is buried. `unavailable` are rows that must not be
    shown at this moment either, such as those out of stock.

    Raises:
        BundleRefused: the vectors of an encoder do not fit those of the items.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.retriever = open_retriever(bundle.path / INDEX, bundle.index, bundle.item_vectors)
        self.text_retriever: Retriever | None = None
        if bundle.text is not None and bundle.text_index is not None:
            self.text_retriever = open_retriever(
                bundle.path / TEXT_INDEX, bundle.text_index, bundle.item_vectors, bundle.text.vectors)
        self.pictures: PictureSearch | None = None
        if bundle.pictures is not None and bundle.picture_index is not None:
            self.pictures = PictureSearch(bundle.path, bundle.pictures, bundle.picture_index)
        self.tower = UserTower(bundle.path / "user_tower.tflite")
        # The last column is the item prior: how much an item sells says nothing about what it is like.
        plain = bundle.item_vectors[:, :-1]
        self.norms = np.maximum(np.sqrt(np.einsum("nd,nd->n", plain, plain)), 1e-12)
        nobody = Request(empty_history(), 0, np.zeros(bundle.limits.user_slots, np.int32))
        shape = self.vectors([nobody]).shape
        if shape != (1, bundle.item_vectors.shape[1]):
            raise BundleRefused(f"bundle {bundle.path}: its user tower gives vectors {list(shape)} for item vectors of "
                                f"{bundle.item_vectors.shape[1]} columns; run the index stage again and promote that")

    def vectors(self, requests: Sequence[Request]) -> Floats:
        """User vectors [requests, D]."""
        for request in requests:
            self._check(request)
        inputs = encode(
            [request.history for request in requests],
            np.array([request.now_us for request in requests], np.int64),
            np.stack([request.user_tokens for request in requests]).astype(np.int32),
            self.bundle.item_inputs,
            self.bundle.limits,
        )
        return self.tower.vectors(inputs)

    def vector(self, request: Request) -> Floats:
        """User vector [D] of one request that serving.profile made of this very bundle: it needs no check."""
        inputs = encode([request.history], np.array([request.now_us], np.int64), request.user_tokens[None],
                        self.bundle.item_inputs, self.bundle.limits)
        vector: Floats = self.tower.vectors(inputs)[0]
        return vector

    def recommend(
        self, history: History, now_us: int, user_tokens: Ints, k: int, exclude_seen: bool = True,
        unavailable: Rows = NONE,
    ) -> list[Recommendation]:
        """The k best items for one shopper; see `recommend_many`."""
        return self.recommend_many([Request(history, now_us, user_tokens)], k, exclude_seen, unavailable)[0]

    def recommend_many(
        self, requests: Sequence[Request], k: int, exclude_seen: bool = True, unavailable: Rows = NONE
    ) -> list[list[Recommendation]]:
        """The k best items for each request.

        Where fewer than k items are unseen, the list is filled with best-sellers the shopper has seen,
        marked `is_fallback`; it is shorter than k only where the available catalogue is.

        Raises:
            DataError: a history names items or event types that the bundle does not have, or is out of order.
        """
        if not requests:
            return []
        vectors = self.vectors(requests)
        never = self._hidden(unavailable)
        hidden = [self._hidden(request.history.item, unavailable) if exclude_seen else never for request in requests]
        rows, scores = self.retriever.search(vectors, k, hidden)
        return [_answer(found, found_scores) + self._fill(vector, found, never)
                for vector, found, found_scores in zip(vectors, rows, scores, strict=True)]

    def basket(self, rows: Sequence[int], k: int, unavailable: Rows = NONE) -> list[Recommendation]:
        """The k items that go best with those in a basket, which are not among them.

        Answered as to a shopper of whom nothing else is known: the user tower has learned what follows such a visit.

        Raises:
            DataError: the basket is empty, or holds a row that the bundle does not have.
        """
        if not len(rows):
            raise DataError("the basket is empty: give the items that are in it")
        history = basket_history(rows, self.bundle.spec)
        nobody = np.zeros(self.bundle.limits.user_slots, np.int32)
        vectors = self.vectors([Request(history, 0, nobody)])
        found, scores = self.retriever.search(vectors, k, [self._hidden(history.item, unavailable)])
        return _answer(found[0], scores[0])

    def similar(self, row: int, k: int, unavailable: Rows = NONE) -> list[Recommendation]:
        """The k items most like item `row`, with their cosine; the item prior has no part in it.

        Every item is compared with: some 30 ms for a million.

        Raises:
            DataError: the bundle does not have such a row.
        """
        if not 0 <= row < self.bundle.num_items:
            raise DataError(f"there is no item row {row}: the bundle has {self.bundle.num_items:,} items")
        plain = self.bundle.item_vectors[:, :-1]
        cosine = (plain @ plain[row] / (self.norms * self.norms[row])).astype(np.float32)
        cosine[self._hidden(np.array([row]), unavailable)] = -np.inf
        return _answer(*best(cosine, k))

    def search(self, text: str, k: int, unavailable: Rows = NONE) -> list[Recommendation]:
        """The k items that typed words ask for; misspelt and unknown words are read by their parts.

        Raises:
            DataError: the text holds no letter and no digit.
            Unanswerable: no product of the shop has words.
        """
        if self.bundle.text is None or self.text_retriever is None:
            raise _closed("words", self.bundle.doors.search)
        vector = self.bundle.text.encoder.vector(text)
        if not vector.any():
            raise DataError(f"{text[:MAX_CHARACTERS]!r} asks for nothing: type a word or a number")
        found, scores = self.text_retriever.search(vector[None], k, [self._hidden(unavailable)])
        return _answer(found[0], scores[0])

    def search_image(self, data: bytes, k: int, unavailable: Rows = NONE) -> list[Recommendation]:
        """The k items whose picture is most like an image file (PNG, JPEG, ...), with their cosine.

        Raises:
            DataError: the bytes are no image, or too large a one.
            Unanswerable: the shop has no pictures, or too few to learn from.
        """
        if self.pictures is None:
            raise _closed("a picture", self.bundle.doors.pictures)
        found, scores = self.pictures.search(data, k, self._hidden(unavailable))
        return _answer(found[0], scores[0])

    def _hidden(self, *rows: npt.NDArray[np.integer]) -> Rows:
        """Distinct rows that an answer must not hold: those given, the buried and the unavailable ones."""
        return distinct(self.bundle.hidden, *rows)

    def _fill(self, vector: Floats, found: Rows, never: Rows) -> list[Recommendation]:
        """Best-sellers for the places that the search left empty, without the rows `never`."""
        places = int((found == NOTHING).sum())
        if not places:
            return []
        taken = np.concatenate([found, never])
        rows = self.bundle.popularity[~np.isin(self.bundle.popularity, taken)][:places]
        return [Recommendation(int(row), float(self.bundle.item_vectors[row] @ vector), True) for row in rows]

    def _check(self, request: Request) -> None:
        """Refuse what the encoding would take for something else: row -1, say, is numpy's last item."""
        history, limits = request.history, self.bundle.limits
        if not len(history.item) == len(history.time) == len(history.type) == len(history.weight):
            raise DataError(f"a history has {len(history.item)} items, {len(history.time)} times, {len(history.type)} "
                            f"types and {len(history.weight)} weights: give all four of the same events")
        if request.user_tokens.shape != (limits.user_slots,):
            raise DataError(f"user tokens are {list(request.user_tokens.shape)} where [{limits.user_slots}] is needed")
        for what, values, size in (("item row", history.item, self.bundle.num_items),
                                   ("event type", history.type, limits.event_types),
                                   ("user token", request.user_tokens, self.bundle.spec["user_token_count"])):
            if values.size and (values.min() < 0 or values.max() >= size):
                wrong = values[(values < 0) | (values >= size)]
                raise DataError(f"a request names {what} {wrong[0]} where the bundle has {size:,}: "
                                "map it to this bundle first")
        # A number that is none is neither at least 0 nor below infinity.
        if len(history.weight) and not (history.weight.min() >= 0 and history.weight.max() < np.inf):
            raise DataError("a history has weights that are below 0 or not finite: 0 is for what is no sign of taste")
        if (history.time[1:] < history.time[:-1]).any():
            raise DataError("a history's times go back: sort its events by time")


def basket_history(rows: Sequence[int], spec: Mapping[str, Any]) -> History:
    """One visit in which the items of a basket are bought; what weighs most happens where the log has no purchases.

    Args:
        rows: of the items.
        spec: the feature specification.
    """
    weights: Mapping[str, float] = spec["event_weights"]
    kind = PURCHASE if weights.get(PURCHASE, 0) > 0 else max(weights, key=lambda name: weights[name])
    return History(np.array(rows, np.int32), np.zeros(len(rows), np.int64),
                   np.full(len(rows), spec["event_types"].index(kind), np.int16),
                   np.full(len(rows), weights[kind], np.float32))


def _answer(rows: Rows, scores: Floats) -> list[Recommendation]:
    """An answer of found rows [n], less the places where nothing was found."""
    return [Recommendation(int(row), float(score)) for row, score in zip(rows, scores, strict=True) if row != NOTHING]


def _closed(what: str, door: Door) -> Unanswerable:
    return Unanswerable(f"this release cannot be searched by {what}: {door.closed}")


def empty_history() -> History:
    """The history of a shopper nobody knows."""
    return History(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int16), np.zeros(0, np.float32))
