"""Values of features as tokens of one embedding table: one piece of code for training and serving."""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

WORD = re.compile(r"[^\W_]+", re.UNICODE)


@dataclass
class TokenField:
    """One field's part of the token table.

    `values` maps a value to its token; `unknown` is the first of `buckets` tokens for values outside it;
    `edges` are the inner quantile borders of a numeric field, whose buckets are the tokens from `first`.
    """

    name: str
    kind: str
    first: int
    unknown: int
    buckets: int = 1
    values: dict[str, int] = field(default_factory=dict)
    edges: list[float] = field(default_factory=list)

    @property
    def end(self) -> int:
        """The first token behind this field's."""
        return self.unknown + self.buckets

    def tokens(self, value: Any) -> list[int]:
        """Tokens of one value; none for a missing one."""
        if self.kind == "numeric":
            number = float(value) if value is not None else np.nan
            return [] if np.isnan(number) else [self.first + int(np.searchsorted(self.edges, number, side="right"))]
        return [self.values.get(v, self.unknown + zlib.crc32(v.encode()) % self.buckets)
                for v in split_value(self.kind, value)]


def split_value(kind: str, value: Any) -> list[str]:
    """The discrete parts of a value: the value itself, list members, or the words and word pairs of a text."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return []
    if kind == "multi":
        return sorted({str(v) for v in value if v is not None and str(v)})
    if kind == "text":
        words = WORD.findall(str(value).lower())
        return sorted({*words, *(f"{a} {b}" for a, b in pairwise(words))})
    return [str(value)] if str(value) else []


def read_fields(document: Sequence[Mapping[str, Any]]) -> list[TokenField]:
    """Token fields as vocabulary.json holds them."""
    return [TokenField(**f) for f in document]


def slots_of(values: Mapping[str, Any], fields: Sequence[TokenField], slots: int) -> npt.NDArray[np.int32]:
    """One token a field [slots], 0 where the value is missing; values of other names say nothing.

    Raises:
        ValueError, TypeError: a numeric field's value is no number.
    """
    tokens = np.zeros(slots, np.int32)
    for column, one in enumerate(fields):
        found = one.tokens(values.get(one.name))
        if found:
            tokens[column] = found[0]
    return tokens
