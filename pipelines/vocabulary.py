"""Feature tokens: every discrete sign of an item or a user, in one embedding table a side.

A categorical value, a word of a title, a member of a list and a quantile bucket of a price are all
tokens of one vocabulary, so that an item is a weighted bag of tokens and new kinds of features need no
new layers. Vocabularies and quantiles are learned from rows with train events only: what training never
saw is "unknown", for each field apart.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from serving.tokens import TokenField, split_value

# Words outside the vocabulary share hashed buckets: two new products with the same new word still meet.
HASH_BUCKETS = 512
QUANTILES = 16
MAX_WORDS = 20_000


def fit_fields(
    table: pd.DataFrame, kinds: Sequence[tuple[str, str]], is_trained: npt.NDArray[np.bool_], first: int
) -> list[TokenField]:
    """Token fields of `kinds` ((column, kind) pairs), learned from the rows `is_trained` [rows].

    Tokens are numbered from `first` on, field by field, so that they share one table.
    """
    fields: list[TokenField] = []
    for name, kind in kinds:
        column = table[name][is_trained]
        if kind == "numeric":
            numbers = column.to_numpy(np.float64, na_value=np.nan)
            numbers = numbers[np.isfinite(numbers)]
            inner = np.linspace(0, 1, QUANTILES + 1)[1:-1]
            edges = [float(e) for e in np.unique(np.quantile(numbers, inner))] if len(numbers) else []
            fitted = TokenField(name, kind, first, first + len(edges) + 1, 0, {}, edges)
        else:
            counts = Counter(v for value in column for v in split_value(kind, value))
            # A word that a single product has says nothing that the product's own embedding does not.
            least = 2 if kind in ("text", "multi") else 1
            kept = sorted(v for v, n in counts.most_common(MAX_WORDS) if n >= least)
            values = {v: first + i for i, v in enumerate(kept)}
            fitted = TokenField(name, kind, first, first + len(kept), HASH_BUCKETS if kind == "text" else 1, values)
        fields.append(fitted)
        first = fitted.end
    return fields


def token_bags(
    table: pd.DataFrame, fields: Sequence[TokenField]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Each row's bag of tokens as CSR: indptr [rows + 1], tokens [nnz], weights [nnz].

    A field's tokens weigh 1 / sqrt(their number), so that a long text does not drown a brand.
    """
    tokens: list[int] = []
    weights: list[float] = []
    indptr = np.zeros(len(table) + 1, np.int64)
    rows = zip(*(table[f.name] for f in fields), strict=True) if fields else ()
    for row, values in enumerate(rows):
        for column, value in zip(fields, values, strict=True):
            found = column.tokens(value)
            tokens.extend(found)
            weights.extend([max(len(found), 1) ** -0.5] * len(found))
        indptr[row + 1] = len(tokens)
    return indptr, np.array(tokens, np.int32), np.array(weights, np.float32)


def token_slots(table: pd.DataFrame, fields: Sequence[TokenField]) -> npt.NDArray[np.int32]:
    """[rows, fields] one token a field, 0 where the value is missing."""
    slots = np.zeros((len(table), max(len(fields), 1)), np.int32)
    for column, f in enumerate(fields):
        for row, value in enumerate(table[f.name]):
            found = f.tokens(value)
            if found:
                slots[row, column] = found[0]
    return slots
