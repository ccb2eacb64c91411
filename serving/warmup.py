"""The first questions to a bundle that was just opened: they fill its caches, and show whether it can answer."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from pipelines.errors import BundleRefused
from serving.bundle import Bundle
from serving.bundle_files import INDEX, PICTURE_INDEX, TEXT_INDEX, Bounds, refusal
from serving.encoding import Floats, History
from serving.pictures import SHAPE
from serving.recommender import Recommender, Request
from serving.retriever import ExactRetriever, Retriever

SLATE = 20
_DAY_US = 86_400_000_000
_NOW_US = 20_000 * _DAY_US  # any moment will do; October 2024
_SEARCHED = 10
_TIED = 1e-5  # float32 products of one pair differ by this much between summation orders
# A sound index finds nearly all of what exact search finds, one put together from two bundles 0 to 26 %.
LEAST_RECALL = 0.5


def open_bundle(folder: Path, digest: str, bounds: Bounds) -> Recommender:
    """Check a bundle, open it and ask it its first questions.

    Raises:
        BundleRefused: something about the bundle is wrong; opening it again cannot help.
        CorruptArtifact: somebody wrote to its folder meanwhile.
        OSError, MemoryError, ImportError: this machine could not, whatever the bundle is.
    """
    try:
        recommender = Recommender(Bundle.load(folder, digest, bounds))
        warm_up(recommender)
    except (BundleRefused, OSError, MemoryError, ImportError):
        raise
    except Exception as error:
        # What LiteRT and ScaNN make of contents that passed all checks has no family of exceptions.
        raise refusal(folder, f"it cannot be opened and asked: {type(error).__name__}: {str(error)[:1000]}") from error
    recommender.bundle.require_unchanged()
    return recommender


def warm_up(recommender: Recommender) -> None:
    """Ask for slates for shoppers of no, few and many visits, and what else the bundle answers.

    Raises:
        BundleRefused: an answer is not whole (an item twice or one that must not be shown, a score that is not
            finite), or an index does not find what exact search finds.
    """
    bundle = recommender.bundle
    requests = _requests(recommender)
    slates = recommender.recommend_many(requests, SLATE)
    size = min(SLATE, bundle.num_items - len(bundle.hidden))
    for request, slate in zip(requests, slates, strict=True):
        rows = [found.row for found in slate]
        asked = f"for a shopper of {len(request.history.item)} events"
        if len(set(rows)) != size or len(rows) != size or not all(0 <= row < bundle.num_items for row in rows):
            raise refusal(bundle.path, f"it gives {len(rows)} items, {len(set(rows))} of them different, {asked} "
                                       f"where {size} are possible")
        if np.isin(rows, bundle.hidden).any():
            raise refusal(bundle.path, f"it gives items that are buried or unavailable, {asked}")
        if not np.isfinite([found.score for found in slate]).all():
            raise refusal(bundle.path, f"it gives scores that are not finite, {asked}")
    seller = int(bundle.popularity[0])
    recommender.similar(seller, SLATE)
    recommender.basket([seller], SLATE)
    for name, retriever, exact, vectors in _searches(recommender, requests):
        recall = _recall(retriever, exact, vectors)
        if recall < LEAST_RECALL:
            raise refusal(bundle.path, f"its {name} finds {recall:.0%} of what exact search finds, {LEAST_RECALL:.0%} "
                                       "is the least of a sound one: its parts are of different bundles")


def _requests(recommender: Recommender) -> list[Request]:
    """Shoppers of 0, 1, 2, 4, ... visits up to more than the tower reads one by one, a best-seller each."""
    bundle, limits = recommender.bundle, recommender.bundle.limits
    lengths = [0, *(1 << power for power in range(limits.visits.bit_length())), limits.visits, limits.visits + 1]
    # The last token too, so that a table that ends before it shows.
    tokens = [np.full(limits.user_slots, token, np.int32)
              for token in (0, max(bundle.spec["user_token_count"] - 1, 0))]
    requests = []
    for length in lengths:
        visit = np.arange(length)
        history = History(
            item=bundle.popularity[visit % bundle.num_items].astype(np.int32),
            time=_NOW_US - _DAY_US * (length - visit),
            type=(visit % limits.event_types).astype(np.int16), weight=np.ones(length, np.float32))
        requests += [Request(history, _NOW_US, chosen) for chosen in tokens]
    return requests


def _searches(
    recommender: Recommender, requests: list[Request]
) -> Iterator[tuple[str, Retriever, ExactRetriever, Floats]]:
    """Each index with the exact search of the same vectors, and queries [queries, D] for both."""
    bundle = recommender.bundle
    yield INDEX, recommender.retriever, ExactRetriever(bundle.item_vectors), recommender.vectors(requests)
    if bundle.text is not None and recommender.text_retriever is not None:
        words = list(islice(bundle.text.encoder.tokens.words, len(requests))) or ["a"]
        asked = np.stack([bundle.text.encoder.vector(word) for word in words])
        yield TEXT_INDEX, recommender.text_retriever, ExactRetriever(bundle.item_vectors, bundle.text.vectors), asked
    if bundle.pictures is not None and recommender.pictures is not None:
        vectors = bundle.pictures.vectors
        yield PICTURE_INDEX, recommender.pictures.retriever, ExactRetriever(vectors), vectors[: len(requests)]
        blank = np.full((1, *SHAPE), 255, np.uint8)
        if not np.isfinite(recommender.pictures.encoder.vectors(blank)).all():
            raise refusal(bundle.path, "its image encoder gives a vector of a blank picture that is not finite")


def _recall(retriever: Retriever, exact: ExactRetriever, vectors: Floats) -> float:
    """Share of the best items that `retriever` finds; what ties with the last of them counts as found."""
    _, best = exact.search(vectors, _SEARCHED)
    _, found = retriever.search(vectors, _SEARCHED)
    # Scores are exact in both, so that a list of as good ones is as good a list.
    return float(np.mean(found >= best[:, -1:] - _TIED * np.abs(best[:, -1:]) if best.size else True))
