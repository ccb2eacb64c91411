"""What a typed query and a product's text are cut into: one piece of code for training and serving.

Words that the catalogue holds have a row of their own in the encoder's table, so that brand names and codes count
exactly. Any other word (a misspelling, an inflection, half a word) is the sum of its character n-grams, which are
hashed (Bojanowski et al. 2017, Enriching Word Vectors with Subword Information). The order of words means nothing: a
hashed token for each pair of neighbours was measured and made held-out queries worse (docs/benchmarks.md).
"""

import re
import unicodedata
import zlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

WORD = re.compile(r"[^\W_]+", re.UNICODE)
GRAM_SIZES = (3, 4, 5)
# Bounds on what a single query can cost; nobody types more, and a program that does is not to slow others down.
MAX_CHARACTERS = 512
MAX_QUERY_WORDS = 32
MAX_WORD_CHARACTERS = 40


def split_words(text: str) -> list[str]:
    """Runs of letters and digits in their order, case and accents folded: "Côtes-du-Rhône" -> cotes, du, rhone."""
    # Twice, as a compatibility character may stand for a capital and a folded one may be composed (Unicode, D146).
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return WORD.findall("".join(c for c in decomposed if not unicodedata.combining(c)))


def grams(word: str) -> list[str]:
    """Character n-grams of a word between its borders: "bag" -> <ba, bag, ag>, <bag, bag>, <bag>."""
    marked = f"<{word[:MAX_WORD_CHARACTERS]}>"
    return [marked[i : i + size] for size in GRAM_SIZES for i in range(len(marked) - size + 1)]


def bucket(text: str, buckets: int) -> int:
    """Hashed place of an n-gram, the same on every machine."""
    return zlib.crc32(text.encode()) % buckets


@dataclass(frozen=True)
class Tokens:
    """Rows of the encoder's table: the catalogue's words, then hashed n-grams."""

    words: Mapping[str, int]  # word -> row
    gram_buckets: int

    @property
    def rows(self) -> int:
        """Number of rows of the table."""
        return len(self.words) + self.gram_buckets

    def gram_rows(self, word: str) -> list[int]:
        """Rows of a word's n-grams, at least one: a letter between its borders is an n-gram too."""
        first = len(self.words)
        return [first + bucket(gram, self.gram_buckets) for gram in grams(word)]

    def of_query(self, words: Sequence[str], by_grams: Set[int] = frozenset()) -> tuple[list[int], list[float]]:
        """Rows [n] and weights [n] whose weighted sum is the query's vector.

        Words of the catalogue weigh 1, an unknown word's n-grams 1 / sqrt(their number) each; so do those of
        words at the places `by_grams`, from which training learns what n-grams mean.
        """
        rows: list[int] = []
        weights: list[float] = []
        for place, word in enumerate(words):
            row = self.words.get(word) if place not in by_grams else None
            found = [row] if row is not None else self.gram_rows(word)
            rows += found
            weights += [len(found) ** -0.5] * len(found)
        return rows, weights
