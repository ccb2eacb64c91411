"""Which questions a release answers beside "what for this shopper", and why it does not answer the others.

One space, many doors: the row of an item is [behaviour D | prior 1 | text S], and a query is a vector in it.

    recommend  user vector, zeros in the text block: what serves shoppers reads behaviour and prior alone
    basket     the same, of a shopper of whom nothing is known but the basket
    similar    the item's own behaviour, as a cosine
    search     query vector of typed words, nonzero everywhere
    picture    vectors of the products' pictures, which an encoder of the shop's own puts a photograph among
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipelines.contracts import Document
from serving.encoding import Floats
from serving.query_encoder import FILES as QUERY_FILES
from serving.query_encoder import QueryEncoder
from serving.strict_read import read_array, read_document

DOORS = "doors.json"
SEARCH_QUERIES = "search_queries.json"  # of a training, for index and gate: what was typed, and for which row
ITEM_TEXT = "item_text.npy"
IMAGE_ENCODER, PICTURE_VECTORS, PICTURE_ROWS = "image_encoder.tflite", "picture_vectors.npy", "picture_rows.npy"
TEXT_FILES = (*QUERY_FILES, ITEM_TEXT)
PICTURE_FILES = (IMAGE_ENCODER, PICTURE_VECTORS, PICTURE_ROWS)


class Door(Document):
    """One kind of question.

    Attributes:
        closed: why it is not answered, as a clause; None where it is.
        figures: measured in training on what was held out, such as "exact_recall@10".
    """

    closed: str | None = None
    figures: Mapping[str, float] = {}


class Doors(Document):
    """doors.json of a training and of its bundle."""

    search: Door
    pictures: Door

    @property
    def files(self) -> tuple[str, ...]:
        """What the open doors need beside doors.json."""
        return (TEXT_FILES if self.search.closed is None else ()) + (
            PICTURE_FILES if self.pictures.closed is None else ())

    @classmethod
    def load(cls, folder: Path) -> "Doors":
        """Read doors.json; both doors of a training or bundle that has none are closed.

        Raises:
            CorruptArtifact, ValueError: the file is not what `write_json` makes of this class.
        """
        if not (folder / DOORS).exists():
            return cls(search=_EARLIER, pictures=_EARLIER)
        return cls.model_validate(read_document(folder / DOORS))


_EARLIER = Door(closed="it was trained before there was such a search; retrain")


@dataclass(frozen=True)
class TextPart:
    """What typed words are answered from, beside the item vectors."""

    encoder: QueryEncoder
    vectors: Floats  # [items, S] the text block

    @classmethod
    def load(cls, folder: Path, vectors: Floats, items: int, columns: int) -> "TextPart":
        """The text search of `items` whose vectors have `columns` without the text block.

        Raises:
            CorruptArtifact, ValueError: the files do not fit one another or the items.
        """
        encoder = QueryEncoder.load(folder)
        expected = (items, encoder.text_dimension)
        if vectors.shape != expected:
            raise ValueError(f"{ITEM_TEXT} is {list(vectors.shape)} where {list(expected)} is needed")
        if encoder.width != columns + encoder.text_dimension:
            raise ValueError(f"the query encoder gives {encoder.width} columns where items have {columns} and "
                             f"{encoder.text_dimension} of text")
        return cls(encoder, vectors)


@dataclass(frozen=True)
class PicturePart:
    """What a photograph is answered from."""

    rows: npt.NDArray[np.int64]  # [pictured] of the items, ascending
    vectors: Floats  # [pictured, P]

    @classmethod
    def load(cls, folder: Path, vectors: Floats, items: int) -> "PicturePart":
        """The picture search of a catalogue of `items`.

        Raises:
            ValueError: the files do not fit one another or the items.
        """
        rows = read_array(folder / PICTURE_ROWS, np.int64, (len(vectors),))
        if not len(rows):
            raise ValueError(f"{PICTURE_ROWS} names no item, which is a search that is closed")
        if (np.diff(rows) <= 0).any() or rows[0] < 0 or rows[-1] >= items:
            raise ValueError(f"{PICTURE_ROWS} does not name rows of the {items:,} items once each, in their order")
        return cls(rows, vectors)
