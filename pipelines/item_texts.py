"""The words of a shop's products, as text search reads them."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from pipelines.vocabulary import split_value
from serving.query_text import split_words

SEARCHED = ("text", "categorical", "multi")


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
