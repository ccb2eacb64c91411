"""The words of a shop's products, as text search reads them.

A snapshot holds them in item_texts.parquet: one row an item, its words in two lists, `title` and `others`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from serving.query_text import split_words
from serving.tokens import split_value

SEARCHED = ("text", "categorical", "multi")
TEXTS = "item_texts.parquet"
_SCHEMA = pa.schema([(name, pa.list_(pa.string())) for name in ("title", "others")])
_BLOCK = 10_000  # products whose words are cut at once


class ItemText(NamedTuple):
    """A product's words: of its title, in order, and of its other texts, categories and lists."""

    title: list[str]
    others: list[str]

    @property
    def words(self) -> list[str]:
        """All words, the title's first."""
        return [*self.title, *self.others]


def item_texts(items: pd.DataFrame, kinds: Sequence[tuple[str, str]], title: str | None) -> list[ItemText]:
    """Words of each row of the item table.

    Args:
        items: [rows] of the item table, in the order of the item vectors.
        kinds: (column, kind) pairs; texts, categories and lists are read, numbers, pictures and vectors are not.
        title: the column that people know a product by; None where the shop has none.
    """
    others = [(name, kind) for name, kind in kinds if kind in SEARCHED and name != title]
    titles = [_words("text", value) for value in items[title]] if title is not None else [[] for _ in range(len(items))]
    rest: list[list[str]] = [[] for _ in range(len(items))]
    for name, kind in others:
        for words, value in zip(rest, items[name], strict=True):
            words.extend(_words(kind, value))
    return [ItemText(*pair) for pair in zip(titles, rest, strict=True)]


def _words(kind: str, value: object) -> list[str]:
    # A text is cut here, in its order; of a list and of a category the parts are the vocabulary's.
    parts = split_value(kind if kind == "multi" else "categorical", value)
    return [word for part in parts for word in split_words(part)]


def write_texts(items: pd.DataFrame, kinds: Sequence[tuple[str, str]], title: str | None, folder: Path) -> int:
    """Write a snapshot's item_texts.parquet, none where no product has a word; returns how many have one.

    Args:
        items: [rows] of the item table, in the order of the snapshot.
        kinds, title: see `item_texts`.
        folder: of the snapshot.
    """
    worded, path = 0, folder / TEXTS
    with pq.ParquetWriter(path, _SCHEMA) as file:
        for first in range(0, len(items), _BLOCK):
            texts = item_texts(items.iloc[first : first + _BLOCK], kinds, title)
            worded += sum(bool(text.words) for text in texts)
            file.write_table(pa.table({name: [getattr(text, name) for text in texts] for name in ItemText._fields},
                                      _SCHEMA))
    if not worded:
        path.unlink()
    return worded


def read_texts(folder: Path) -> list[ItemText] | None:
    """What `write_texts` wrote, by row; None where no product has a word."""
    if not (folder / TEXTS).exists():
        return None
    # A catalogue repeats its words: each is held once.
    return [ItemText(*([sys.intern(word) for word in words] for words in row))
            for batch in pq.ParquetFile(folder / TEXTS).iter_batches(_BLOCK)
            for row in zip(*(batch.column(name).to_pylist() for name in ItemText._fields), strict=True)]
