"""Maximal marginal relevance: a slate whose items differ (Carbonell and Goldstein, SIGIR 1998)."""

import numpy as np

from serving.encoding import Floats
from serving.retriever import Rows


def diversified(scores: Floats, vectors: Floats, k: int, diversity: float) -> Rows:
    """Positions [min(k, n)] of a slate, each the best by (1 - diversity) relevance - diversity likeness.

    Relevance is the score within the candidates' range, 0 to 1; likeness the greatest cosine with what stands above.

    Args:
        scores: [n] best first.
        vectors: [n, D] of the same items.
        k: places.
        diversity: 0 keeps the order of scores, 1 looks at likeness alone (the first place stays the best-scored).
    """
    number = len(scores)
    if not number:
        return np.zeros(0, np.int64)
    spread = float(scores[0] - scores[-1])
    relevance = (scores - scores[-1]) / spread if spread > 0 else np.ones(number, np.float32)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    chosen = [0]
    likeness = unit @ unit[0]
    left = np.ones(number, bool)
    left[0] = False
    for _ in range(min(k, number) - 1):
        worth = np.where(left, (1 - diversity) * relevance - diversity * likeness, -np.inf)
        place = int(np.argmax(worth))
        chosen.append(place)
        left[place] = False
        likeness = np.maximum(likeness, unit @ unit[place])
    return np.array(chosen, np.int64)
