"""Figures of an experiment that hold however often one looks at them.

Counts are compared by a mixture of likelihoods: of n coins that fall heads with probability p0, the ratio

    M_n = integral of L_n(p) dBeta(p; a, b) / L_n(p0) = B(a + heads, b + tails) / B(a, b) / (p0^heads (1 - p0)^tails)

is a martingale that starts at 1, so that by Ville's inequality it ever exceeds 1 / level with a probability of at most
`level`: M_n may be looked at after every coin, and the experiment stopped because of it (Robbins 1970, Statistical
Methods Related to the Law of the Iterated Logarithm; Howard, Ramdas, McAuliffe and Sekhon 2021, Time-uniform
Confidence Sequences). All is exact for any n: nothing is taken to be normal.

Two variants are compared by the coin "of which one is this success?". Where users come at random with known shares and
both variants succeed alike, it falls by the shares alone, whatever the rate of success (Lindon and Malek 2022,
Anytime-Valid Inference for Multinomial Count Data). Many failures are so left unused: for rare successes next to
nothing, at a rate of one in two half of the evidence.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import betaln, gammaln

Counts = npt.NDArray[np.integer] | npt.NDArray[np.floating] | int | float
RATE_PRIOR = (0.5, 0.5)
LIFT_PRIOR = 100.0  # heads and tails together, about no difference: most sensitive to lifts of a fifth or so
SHARE_PRIOR = 1000.0  # the same about the planned shares: to a few per cent
_EDGE = 1e-12


class Interval(NamedTuple):
    """Both ends inclusive."""

    low: float
    high: float


def log_evidence(heads: Counts, tails: Counts, p0: float, prior: tuple[float, float]) -> npt.NDArray[np.float64]:
    """log M_n against p0, for counts of any shape; above log(1 / level) p0 is refuted at that level.

    Args:
        heads, tails: counts.
        p0: within (0, 1).
        prior: a and b of the mixture.
    """
    a, b = prior
    heads, tails = np.asarray(heads, np.float64), np.asarray(tails, np.float64)
    mixture = betaln(a + heads, b + tails) - betaln(a, b)
    return np.asarray(mixture - heads * np.log(p0) - tails * np.log1p(-p0))


def p_value(evidence: float) -> float:
    """An always-valid p-value: whatever the moment one stops at, it is below x with a probability of at most x."""
    return float(min(1.0, np.exp(-evidence)))


def proportion(heads: float, tails: float, level: float, prior: tuple[float, float] = RATE_PRIOR) -> Interval:
    """The p that are not refuted at `level`: at all moments together the true one is among them, but for `level`."""
    if heads + tails == 0:
        return Interval(0.0, 1.0)
    most = float(np.log(1 / level))

    def beyond(p: float) -> float:
        return float(log_evidence(heads, tails, p, prior) - most)

    # Evidence falls towards the share that was seen, and rises from it.
    seen = min(max(heads / (heads + tails), _EDGE), 1 - _EDGE)
    low = brentq(beyond, _EDGE, seen) if heads > 0 and beyond(_EDGE) > 0 else 0.0
    high = brentq(beyond, seen, 1 - _EDGE) if tails > 0 and beyond(1 - _EDGE) > 0 else 1.0
    return Interval(float(low), float(high))


class Comparison(NamedTuple):
    """A variant beside the control: its rate is so many times the control's."""

    ratio: float  # nan where the control has no success
    interval: Interval  # of the ratio
    p_value: float


def compared(ours: int, theirs: int, our_share: float, level: float) -> Comparison:
    """Compare two variants by their successes.

    Args:
        ours, theirs: successes of the variant and of the control.
        our_share: of the variant, in the users of the two, as planned.
        level: of the interval.
    """
    prior = (LIFT_PRIOR * our_share, LIFT_PRIOR * (1 - our_share))
    heads = proportion(ours, theirs, level, prior)
    odds = (1 - our_share) / our_share
    ratio = ours / theirs * odds if theirs else float("nan")
    low, high = (share / (1 - share) * odds if share < 1 else float("inf") for share in heads)
    return Comparison(ratio, Interval(low, high), p_value(float(log_evidence(ours, theirs, our_share, prior))))


def shares_p_value(users: Sequence[int], shares: Sequence[float]) -> float:
    """An always-valid p-value for "users fell to the variants by these shares": the check of the sample ratio.

    The mixture is a Dirichlet about the shares, which of two variants is the Beta of `log_evidence`.
    """
    counts, planned = np.asarray(users, np.float64), np.asarray(shares, np.float64)
    a = SHARE_PRIOR * planned
    mixture = gammaln(a + counts).sum() - gammaln((a + counts).sum()) - gammaln(a).sum() + gammaln(a.sum())
    return p_value(float(mixture - (counts * np.log(planned)).sum()))
