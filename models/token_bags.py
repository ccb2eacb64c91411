"""What products say of themselves beside their pictures: bags of tokens, as labels to learn from."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.errors import DataError


@dataclass(frozen=True)
class TokenBags:
    """Weighted tokens of n products as CSR, as a snapshot holds them.

    Attributes:
        indptr: int64 [n + 1]; product i has the entries indptr[i]:indptr[i + 1].
        tokens: int32 [entries].
        weights: float32 [entries], above 0.
    """

    indptr: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        entries = int(self.indptr[-1]) if len(self.indptr) else -1
        if entries != len(self.tokens) or entries != len(self.weights):
            raise DataError(f"token bags end at entry {entries}, but there are {len(self.tokens)} tokens and "
                            f"{len(self.weights)} weights: take all three arrays from one snapshot")

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def take(self, rows: npt.NDArray[np.intp]) -> "TokenBags":
        """The bags of `rows` [m], in that order."""
        lengths = np.diff(self.indptr)[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        at = np.repeat(self.indptr[:-1][rows] - indptr[:-1], lengths) + np.arange(indptr[-1])
        return TokenBags(indptr, self.tokens[at], self.weights[at])

    def only(self, is_kept: npt.NDArray[np.bool_]) -> "TokenBags":
        """The same n bags, empty where not `is_kept` [n]."""
        lengths = np.diff(self.indptr)
        entries = np.repeat(is_kept, lengths)
        indptr = np.concatenate([[0], np.cumsum(np.where(is_kept, lengths, 0))]).astype(np.int64)
        return TokenBags(indptr, self.tokens[entries], self.weights[entries])

    def frequent(self, least: int, most: int) -> tuple["TokenBags", int]:
        """The bags with none but the `most` most frequent tokens, of at least `least` entries each, and their number.

        Tokens are renumbered from 0, the most frequent first.
        """
        counts = np.bincount(self.tokens) if len(self.tokens) else np.zeros(0, np.int64)
        order = np.argsort(-counts, kind="stable")[:most]
        order = order[counts[order] >= least]
        number = np.full(len(counts), -1, np.int32)
        number[order] = np.arange(len(order), dtype=np.int32)
        is_kept = number[self.tokens] >= 0
        indptr = np.concatenate([[0], np.cumsum(is_kept)])[self.indptr].astype(np.int64)
        return TokenBags(indptr, number[self.tokens[is_kept]], np.asarray(self.weights[is_kept])), len(order)

    def shares(self, rows: npt.NDArray[np.intp], count: int) -> npt.NDArray[np.float32]:
        """The bags of `rows` [m] as rows of [m, count] that sum to 1; an empty bag is a row of zeros.

        Shares go by squared weights: n tokens of one field weigh n ** -0.5 each, so that a field has one vote in
        all, be it a category or a long title.
        """
        part = self.take(rows)
        dense = np.zeros((len(rows), count), np.float32)
        np.add.at(dense, (np.repeat(np.arange(len(rows)), np.diff(part.indptr)), part.tokens), part.weights**2)
        dense /= np.maximum(dense.sum(axis=1, keepdims=True), np.float32(1e-9))
        return dense
