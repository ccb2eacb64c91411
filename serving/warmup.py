"""The first questions to a bundle that was just opened: they fill its caches, and show whether it can answer."""

from pathlib import Path

import numpy as np

from pipelines.errors import BundleRefused
from serving.bundle import Bundle
from serving.bundle_files import Bounds, refusal
from serving.encoding import History
from serving.recommender import Recommender, Request
from serving.retriever import ExactRetriever

SLATE = 20
_DAY_US = 86_400_000_000
_NOW_US = 20_000 * _DAY_US  # any moment will do; October 2024
_SEARCHED = 10
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
    """Ask for slates for shoppers of no, few and many visits, and for similar items.

    Raises:
        BundleRefused: an answer is not whole (an item twice, one that is buried, a score that is not finite), or the
            index does not find what exact search finds.
    """
    bundle = recommender.bundle
    requests = _requests(recommender)
    slates = recommender.recommend_many(requests, SLATE)
    size = min(SLATE, bundle.num_items - len(bundle.tombstones))
    for request, slate in zip(requests, slates, strict=True):
        rows = [found.row for found in slate]
        asked = f"for a shopper of {len(request.history.item)} events"
        if len(set(rows)) != size or len(rows) != size or not set(rows) <= set(range(bundle.num_items)):
            raise refusal(bundle.path, f"it gives {len(rows)} items, {len(set(rows))} of them different, {asked} "
                                       f"where {size} are possible")
        if np.isin(rows, bundle.tombstones).any():
            raise refusal(bundle.path, f"it gives items that are buried, {asked}")
        if not np.isfinite([found.score for found in slate]).all():
            raise refusal(bundle.path, f"it gives scores that are not finite, {asked}")
    recommender.similar(int(bundle.popularity[0]), SLATE)
    if bundle.index.kind != "exact":
        recall = _recall(recommender, requests)
        if recall < LEAST_RECALL:
            raise refusal(bundle.path, f"its index finds {recall:.0%} of what exact search finds, {LEAST_RECALL:.0%} "
                                       "is the least of a sound one: its parts are of different bundles")


def _requests(recommender: Recommender) -> list[Request]:
    """Shoppers of 0, 1, 2, 4, ... visits up to more than the tower reads one by one, a best-seller each."""
    bundle, limits = recommender.bundle, recommender.bundle.limits
    lengths = [0, *(1 << power for power in range(limits.visits.bit_length())), limits.visits, limits.visits + 1]
    tokens = np.zeros(limits.user_slots, np.int32)
    requests = []
    for length in lengths:
        visit = np.arange(length)
        history = History(
            item=bundle.popularity[visit % bundle.num_items].astype(np.int32),
            time=_NOW_US - _DAY_US * (length - visit),
            type=(visit % limits.event_types).astype(np.int16), weight=np.ones(length, np.float32))
        # The last token too, so that a table that ends before it shows.
        last = np.full(limits.user_slots, max(bundle.spec["user_token_count"] - 1, 0), np.int32)
        requests += [Request(history, _NOW_US, chosen) for chosen in (tokens, last)]
    return requests


def _recall(recommender: Recommender, requests: list[Request]) -> float:
    vectors = recommender.vectors(requests)
    exact, _ = ExactRetriever(recommender.bundle.item_vectors).search(vectors, _SEARCHED)
    found, _ = recommender.retriever.search(vectors, _SEARCHED)
    return float(np.mean([np.isin(best, rows).mean() for best, rows in zip(exact, found, strict=True)]))
