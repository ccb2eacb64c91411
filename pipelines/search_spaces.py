"""What is searched in a bundle, and with which questions each index is tuned: shoppers, typed words, pictures."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.artifacts import read_json
from pipelines.contracts import Trained
from pipelines.requests import requests_at_end, user_vectors
from serving.bundle_files import INDEX, ITEM_VECTORS, PICTURE_INDEX, TEXT_INDEX
from serving.doors import ITEM_TEXT, PICTURE_VECTORS, SEARCH_QUERIES, Doors
from serving.encoding import Floats
from serving.query_encoder import QueryEncoder

SHOPPERS, WORDS, PICTURES = "shoppers", "words", "pictures"


@dataclass(frozen=True)
class Space:
    """Vectors of a bundle that are searched together."""

    asked_by: str  # SHOPPERS, WORDS or PICTURES
    folder: str  # of the index
    files: tuple[str, ...]  # of float32 [items, ...] each, whose columns stand side by side
    queries: Floats  # [queries, D]

    def blocks(self, bundle: Path) -> list[Floats]:
        """The vectors, one array a file."""
        return [np.load(bundle / name, allow_pickle=False) for name in self.files]


def spaces(trained: Trained, bundle: Path, queries: int) -> Iterator[Space]:
    """The spaces of a bundle in the making, that of shoppers first, each with at most so many queries.

    Words are asked with what training held out; pictures with those of the products, since a shop has no others.
    """
    yield Space(SHOPPERS, INDEX, (ITEM_VECTORS,), user_vectors(trained, requests_at_end(trained, queries)))
    doors = Doors.load(bundle)
    if doors.search.closed is None:
        encoder, held_out = QueryEncoder.load(bundle), read_json(Path(trained.path) / SEARCH_QUERIES)
        typed = [encoder.vector(query["typed"]) for query in held_out[:: _step(len(held_out), queries)]]
        yield Space(WORDS, TEXT_INDEX, (ITEM_VECTORS, ITEM_TEXT), np.stack(typed))
    if doors.pictures.closed is None:
        shown = np.load(bundle / PICTURE_VECTORS, allow_pickle=False)
        yield Space(PICTURES, PICTURE_INDEX, (PICTURE_VECTORS,), shown[:: _step(len(shown), queries)])


def _step(number: int, most: int) -> int:
    """How many to go on by from one to the next, so that at most so many are taken."""
    return -(-number // most)
