"""Vectors of products that training did not know, or knew otherwise: the item tower as a bundle carries it.

For each member (models/item_tower.py), side by side in all tables:

    content = bag of tokens @ token table + dense features @ projection
    vector  = gain * unit(own + content)             own: the id embedding; zero for what training did not know
    prior   = own part + content . kernel + bias     the mean over the members, and what demand says

An item's own part is not stored. It follows from the item's vector and the length that this had before it was brought
to the gain: what changes in a product's features moves its vector by as much as it would have in training.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError
from scipy import sparse

from models.token_bags import TokenBags
from pipelines.artifacts import write_json
from pipelines.contracts import Document
from pipelines.errors import CorruptArtifact
from serving.encoding import Floats
from serving.item_tower_files import (
    BAG_INDPTR,
    BAG_TOKENS,
    BAG_WEIGHTS,
    CONFIG,
    DENSE,
    LENGTHS,
    PRIOR_TABLE,
    PROJECTION,
    TOKEN_TABLE,
)
from serving.strict_read import read_array, read_document

SMALLEST = 1e-8  # of a squared length, as tf.math.l2_normalize is told
_REMEDY = "it was not written by this version's training; train again"


class _Config(Document):
    """item_tower.json."""

    format: Literal[1] = 1
    gains: tuple[float, ...]  # [members] length of each one's vectors
    newcomer_prior: float  # of an item without events: its demand, and how much higher new products stand


@dataclass(frozen=True)
class ItemFeatures:
    """What the tower reads of n items."""

    bags: TokenBags
    dense: Floats  # [n, dense]

    def __len__(self) -> int:
        return len(self.dense)

    def take(self, rows: npt.NDArray[np.intp]) -> "ItemFeatures":
        """Those of `rows` [m], in that order."""
        return ItemFeatures(self.bags.take(rows), np.asarray(self.dense[rows]))

    def differ(self, other: "ItemFeatures") -> npt.NDArray[np.bool_]:
        """Which of the n items [n] have other features there."""
        lengths, theirs = np.diff(self.bags.indptr), np.diff(other.bags.indptr)
        differs: npt.NDArray[np.bool_] = (lengths != theirs) | (self.dense != other.dense).any(axis=1)
        alike = np.flatnonzero(lengths == theirs)
        own, found = self.bags.take(alike), other.bags.take(alike)
        is_other = (own.tokens != found.tokens) | (own.weights != found.weights)
        differs[np.repeat(alike, lengths[alike])[is_other]] = True
        return differs

    def save(self, folder: Path) -> None:
        """Write them under a snapshot's names into an existing folder."""
        for name, array in ((BAG_INDPTR, self.bags.indptr), (BAG_TOKENS, self.bags.tokens),
                            (BAG_WEIGHTS, self.bags.weights), (DENSE, self.dense)):
            np.save(folder / name, array, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, items: int) -> "ItemFeatures":
        """Read those of `items` items.

        Raises:
            CorruptArtifact: a file is missing, or they do not belong together.
        """
        try:
            indptr = read_array(folder / BAG_INDPTR, np.int64, (items + 1,))
            tokens = read_array(folder / BAG_TOKENS, np.int32, (None,))
            bags = TokenBags(indptr, tokens, read_array(folder / BAG_WEIGHTS, np.float32, (len(tokens),)))
            return cls(bags, read_array(folder / DENSE, np.float32, (items, None)))
        except (OSError, ValueError) as error:
            raise CorruptArtifact(f"{folder} holds no features of {items:,} items: {error}; {_REMEDY}") from error


@dataclass(frozen=True)
class Embedded:
    """n items as they serve."""

    vectors: Floats  # [n, M * D + 1]
    inputs: Floats  # [n, M * D]
    lengths: Floats  # [n, M] of each member's vector before it was brought to the gain


