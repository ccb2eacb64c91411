"""The gate's rules: figures in, checks out, each with the rule that decided. docs/decisions/0008 says why these.

- floor: a figure against an absolute threshold.
- estimate: the challenger's figure against a baseline's. Whoever cannot beat counting is not worth the trouble, so
  that doubt counts against the challenger.
- non-inferiority: against the champion. With 95 % confidence no more is lost than the margin.
- proven loss: by slice. Refused is what chance does not explain, over all slices together.
- bounds: a figure that should be neither too low nor too high.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from models.resampling import Paired
from pipelines.contracts import Check, Document
from pipelines.evidence import CHALLENGER, CHAMPION, CHURN, COVERAGE, METRIC, K, Models

BASELINES = ("popularity", "als", "itemknn", "ease")
FLOOR, ESTIMATE, NON_INFERIORITY, PROVEN_LOSS, BOUNDS = (
    "floor", "estimate", "non-inferiority", "proven loss", "bounds")
VALUE = "="  # in a slice's name: between a column and its value


class GateSettings(Document):
    """Thresholds of a release.

    Attributes:
        min_recall: recall@10 below which no model is worth showing.
        baseline_ratio: part of each baseline's recall@10 that the challenger must reach.
        champion_tolerance: part of the champion's recall@10 whose loss is excluded, where there are events enough to
            exclude it; the measuring error, not a licence to get worse each week.
        widest_tolerance: part whose loss is excluded however few events there are. As low as `champion_tolerance`,
            the gate is equally strict on few events, and refuses most equal models there.
        error: how often, at most, a model that lost all that is tolerated may pass, and how often an equal model may
            be refused over some slice.
        power: how often an equal model shall pass; decides when events are too few for `champion_tolerance`.
        slice_tolerance: part of the recall@10 in a slice that may be lost.
        slice_tolerances: the same for one slice ("new_user", "items.category=bags") or for all of a column
            ("users.country").
        min_users: comparisons over fewer users are not judged by slice, and not passed over all: too few to resample.
        resamples, seed: of the bootstrap.
        min_coverage: share of the catalogue in anybody's first 10.
        coverage_ratio: part of the champion's coverage@10 that the challenger must reach.
        min_churn, max_churn: mean part of a shopper's first 10 that is other than the champion's. None at all means
            that nothing was learned, nearly all that something else was.
        min_index_recall: recall of the index against exact search.
        trial_shoppers: shoppers whom the bundle answers in a fresh process.
        trial_tolerance: difference of served scores from trained ones, by the slate's largest score.
        replay_requests: requests of the last day, at most, that are put to champion and challenger; 0 for none.
    """

    min_recall: float = Field(0.01, gt=0, lt=1)
    baseline_ratio: float = Field(1.0, gt=0)
    champion_tolerance: float = Field(0.05, ge=0, lt=1)
    widest_tolerance: float = Field(0.2, ge=0, lt=1)
    error: float = Field(0.05, gt=0, lt=0.5)
    power: float = Field(0.8, gt=0.5, lt=1)
    slice_tolerance: float = Field(0.1, ge=0, lt=1)
    slice_tolerances: Mapping[str, float] = {}
    min_users: int = Field(30, ge=2)
    resamples: int = Field(1000, ge=200)
    seed: int = 17
    min_coverage: float = Field(0.01, ge=0, le=1)
    coverage_ratio: float = Field(0.5, ge=0)
    min_churn: float = Field(0.001, ge=0, le=1)
    max_churn: float = Field(0.9, ge=0, le=1)
    min_index_recall: float = Field(0.95, gt=0, le=1)
    trial_shoppers: int = Field(20, ge=1)
    trial_tolerance: float = Field(1e-5, gt=0)
    replay_requests: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> "GateSettings":
        for low, high in (("champion_tolerance", "widest_tolerance"), ("min_churn", "max_churn")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} {getattr(self, low)} is above {high} {getattr(self, high)}")
        for name, tolerance in self.slice_tolerances.items():
            if not 0 <= tolerance < 1:
                raise ValueError(f"slice_tolerances.{name} is {tolerance}: give a part from 0 to below 1")
        return self

    def tolerance_of(self, name: str) -> float:
        """What a slice may lose: its own, its column's, or everybody's."""
        own = self.slice_tolerances
        return own.get(name, own.get(name.partition(VALUE)[0], self.slice_tolerance))


def metric_checks(models: Models, settings: GateSettings) -> list[Check]:
    """The challenger against absolute thresholds and against every baseline."""
    recall = figure(models, CHALLENGER, METRIC)
    checks = [at_least(METRIC, recall, settings.min_recall, "absolute floor")]
    for name in BASELINES:
        theirs = figure(models, name, METRIC)
        least = None if theirs is None else settings.baseline_ratio * theirs
        checks.append(at_least(f"{METRIC}_vs_{name}", recall, least, f"{settings.baseline_ratio:g} x {name}", ESTIMATE))
    checks.append(at_least(COVERAGE, figure(models, CHALLENGER, COVERAGE), settings.min_coverage, "absolute floor"))
    return checks


def champion_checks(
    models: Models, champion: str | None, pairs: Mapping[str, Paired], shared: npt.NDArray[np.int64] | None,
    settings: GateSettings,
) -> list[Check]:
    """The challenger against what is live: recall over all, coverage, churn, and every slice.

    Args:
        models: figures by model.
        champion: bundle digest of the live release when the challenger was judged, or None.
        pairs: model -> the challenger beside it.
        shared: items that the first K of both share [panel].
        settings: tolerances.
    """
    overall = f"{METRIC}_vs_{CHAMPION}"
    if champion is None:
        return [Check(name=overall, passed=True, value=figure(models, CHALLENGER, METRIC), threshold=None, rule=FLOOR,
                      reason="no incumbent: the absolute thresholds and the baselines alone decide")]
    if CHAMPION not in pairs:
        return [_missing(overall, None, None, NON_INFERIORITY, f"champion {champion[:12]}")]
    theirs = figure(models, CHAMPION, COVERAGE)
    least = None if theirs is None else settings.coverage_ratio * theirs
    return [
        not_inferior(overall, pairs[CHAMPION], f"champion {champion[:12]}", settings),
        at_least(f"{COVERAGE}_vs_{CHAMPION}", figure(models, CHALLENGER, COVERAGE), least,
                 f"{settings.coverage_ratio:g} x champion", BOUNDS),
        churn_check(shared, settings),
        *slice_checks(pairs[CHAMPION], CHAMPION, settings),
    ]


def not_inferior(name: str, pair: Paired, against: str, settings: GateSettings) -> Check:
    """Passes where, at confidence 1 - `error`, no more than the margin of `against` is lost.

    The margin is `champion_tolerance`; where that few events could not show it even of an equal model, the least
    that they can show with `power` (the sum of both normal quantiles in standard errors of the difference), and
    never more than `widest_tolerance`. The value is the lower bound of ours / theirs, the threshold 1 - margin.
    """
    ours, theirs, events = float(pair.ours[0]), float(pair.theirs[0]), int(pair.events[0])
    if pair.users[0] < settings.min_users:
        return Check(name=name, passed=False, value=None, threshold=None, rule=NON_INFERIORITY,
                     reason=f"{events:,} events of {pair.users[0]} users are too few to judge by ({settings.min_users} "
                            "users are needed): evaluate a longer test window (features.test_share)")
    if theirs == 0:
        return Check(name=name, passed=True, value=ours, threshold=0.0, rule=ESTIMATE,
                     reason=f"{against} finds none of {events:,} answers: there is nothing to lose")
    normal = NormalDist()
    quantiles = normal.inv_cdf(1 - settings.error) + normal.inv_cdf(settings.power)
    shown = quantiles * float(pair.differences(0).std()) / theirs
    margin = min(max(settings.champion_tolerance, shown), settings.widest_tolerance)
    bound = float(np.quantile(pair.ratios(), settings.error, method="lower"))
    passed = bound >= 1 - margin
    reason = (f"{ours:.4f} to {theirs:.4f} of {against} on the same {events:,} events: with {1 - settings.error:.0%} "
              f"confidence at least {bound:.3f} of it, {1 - margin:.3f} is asked for")
    if margin > settings.champion_tolerance:
        needed = (f", {events * (shown / settings.champion_tolerance) ** 2:,.0f} events would show "
                  f"{settings.champion_tolerance:.0%}" if settings.champion_tolerance else "")
        reason += f" (so few events show a loss of {margin:.1%} at best{needed})"
    return Check(name=name, passed=passed, value=bound, threshold=1 - margin, reason=reason, rule=NON_INFERIORITY)


def slice_checks(pair: Paired, against: str, settings: GateSettings) -> list[Check]:
    """A check a slice of `min_users` users or more: it fails where the loss beyond its tolerance is no chance.

    Many slices give many chances to look bad. How far below its tolerance a slice may come out is therefore read
    from the worst slice of each resample (the single-step max-T of Westfall and Young 1993, which knows how slices
    overlap): an equal model is refused over any slice of a family at most `error` / 2 times. There are two families, so
    that dozens of columns' values do not blunt the few slices of cold start and tail.
    """
    checks: list[Check] = []
    for parts in _families(pair, settings):
        tolerance = np.array([settings.tolerance_of(pair.names[part]) for part in parts])
        short = pair.shortfalls(parts, tolerance)
        worst = float(np.quantile(short.around.min(axis=1), settings.error / 2, method="lower"))
        for part, allowed, mean, chance in zip(parts, tolerance, short.mean, worst * short.error, strict=True):
            ours, theirs = float(pair.ours[part]), float(pair.theirs[part])
            passed = bool(mean >= chance)
            reason = (f"{ours:.4f} to {theirs:.4f} of the {against} on {pair.events[part]:,} events of "
                      f"{pair.users[part]:,} users")
            if mean < 0:
                reason += (f": {-mean:.4f} below {1 - allowed:g} x {against}, where chance explains {-chance:.4f}")
            checks.append(Check(name=f"slice_{pair.names[part]}_vs_{against}", passed=passed, value=ours,
                                threshold=max((1 - allowed) * theirs + float(chance), 0.0), reason=reason,
                                rule=PROVEN_LOSS))
    return sorted(checks, key=lambda check: check.name)


def _families(pair: Paired, settings: GateSettings) -> list[npt.NDArray[np.int64]]:
    """Slices that are judged: first those of cold start and tail, then those of columns' values."""
    judged = [n for n in range(1, len(pair.names)) if pair.users[n] >= settings.min_users]
    families = ([n for n in judged if VALUE not in pair.names[n]], [n for n in judged if VALUE in pair.names[n]])
    return [np.array(family) for family in families if family]


