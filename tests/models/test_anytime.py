"""Figures that may be looked at at any time: exact small cases, and simulations that look after every user."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from models.anytime import LIFT_PRIOR, RATE_PRIOR, compared, log_evidence, p_value, proportion, shares_p_value

LEVEL = 0.05


def test_evidence_is_the_ratio_of_likelihoods_by_hand() -> None:
    # By a uniform mixture 2 heads and 1 tail have the likelihood B(3, 2) = 1/12; a fair coin gives it 1/8.
    assert float(log_evidence(2, 1, 0.5, (1, 1))) == pytest.approx(math.log((1 / 12) / (1 / 8)))
    assert float(log_evidence(0, 0, 0.3, RATE_PRIOR)) == pytest.approx(0)
    # Ten heads: 1/11 beside 1/1024.
    assert p_value(float(log_evidence(10, 0, 0.5, (1, 1)))) == pytest.approx(11 / 1024)
    assert p_value(-3.0) == 1


def test_the_mixture_is_a_martingale() -> None:
    # The expectation over the next coin of p0 is the evidence now.
    for heads, tails, p0 in ((3, 4, 0.2), (0, 7, 0.6)):
        now = np.exp(log_evidence(heads, tails, p0, RATE_PRIOR))
        after = (p0 * np.exp(log_evidence(heads + 1, tails, p0, RATE_PRIOR))
                 + (1 - p0) * np.exp(log_evidence(heads, tails + 1, p0, RATE_PRIOR)))
        assert float(after) == pytest.approx(float(now))


@given(heads=st.integers(0, 5000), tails=st.integers(0, 5000), level=st.sampled_from([0.01, 0.05, 0.2]))
def test_an_interval_holds_what_was_seen_and_ends_where_evidence_does(heads: int, tails: int, level: float) -> None:
    low, high = proportion(heads, tails, level)
    assert 0 <= low <= heads / max(heads + tails, 1) <= high <= 1 or heads + tails == 0
    for end in (low, high):
        if 0 < end < 1:
            assert float(log_evidence(heads, tails, end, RATE_PRIOR)) == pytest.approx(math.log(1 / level), abs=1e-4)
    wider = proportion(heads, tails, level / 2)
    assert wider.low <= low and high <= wider.high


def test_more_users_narrow_an_interval() -> None:
    widths = [high - low for low, high in (proportion(n // 10, n - n // 10, LEVEL) for n in (100, 1_000, 10_000))]
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


def users(rng: np.random.Generator, runs: int, number: int, rates: tuple[float, float], share: float = 0.5):
    """Cumulative successes of the variant and of the control, and its cumulative users [runs, number]."""
    is_ours = rng.random((runs, number)) < share
    success = rng.random((runs, number)) < np.where(is_ours, rates[0], rates[1])
    return (success & is_ours).cumsum(axis=1), (success & ~is_ours).cumsum(axis=1), is_ours.cumsum(axis=1)


def ever_called(ours, theirs, share: float = 0.5) -> float:
    """Share of the runs that are called different at any look."""
    evidence = log_evidence(ours, theirs, share, (LIFT_PRIOR * share, LIFT_PRIOR * (1 - share)))
    return float((evidence.max(axis=1) > math.log(1 / LEVEL)).mean())


@pytest.mark.parametrize(("rate", "share"), [(0.02, 0.5), (0.3, 0.5), (0.1, 0.2)])
def test_two_of_a_kind_are_seldom_called_different_by_who_looks_after_every_user(rate: float, share: float) -> None:
    rng = np.random.default_rng(11)
    ours, theirs, our_users = users(rng, 600, 4_000, (rate, rate), share)
    assert ever_called(ours, theirs, share) <= LEVEL
    # The usual test, looked at as often, is wrong several times as often: the simulation can tell.
    n, m = our_users[:, 200:], np.arange(201, 4_001) - our_users[:, 200:]
    pooled = (ours + theirs)[:, 200:] / (n + m)
    z = (ours[:, 200:] / n - theirs[:, 200:] / m) / np.sqrt(np.maximum(pooled * (1 - pooled), 1e-9) * (1 / n + 1 / m))
    assert float((np.abs(z).max(axis=1) > norm.ppf(1 - LEVEL / 2)).mean()) > 3 * LEVEL


def test_a_true_difference_is_found() -> None:
    rng = np.random.default_rng(12)
    ours, theirs, _ = users(rng, 200, 20_000, (0.065, 0.05))
    assert ever_called(ours, theirs) > 0.9  # 30 % more, of 20,000 users
    small, other, _ = users(rng, 200, 20_000, (0.0505, 0.05))
    assert ever_called(small, other) < 0.2


def test_the_true_lift_and_rate_are_within_the_intervals_at_all_looks_together() -> None:
    rng = np.random.default_rng(13)
    looks = [50, 200, 1_000, 4_000]
    ours, theirs, number = users(rng, 200, 4_000, (0.12, 0.1))
    missed = wrong = 0
    for run in range(200):
        lifts = [compared(int(ours[run, n - 1]), int(theirs[run, n - 1]), 0.5, LEVEL).interval for n in looks]
        missed += any(not low <= 1.2 <= high for low, high in lifts)
        rates = [proportion(int(ours[run, n - 1]), int(number[run, n - 1] - ours[run, n - 1]), LEVEL) for n in looks]
        wrong += any(not low <= 0.12 <= high for low, high in rates)
    assert missed <= 200 * LEVEL and wrong <= 200 * LEVEL


def test_a_comparison_by_hand() -> None:
    # Three quarters of the users are ours: as many successes a user in both is a ratio of 1.
    same = compared(300, 100, 0.75, LEVEL)
    assert same.ratio == pytest.approx(1) and same.interval.low < 1 < same.interval.high and same.p_value == 1
    twice = compared(400, 200, 0.5, LEVEL)
    assert twice.ratio == 2 and twice.p_value < 1e-6
    # One look at a moment fixed beforehand would give 2 * exp(-/+ 1.96 * sqrt(1/400 + 1/200)): 1.69 to 2.37.
    assert 1 < twice.interval.low < 1.69 and 2.37 < twice.interval.high < 4
    nothing = compared(0, 0, 0.5, LEVEL)
    assert math.isnan(nothing.ratio) and nothing.interval == (0, math.inf) and nothing.p_value == 1
    # The interval leaves out no difference exactly where the p-value is below its level.
    for ours in range(100, 160, 5):
        found = compared(ours, 100, 0.5, LEVEL)
        assert (found.interval.low > 1) == (found.p_value < LEVEL)


def test_a_broken_assignment_is_found_and_a_sound_one_is_not() -> None:
    rng = np.random.default_rng(14)
    sound = (rng.random((300, 5_000)) < 0.5).cumsum(axis=1)
    refuted = 0
    for run in sound:
        refuted += any(shares_p_value([int(run[n - 1]), n - int(run[n - 1])], [0.5, 0.5]) < 0.001
                       for n in range(100, 5_001, 100))
    assert refuted <= 2
    assert shares_p_value([10_400, 9_600], [0.5, 0.5]) < 0.001
    assert shares_p_value([6_000, 3_000, 1_000], [0.6, 0.3, 0.1]) > 0.5
    assert shares_p_value([6_400, 2_600, 1_000], [0.6, 0.3, 0.1]) < 0.001
