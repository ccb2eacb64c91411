"""Synthetic queries: what shoppers may type who look for a product, made from its own text."""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from pipelines.errors import DataError
from pipelines.item_texts import ItemText
from serving.query_text import Tokens

MOST_WORDS = 6
TITLE_ONLY = 0.5  # of the queries; in the others each word is from the title or from the rest
TITLE_SHARE = 0.5  # of the words of those others
UNHARMED = 0.3  # of the corrupted words are whole, and are read by their n-grams nevertheless
SHORTEST = 4  # letters that a word has at least to be corrupted
ATTEMPTS = 20  # draws that a query may take before its item is given up, and on average before sampling is

IsHeldOut = Callable[[int, Sequence[str]], bool]


class Batch(NamedTuple):
    """Queries and the items that they were made from."""

    item: npt.NDArray[np.int64]  # [B] row of the item
    tokens: sparse.csr_array  # float32 [B, rows of the table]


class QuerySampler:
    """Draws (query, item) pairs: items uniformly, words as the constants of this module say.

    Raises:
        DataError: no item has a word.
    """

    def __init__(
        self, texts: Sequence[ItemText], tokens: Tokens, corrupted: float, seed: int,
        is_held_out: IsHeldOut | None = None,
    ) -> None:
        """Prepare.

        Args:
            texts: of all items, by row.
            tokens: rows of the encoder's table.
            corrupted: part of the words that are misspelt, cut off or read by n-grams.
            seed: of the draws.
            is_held_out: (item row, words) of a query -> whether it must not be drawn.
        """
        self.random = random.Random(seed)
        self.tokens, self.corrupted, self.is_held_out = tokens, corrupted, is_held_out
        self.titles = [list(dict.fromkeys(t.title)) for t in texts]
        self.others = [[w for w in dict.fromkeys(t.others) if w not in set(t.title)] for t in texts]
        self.items = [i for i, t in enumerate(texts) if t.title or t.others]
        if not self.items:
            raise DataError(f"none of the {len(texts)} items has a word in its title, categories, lists or texts: "
                            "there is nothing to search by; give items a title")

    def batch(self, size: int) -> Batch:
        """`size` queries.

        Raises:
            DataError: nearly everything that is drawn is held out.
        """
        items: list[int] = []
        rows: list[int] = []
        weights: list[float] = []
        indptr = [0]
        for _ in range(size * ATTEMPTS):
            item = self.random.choice(self.items)
            words = self._allowed(item)
            if words is None:
                continue
            row, weight = self.tokens.of_query(*self._typed(words))
            items.append(item)
            rows += row
            weights += weight
            indptr.append(len(rows))
            if len(items) == size:
                break
        else:
            raise DataError(f"of {size * ATTEMPTS} items only {len(items)} have a query that is not held out, {size} "
                            "are needed: hold out fewer")
        tokens = sparse.csr_array((np.array(weights, np.float32), np.array(rows, np.int64), np.array(indptr, np.int64)),
                                  shape=(size, self.tokens.rows))
        return Batch(np.array(items, np.int64), tokens)

    def _allowed(self, item: int) -> list[str] | None:
        # Drawn again for the same item: were another item taken, training would learn that an item of which much is
        # held out is seldom meant.
        for _ in range(ATTEMPTS):
            words = self._words(item)
            if not words:
                continue
            if self.is_held_out is None or not self.is_held_out(item, words):
                return words
        return None

    def _words(self, item: int) -> list[str]:
        title, others = self.titles[item], self.others[item]
        number = self.random.randint(1, MOST_WORDS)
        from_title = number
        if not title:
            from_title = 0
        elif others and self.random.random() >= TITLE_ONLY:
            from_title = sum(self.random.random() < TITLE_SHARE for _ in range(number))
        # Their order means nothing to the encoder.
        return (self.random.sample(title, min(from_title, len(title)))
                + self.random.sample(others, min(number - from_title, len(others))))

    def _typed(self, words: Sequence[str]) -> tuple[list[str], set[int]]:
        """What is typed, and the places of the words that are read by their n-grams although they are known."""
        typed: list[str] = []
        by_grams: set[int] = set()
        for place, word in enumerate(words):
            is_whole = len(word) < SHORTEST or self.random.random() >= self.corrupted
            if not is_whole and self.random.random() < UNHARMED:
                by_grams.add(place)
                is_whole = True
            typed.append(word if is_whole else misspelt(word, self.random))
        return typed, by_grams


def misspelt(word: str, rng: random.Random) -> str:
    """The word with one letter missing, doubled, replaced or swapped with the next, or the word's beginning alone."""
    place = rng.randrange(1, len(word) - 1)
    match rng.randrange(5):
        case 0:
            return word[:place] + word[place + 1 :]
        case 1:
            return word[:place] + word[place] + word[place:]
        case 2:
            return word[:place] + rng.choice("abcdefghijklmnopqrstuvwxyz") + word[place + 1 :]
        case 3:
            return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
        case _:
            return word[: rng.randrange(3, len(word))]