def churn_check(shared: npt.NDArray[np.int64] | None, settings: GateSettings) -> Check:
    """How much of the lists would change; both too much and nothing at all are named."""
    low, high = settings.min_churn, settings.max_churn
    if shared is None or not len(shared):
        return _missing(CHURN, None, None, BOUNDS, "the lists of the champion")
    churn = 1 - float(shared.mean()) / K
    said = f"{churn:.3f} of the first {K} of {len(shared):,} shoppers would change"
    if churn < low:
        return Check(name=CHURN, passed=False, value=churn, threshold=low, rule=BOUNDS,
                     reason=f"{said}, less than {low:g}: did the new events reach the training?")
    if churn > high:
        return Check(name=CHURN, passed=False, value=churn, threshold=high, rule=BOUNDS,
                     reason=f"{said}, more than {high:g}: see that ids, source and settings are those of the live "
                            "release, and raise gate.max_churn where the change is meant")
    return Check(name=CHURN, passed=True, value=churn, threshold=high, rule=BOUNDS,
                 reason=f"{said}, between {low:g} and {high:g}")


def at_least(name: str, value: float | None, threshold: float | None, against: str, rule: str = FLOOR) -> Check:
    """A check that passes where `value` >= `threshold`, and fails where either is missing.

    Args:
        name: of the check.
        value: what was measured; None where it was not, or is not a number.
        threshold: None where what it is made of was not measured.
        against: what the threshold is, for people.
        rule: what decides.
    """
    if value is None or threshold is None:
        return _missing(name, value, threshold, rule, against)
    passed = value >= threshold
    reason = f"{value:.4f} is {'at least' if passed else 'below'} {threshold:.4f} ({against})"
    return Check(name=name, passed=passed, value=value, threshold=threshold, reason=reason, rule=rule)


