"""Recommendations of one bundle: history in, item rows and scores out.

The same few lines answer in the gate's trial, on the command line and online.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipelines.errors import BundleRefused, DataError
from serving.bundle import Bundle
from serving.encoding import Floats, History, Ints, encode
from serving.retriever import NOTHING, Rows, best, open_retriever
from serving.user_tower import UserTower


@dataclass(frozen=True)
class Request:
    """What is known of a shopper at the time of asking."""

    history: History
    now_us: int  # microseconds since 1970, UTC
    user_tokens: Ints  # [K] feature tokens, 0 for padding


class Recommendation(NamedTuple):
    """An item and its score (inner product of user and item vector)."""

    row: int
    score: float
    is_fallback: bool = False  # taken from the best-sellers because the model had no item left to give


class Recommender:
    """A loaded bundle that answers.

    Raises:
        BundleRefused: the user tower's vectors do not fit the item vectors.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.retriever = open_retriever(bundle)
        self.tower = UserTower(bundle.path / "user_tower.tflite")
        # The last column is the item prior: how much an item sells says nothing about what it is like.
        self.norms = np.maximum(np.linalg.norm(bundle.item_vectors[:, :-1], axis=1), 1e-12)
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

    def recommend(
        self, history: History, now_us: int, user_tokens: Ints, k: int, exclude_seen: bool = True
    ) -> list[Recommendation]:
        """The k best items for one shopper, best first; see `recommend_many`."""
        return self.recommend_many([Request(history, now_us, user_tokens)], k, exclude_seen)[0]

    def recommend_many(
        self, requests: Sequence[Request], k: int, exclude_seen: bool = True
    ) -> list[list[Recommendation]]:
        """The k best items for each request, best first, none twice, none buried or unavailable.

        Where fewer than k items are unseen, the list is filled with best-sellers the shopper has seen,
        marked `is_fallback`; it is shorter than k only where the catalogue is.

        Raises:
            DataError: a history names items or event types that the bundle does not have, or is out of order.
        """
        if not requests:
            return []
        vectors = self.vectors(requests)
        buried = self.bundle.hidden
        hidden = [np.union1d(request.history.item, buried).astype(np.int64) if exclude_seen else buried
                  for request in requests]
        rows, scores = self.retriever.search(vectors, k, hidden)
        return [
            [Recommendation(int(row), float(score)) for row, score in zip(found, found_scores, strict=True)
             if row != NOTHING] + self._fill(vector, found, k)
            for vector, found, found_scores in zip(vectors, rows, scores, strict=True)
        ]

    def similar(self, row: int, k: int) -> list[Recommendation]:
        """The k items most like item `row`, with their cosine; the item prior has no part in it.

        Every item is compared with: some 30 ms for a million.
        """
        if not 0 <= row < self.bundle.num_items:
            raise DataError(f"there is no item row {row}: the bundle has {self.bundle.num_items:,} items")
        plain = self.bundle.item_vectors[:, :-1]
        cosine = (plain @ plain[row] / (self.norms * self.norms[row])).astype(np.float32)
        cosine[[row, *self.bundle.hidden]] = -np.inf
        return [Recommendation(int(found), float(score)) for found, score in zip(*best(cosine, k), strict=True)]

    def _fill(self, vector: Floats, found: Rows, k: int) -> list[Recommendation]:
        """Best-sellers for the places that the search left empty."""
        places = int((found == NOTHING).sum())
        if not places:
            return []
        taken = np.concatenate([found, self.bundle.hidden])
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
            wrong = values[(values < 0) | (values >= size)]
            if len(wrong):
                raise DataError(f"a request names {what} {wrong[0]} where the bundle has {size:,}: "
                                "map it to this bundle first")
        if not (np.isfinite(history.weight).all() and (history.weight >= 0).all()):
            raise DataError("a history has weights that are below 0 or not finite: 0 is for what is no sign of taste")
        if (np.diff(history.time) < 0).any():
            raise DataError("a history's times go back: sort its events by time")


def empty_history() -> History:
    """The history of a shopper nobody knows."""
    return History(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int16), np.zeros(0, np.float32))
