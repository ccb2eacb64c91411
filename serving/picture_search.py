"""Products whose picture is like a given one."""

from pathlib import Path

import numpy as np

from pipelines.errors import BundleRefused
from serving.bundle_files import PICTURE_INDEX
from serving.doors import IMAGE_ENCODER, PicturePart
from serving.encoding import Floats
from serving.image_encoder import ImageEncoder
from serving.index_files import IndexConfig
from serving.retriever import NOTHING, Rows, open_retriever


class PictureSearch:
    """The encoder of a bundle and the vectors of its products' pictures.

    Raises:
        BundleRefused: the encoder's vectors do not fit those of the products.
    """

    def __init__(self, folder: Path, part: PicturePart, index: IndexConfig) -> None:
        """Open what a checked bundle folder holds."""
        self.rows = part.rows
        self.encoder = ImageEncoder(folder / IMAGE_ENCODER)
        self.retriever = open_retriever(folder / PICTURE_INDEX, index, part.vectors)
        if self.encoder.dimension != part.vectors.shape[1]:
            raise BundleRefused(f"bundle {folder}: its image encoder gives {self.encoder.dimension} columns where its "
                                f"products' pictures have {part.vectors.shape[1]}; retrain and promote that")

    def search(self, data: bytes, k: int, hidden: Rows) -> tuple[Rows, Floats]:
        """Rows [1, k] of the items whose pictures are most like an image file, and their cosines [1, k].

        Items without a picture are never found, nor the rows `hidden`; places that stay empty hold NOTHING.

        Raises:
            DataError: the bytes are no image that Pillow reads, or too large a one.
        """
        exclude = np.flatnonzero(np.isin(self.rows, hidden)).astype(np.int64)
        places, scores = self.retriever.search(self.encoder.from_bytes(data)[None], k, [exclude])
        return np.where(places == NOTHING, NOTHING, self.rows[places]), scores