def _missing(name: str, value: float | None, threshold: float | None, rule: str, against: str) -> Check:
    missing = "the challenger's figure" if value is None and threshold is not None else "the figure to compare with"
    return Check(name=name, passed=False, value=value, threshold=threshold, rule=rule,
                 reason=f"{missing} is missing or not finite ({against}): evaluate again")


def figure(models: Models, model: str, metric: str) -> float | None:
    """A model's metric; None where it is missing or not finite."""
    value = models.get(model, {}).get("metrics", {}).get(metric)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def comparisons(pairs: Mapping[str, Paired], settings: GateSettings) -> list[dict[str, Any]]:
    """The evidence beside each other model, over all and by slice, as it stands in verdict.json.

    `low` and `high` bound the difference (ours - theirs): with 95 % confidence over all events, and for slices with
    95 % confidence in all of one family at once.
    """
    found: list[dict[str, Any]] = []
    for model, pair in pairs.items():
        widths = {0: None} | {int(part): width for family in _families(pair, settings)
                              for part, width in zip(family, _widths(pair, family, settings), strict=True)}
        for part, name in enumerate(pair.names):
            if not pair.events[part]:
                continue
            ours, theirs = float(pair.ours[part]), float(pair.theirs[part])
            low = high = None
            if part == 0:
                tail = 100 * settings.error / 2
                low, high = (float(v) for v in np.percentile(pair.differences(0), [tail, 100 - tail]))
            elif part in widths:
                low, high = ours - theirs - float(widths[part] or 0), ours - theirs + float(widths[part] or 0)
            found.append({"against": model, "part": name, "events": int(pair.events[part]),
                          "users": int(pair.users[part]), "ours": ours, "theirs": theirs, "low": low, "high": high,
                          "tolerance": settings.champion_tolerance if part == 0 else settings.tolerance_of(name)})
    return found


def _widths(pair: Paired, parts: npt.NDArray[np.int64], settings: GateSettings) -> Sequence[float]:
    """Half widths [parts] of the differences' bands that hold for all `parts` at once."""
    drawn = np.stack([pair.differences(part) for part in parts], axis=1)
    error = drawn.std(axis=0)
    away = np.abs(drawn - (pair.ours - pair.theirs)[parts])
    z = np.divide(away, error, out=np.zeros_like(away), where=error > 0)
    return list(np.quantile(z.max(axis=1), 1 - settings.error) * error)
