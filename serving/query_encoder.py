"""From a typed query to a vector in the item space, and from a new product's words to its text block.

The space is [behaviour D | prior 1 | text S]: item vectors are nonzero in all of it, user vectors have zeros in the
text block, query vectors are nonzero everywhere. So recommendation and search are inner products with the same item
vectors, and one index answers both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipelines.artifacts import write_json
from pipelines.contracts import Document
from pipelines.errors import CorruptArtifact
from serving.encoding import Floats
from serving.query_text import MAX_CHARACTERS, MAX_QUERY_WORDS, Tokens, split_words
from serving.strict_read import read_array, read_document

CONFIG, QUERY_TABLE, ITEM_TABLE = "query.json", "query_table.npy", "item_words.npy"
FILES = (CONFIG, QUERY_TABLE, ITEM_TABLE)
_REMEDY = "it was not written by this version's training; train again"


class _Config(Document):
    """query.json: the words of the table's first rows, in order, and the number of hashed rows behind them."""

    format: Literal[1]
    words: tuple[str, ...]
    gram_buckets: int = Field(ge=1)


@dataclass(frozen=True)
class QueryEncoder:
    """A table of token vectors; a query is the weighted sum of its tokens' rows. Safe for use by many threads."""

    tokens: Tokens
    table: Floats = field(repr=False)  # [tokens.rows, width], width = D + 1 + S
    item_words: Floats = field(repr=False)  # [words, S] what a word adds to a product's text block

    @property
    def width(self) -> int:
        """D + 1 + S: columns of query vectors, and of the item vectors that they are multiplied with."""
        return int(self.table.shape[1])

    @property
    def text_dimension(self) -> int:
        """S: columns of the text block, the last ones."""
        return int(self.item_words.shape[1])

    def vector(self, text: str) -> Floats:
        """Query vector [width]; zeros for a text without a letter or digit, which asks for nothing.

        No more than MAX_CHARACTERS and MAX_QUERY_WORDS of a text are read.
        """
        return self.of_words(split_words(text[:MAX_CHARACTERS])[:MAX_QUERY_WORDS])

    def of_words(self, words: Sequence[str]) -> Floats:
        """Query vector [width] of words as serving.query_text.split_words gives them."""
        rows, weights = self.tokens.of_query(words)
        summed: Floats = np.array(weights, np.float32) @ self.table[np.array(rows, np.int64)]
        return summed

    def text_block(self, texts: Sequence[Sequence[str]]) -> Floats:
        """Text block [texts, S] of products, from all words of each: what training gave those that it knew.

        A word that training never saw stands where a query for it points, so that a new name or code is found.
        """
        block = np.zeros((len(texts), self.text_dimension), np.float32)
        if not self.text_dimension:
            return block
        usual = float(np.median(np.linalg.norm(self.item_words, axis=1))) if len(self.item_words) else 1.0
        for row, words in enumerate(texts):
            distinct = sorted(set(words))
            if not distinct:
                continue
            parts = [self.item_words[self.tokens.words[w]] for w in distinct if w in self.tokens.words]
            for word in distinct:
                if word not in self.tokens.words:
                    asked = self.of_words([word])[-self.text_dimension :]
                    parts.append(asked * (usual / max(float(np.linalg.norm(asked)), 1e-9)))
            block[row] = np.sum(parts, axis=0) / np.sqrt(len(distinct))
        return block

    def save(self, folder: Path) -> None:
        """Write query.json, query_table.npy (float16) and item_words.npy (float16) into an existing folder."""
        write_json(folder / CONFIG, _Config(format=1, words=tuple(self.tokens.words),
                                            gram_buckets=self.tokens.gram_buckets))
        np.save(folder / QUERY_TABLE, self.table.astype(np.float16), allow_pickle=False)
        np.save(folder / ITEM_TABLE, self.item_words.astype(np.float16), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> "QueryEncoder":
        """Read what `save` wrote.

        Raises:
            CorruptArtifact: a file is missing, of another format, or the files do not belong together.
        """
        try:
            config = _Config.model_validate(read_document(folder / CONFIG))
            table, item_words = (_array(folder / name) for name in (QUERY_TABLE, ITEM_TABLE))
        except (OSError, ValueError) as error:  # pydantic's and NumPy's refusals are ValueErrors
            raise CorruptArtifact(f"{folder} holds no query encoder: {error}; {_REMEDY}") from error
        tokens, words = Tokens({w: i for i, w in enumerate(config.words)}, config.gram_buckets), config.words
        if len(tokens.words) != len(words):
            raise CorruptArtifact(f"{folder}/{CONFIG} names {len(words)} words, {len(tokens.words)} of them distinct; "
                                  f"{_REMEDY}")
        if table.shape[0] != tokens.rows or item_words.shape[0] != len(words) or table.shape[1] < item_words.shape[1]:
            raise CorruptArtifact(
                f"{folder}: {QUERY_TABLE} is {list(table.shape)} and {ITEM_TABLE} {list(item_words.shape)} where "
                f"{CONFIG} asks for {tokens.rows} and {len(words)} rows; {_REMEDY}")
        return cls(tokens, table, item_words)


def _array(path: Path) -> Floats:
    table: npt.NDArray[np.float16] = read_array(path, np.float16, (None, None))
    return table.astype(np.float32)
