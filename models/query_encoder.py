"""Training of text search: a query encoder distilled into the item space.

A query is a weighted sum of token vectors (serving/query_encoder.py), an item is [behaviour | prior | text]: the
vectors that serve recommendations, which stay as they are, and a text block, the sum of its words' vectors. Both
tables are trained at once by the softmax over all items on synthetic queries (models/query_sampling.py):

    loss = -log softmax(q . v)[item],  q = sum of weight_t E_t,  v_i = [b_i | p_i | sum of A_w / sqrt(|words of i|)]

E and A begin with the same random vector a word, stretched by its inverse document frequency, so that a shared word
already counts and a rare one counts more; training then takes away what such random vectors blur. Without the text
block behaviour alone has to tell products apart, which it does for kinds of products and not for words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from models.query_sampling import Batch, IsHeldOut, QuerySampler
from pipelines.errors import DataError
from pipelines.item_texts import ItemText
from pipelines.progress import Progress, log
from pipelines.search_settings import SearchSettings
from serving.encoding import Floats
from serving.query_encoder import QueryEncoder
from serving.query_text import Tokens, grams

GRAM_SHARE = 0.3  # of a word's initial length has an n-gram
_SMALL = 1e-6  # Adagrad's first squared gradient


@dataclass(frozen=True)
class FittedSearch:
    """What training leaves."""

    encoder: QueryEncoder
    text_block: Floats  # [items, S]
    losses: list[float]  # one a step

    def item_vectors(self, behaviour: Floats) -> Floats:
        """The space that queries search: [items, D + 1 + S] from `behaviour` [items, D + 1]."""
        return np.concatenate([behaviour, self.text_block], axis=1)


def fit(
    texts: Sequence[ItemText], item_vectors: Floats, settings: SearchSettings, is_held_out: IsHeldOut | None = None
) -> FittedSearch:
    """Train the query encoder and the items' text block.

    Args:
        texts: words of all items, by row.
        item_vectors: float32 [items, D + 1] as they serve recommendations; they are not changed.
        settings: of the training.
        is_held_out: (item row, words) of a query -> whether training must not see it; for measuring.

    Raises:
        DataError: texts and vectors are not of the same items, vectors are not finite, or no item has a word.
    """
    if len(texts) != len(item_vectors):
        raise DataError(f"there are texts of {len(texts)} items and vectors of {len(item_vectors)}: give both from the "
                        "same snapshot")
    if not np.isfinite(item_vectors).all():
        raise DataError(f"{int((~np.isfinite(item_vectors)).any(axis=1).sum())} of {len(item_vectors)} item vectors "
                        "are not finite: train the towers again")
    trainer = _Trainer(texts, item_vectors, settings)
    sampler = QuerySampler(texts, trainer.tokens, settings.corrupted, settings.seed, is_held_out)
    losses = []
    steps = settings.steps_of(len(texts))
    progress = Progress("search", steps, "steps")
    for step in range(steps):
        losses.append(trainer.step(sampler.batch(settings.batch), 1 - 0.99 * step / steps))
        progress.advance(note=f"loss {losses[-1]:.3f}")
    encoder = trainer.encoder()
    log.info("query encoder: %s words of %s items, loss %.3f over the last tenth", f"{len(trainer.tokens.words):,}",
             f"{len(texts):,}", float(np.mean(losses[-max(len(losses) // 10, 1) :])))
    return FittedSearch(encoder, encoder.text_block([t.words for t in texts]), losses)


class _Trainer:
    """The two tables, their Adagrad state and one step of training."""

    def __init__(self, texts: Sequence[ItemText], vectors: Floats, settings: SearchSettings) -> None:
        self.vectors, self.settings = vectors.astype(np.float32), settings
        self.rng = np.random.default_rng(settings.seed)
        sets = [sorted(set(t.words)) for t in texts]
        words = sorted({w for s in sets for w in s})
        self.tokens = Tokens({w: i for i, w in enumerate(words)},
                             self._buckets(len({g for w in words for g in grams(w)})))

        indptr = np.concatenate([[0], np.cumsum([len(s) for s in sets])])
        columns = np.array([self.tokens.words[w] for s in sets for w in s], np.int64)
        sizes = np.diff(indptr)
        weights = np.repeat(np.maximum(sizes, 1) ** -0.5, sizes).astype(np.float32)
        self.words = sparse.csr_array((weights, columns, indptr), shape=(len(sets), len(words)))
        frequency = np.bincount(columns, minlength=len(words))
        # Robertson and Zaragoza 2009, The Probabilistic Relevance Framework: the smoothed form, never negative.
        idf = np.log1p((len(sets) - frequency + 0.5) / (frequency + 0.5))
        stretch = np.sqrt(idf / max(float(idf.mean()), 1e-9)) if words else idf

        text = settings.text_dimension
        self.a = self._random(len(words), text) * stretch[:, None].astype(np.float32)
        self.e = np.zeros((self.tokens.rows, self.vectors.shape[1] + text), np.float32)
        if text:
            self.e[: len(words), -text:] = self.a
            self.e[-self.tokens.gram_buckets :, -text:] = GRAM_SHARE * self._random(self.tokens.gram_buckets, text)
        self.e_squares, self.a_squares = np.full_like(self.e, _SMALL), np.full_like(self.a, _SMALL)

    def _buckets(self, distinct: int) -> int:
        """A power of two, twice what has to find room, within bounds."""
        return int(min(max(1 << (2 * distinct - 1).bit_length(), 256), self.settings.max_buckets))

    def _random(self, rows: int, width: int) -> Floats:
        vectors = self.rng.normal(size=(rows, width)).astype(np.float32)
        norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        directions: Floats = (np.sqrt(self.settings.match) * vectors / norms).astype(np.float32)
        return directions

    def step(self, batch: Batch, rate: float) -> float:
        """One step of Adagrad at `rate` times the learning rate; returns the mean loss before it."""
        items, target = self._candidates(batch.item)
        behaviour, words = self.vectors[items], self.words[items]
        candidates = np.concatenate([behaviour, words @ self.a], axis=1)
        queries = batch.tokens @ self.e
        logits = queries @ candidates.T
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=1, keepdims=True)
        own = np.arange(len(target)), target
        loss = float(-np.log(np.maximum(logits[own], 1e-12)).mean())
        logits[own] -= 1
        logits /= len(target)

        used = np.unique(batch.tokens.indices)
        to_tokens = batch.tokens[:, used].T @ (logits @ candidates)
        rate *= self.settings.learning_rate
        if self.settings.text_dimension:
            to_words = words.T @ (logits.T @ queries[:, -self.settings.text_dimension :])
            touched = np.unique(words.indices)
            _adagrad(self.a, self.a_squares, touched, to_words[touched], rate)
        _adagrad(self.e, self.e_squares, used, to_tokens, rate)
        return loss

    def _candidates(self, own: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Rows of the softmax's items and the place of each of `own` [B] among them.

        Queries are of uniformly drawn items, so their items and further uniform draws are one uniform sample and
        need no correction.
        """
        number = len(self.vectors)
        if number <= self.settings.candidates:
            return np.arange(number), own
        drawn = self.rng.integers(number, size=max(self.settings.candidates - len(own), 0))
        items, place = np.unique(np.concatenate([own, drawn]), return_inverse=True)
        return items, place[: len(own)]

    def encoder(self) -> QueryEncoder:
        """The encoder as it will be read from its files: rounded to float16, with blocks of like length.

        Queries take the factor that items are divided by: scores stay, and an index that quantises item vectors
        does not spend its bits on the text block alone.
        """
        text = self.settings.text_dimension
        table, words = self.e.copy(), self.a
        if text:
            ours = float(np.linalg.norm(self.words @ self.a, axis=1).mean())
            behaviour = float(np.linalg.norm(self.vectors, axis=1).mean())
            factor = ours / behaviour if min(ours, behaviour) > 0 else 1.0
            table[:, -text:] *= factor
            words = words / np.float32(factor)
        return QueryEncoder(self.tokens, *(part.astype(np.float16).astype(np.float32) for part in (table, words)))


def _adagrad(table: Floats, squares: Floats, rows: npt.NDArray[np.int64], gradient: Floats, rate: float) -> None:
    """Adagrad (Duchi et al. 2011) on some rows of a table, in place."""
    summed = squares[rows] + gradient**2
    squares[rows] = summed
    table[rows] -= rate * gradient / np.sqrt(summed)