@dataclass(frozen=True)
class ItemEmbedding:
    """The tables of the M members, side by side."""

    gains: Floats  # [M]
    newcomer_prior: float
    tokens: Floats = field(repr=False)  # [tokens, M * D]
    projection: Floats = field(repr=False)  # [dense, M * D]
    prior: Floats = field(repr=False)  # [M * D + 1] kernel and, last, bias, of the mean over the members

    @property
    def width(self) -> int:
        """M * D."""
        return int(self.tokens.shape[1])

    def content(self, features: ItemFeatures) -> Floats:
        """What the features of n items say: [n, M * D]."""
        bags = features.bags
        table = sparse.csr_array((bags.weights, bags.tokens, bags.indptr), shape=(len(bags), len(self.tokens)))
        found: Floats = (table @ self.tokens + features.dense @ self.projection).astype(np.float32)
        return found

    def new(self, features: ItemFeatures) -> Embedded:
        """Products that training did not know."""
        content = self.content(features)
        prior = content @ self.prior[:-1] + self.prior[-1] + np.float32(self.newcomer_prior)
        return self._embedded(content, prior)

    def changed(self, before: Embedded, was: ItemFeatures, features: ItemFeatures) -> Embedded:
        """Products whose features were others, n of each: what is their own stays.

        Args:
            before: the items as they were embedded.
            was: the features of then.
            features: those of now.
        """
        step = self.content(features) - self.content(was)
        scale = (before.lengths / self.gains).astype(np.float32)
        summed: Floats = (self._by_member(before.inputs) * scale[:, :, None]).reshape(step.shape) + step
        return self._embedded(summed, before.vectors[:, -1] + (step @ self.prior[:-1]).astype(np.float32))

    def _embedded(self, summed: Floats, prior: Floats) -> Embedded:
        parts = self._by_member(summed)
        lengths = np.sqrt(np.maximum((parts**2).sum(axis=2), SMALLEST)).astype(np.float32)
        inputs = (parts / lengths[:, :, None] * self.gains[:, None]).reshape(summed.shape).astype(np.float32)
        vectors = np.concatenate([inputs / len(self.gains), prior[:, None]], axis=1).astype(np.float32)
        return Embedded(vectors, inputs, lengths)

    def _by_member(self, side_by_side: Floats) -> Floats:
        """[n, M * D] as [n, M, D]."""
        return side_by_side.reshape(len(side_by_side), len(self.gains), self.width // len(self.gains))

    def save(self, folder: Path) -> None:
        """Write item_tower.json and the three tables into an existing folder."""
        write_json(folder / CONFIG, _Config(gains=tuple(map(float, self.gains)), newcomer_prior=self.newcomer_prior))
        for name, table in ((TOKEN_TABLE, self.tokens), (PROJECTION, self.projection), (PRIOR_TABLE, self.prior)):
            np.save(folder / name, table, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> "ItemEmbedding":
        """Read what `save` wrote.

        Raises:
            CorruptArtifact: a file is missing, of another format, or the files do not belong together.
        """
        try:
            config = _Config.model_validate(read_document(folder / CONFIG))
            tokens = read_array(folder / TOKEN_TABLE, np.float32, (None, None))
            projection = read_array(folder / PROJECTION, np.float32, (None, tokens.shape[1]))
            prior = read_array(folder / PRIOR_TABLE, np.float32, (tokens.shape[1] + 1,))
        except (OSError, ValueError, ValidationError) as error:
            raise CorruptArtifact(f"{folder} holds no item tower: {error}; {_REMEDY}") from error
        if not config.gains or tokens.shape[1] % len(config.gains):
            raise CorruptArtifact(f"{folder}/{CONFIG} names {len(config.gains)} members for tables of "
                                  f"{tokens.shape[1]} columns; {_REMEDY}")
        return cls(np.array(config.gains, np.float32), config.newcomer_prior, tokens, projection, prior)


def read_lengths(folder: Path, items: int, members: int) -> Floats:
    """The lengths [items, members] beside an item tower.

    Raises:
        CorruptArtifact: there are none of these items.
    """
    try:
        found: Floats = read_array(folder / LENGTHS, np.float32, (items, members))
    except (OSError, ValueError) as error:
        raise CorruptArtifact(f"{folder} holds no lengths of {items:,} items: {error}; {_REMEDY}") from error
    return found
