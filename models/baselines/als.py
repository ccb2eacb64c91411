"""Matrix factorisation by alternating least squares, with the user folded in from the whole context.

Hu, Koren and Volinsky 2008: an interaction has confidence alpha, everything else 1. The items' factors
come from `implicit`; a query's user vector is the same least-squares solution for its context, so that
what a user did after training counts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from implicit.als import AlternatingLeastSquares
from scipy import sparse
from threadpoolctl import threadpool_limits

from models.baselines.interactions import buyers, positives, purchases
from models.baselines.tuning import best, valid_queries
from models.ranking import Floats
from pipelines.progress import log
from pipelines.snapshot import Queries, SnapshotData

ALPHAS = (1.0, 5.0, 20.0)
REGULARISATIONS = (10.0, 0.1, 50.0)  # the first is where alpha is chosen
FACTORS = (64, 256)
STEPS = 100  # of conjugate gradients; a context of n items needs n + 1 at most, and far fewer in practice
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Als:
    """Item factors, and what solves for a user."""

    factors: int
    alpha: float
    regularisation: float
    items: Floats = field(repr=False)  # [items, factors]
    gram: Floats = field(repr=False)  # [factors, factors] items^T items + regularisation
    inverse: Floats = field(repr=False)  # of `gram`
    popularity: Floats = field(repr=False)  # [items]
    name: str = "als"

    def refit(self, data: SnapshotData) -> "Als":
        """With the same parameters, on the train events of `data`."""
        return fit(data, self.factors, self.alpha, self.regularisation)

    def scores(self, data: SnapshotData, queries: Queries) -> Floats:
        """Scores [queries, items]; popularity where the context has no item that training saw."""
        owner, item = positives(data, queries)
        context = sparse.csr_array((np.ones(len(owner), np.float32), (owner, item)),
                                   shape=(len(queries), data.num_items))
        context.sum_duplicates()
        context.data[:] = 1
        users = self.fold_in(context)
        is_known = users.any(axis=1, keepdims=True)
        return np.where(is_known, users @ self.items.T, self.popularity)

    def fold_in(self, context: sparse.csr_array) -> Floats:
        """User vectors [queries, factors] of binary contexts [queries, items].

        Solves (gram + (alpha - 1) C^T C) x = alpha C^T 1, C being the context's item factors, by
        conjugate gradients for all queries at once (preconditioned with the inverse of `gram`): work
        and memory grow with the contexts, not with factors^2 a query.
        """
        owner = np.repeat(np.arange(context.shape[0]), np.diff(context.indptr))
        factors = self.items[context.indices]

        def apply(x: Floats) -> Floats:
            seen = (self.alpha - 1) * np.einsum("nf,nf->n", factors, x[owner])
            outer = sparse.csr_array((seen, context.indices, context.indptr), context.shape)
            return np.asarray(x @ self.gram + outer @ self.items)

        rest: Floats = (self.alpha * (context @ self.items)).astype(np.float32)
        goal = TOLERANCE * np.linalg.norm(rest, axis=1)
        x: Floats = np.zeros_like(rest)
        step = guess = rest @ self.inverse
        energy = np.einsum("qf,qf->q", rest, guess)
        for _ in range(STEPS):
            applied = apply(step)
            length = energy / np.maximum(np.einsum("qf,qf->q", step, applied), 1e-30)
            x += length[:, None] * step
            rest = rest - length[:, None] * applied
            if (np.linalg.norm(rest, axis=1) <= goal).all():
                break
            guess = rest @ self.inverse
            energy, before = np.einsum("qf,qf->q", rest, guess), energy
            step = guess + (energy / np.maximum(before, 1e-30))[:, None] * step
        return x


def fit(
    data: SnapshotData, factors: int = 64, alpha: float = 5.0, regularisation: float = 0.1, *,
    iterations: int = 15, seed: int = 0,
) -> Als:
    """Factorise the train events.

    Args:
        alpha: confidence in an interaction; in its absence it is 1.
        regularisation: of the factors' squared length.
        iterations: alternations.
        seed: of the first factors.
    """
    log.debug("als: fitting %s factors, alpha %g, regularisation %g", factors, alpha, regularisation)
    # implicit runs threads of its own: BLAS threads beside them make it several times slower.
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(factors=factors, alpha=alpha, regularization=regularisation,
                                        iterations=iterations, random_state=seed, use_gpu=False)
        model.fit(sparse.csr_matrix(purchases(data)), show_progress=False)
    items = np.asarray(model.item_factors, np.float32)
    gram = items.T @ items + regularisation * np.eye(factors, dtype=np.float32)
    inverse = np.linalg.inv(gram.astype(np.float64)).astype(np.float32)
    return Als(factors, alpha, regularisation, items, gram, inverse, buyers(data))


def tuned(
    data: SnapshotData, alphas: Sequence[float] = ALPHAS, regularisations: Sequence[float] = REGULARISATIONS,
    factors: Sequence[int] = FACTORS,
) -> Als:
    """The best recall@10 on valid queries, one parameter after the other, the first value of each to start with.

    First alpha, then regularisation, then factors: a full grid costs several times as much and finds
    figures within the noise of these.
    """
    queries = valid_queries(data)
    chosen = best((fit(data, factors[0], a, regularisations[0]) for a in alphas), data, queries)
    for parameter, values in (("regularisation", regularisations), ("factors", factors)):
        chosen = best(_others(data, chosen, parameter, values[1:]), data, queries)
    return chosen


def _others(data: SnapshotData, chosen: Als, parameter: str, values: Sequence[float]) -> Iterator[Als]:
    yield chosen
    hyper = {name: getattr(chosen, name) for name in ("factors", "alpha", "regularisation")}
    yield from (fit(data, **{**hyper, parameter: value}) for value in values)
