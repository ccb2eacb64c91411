"""Stage: may the challenger replace what shoppers see? A verdict with its evidence, and nothing else.

A figure that is missing or not a number fails its check: what was not measured was not passed. Without a
champion there is nothing to compare with, and the absolute thresholds decide.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from pipelines.artifacts import read_json, seal, stage_key, verify, write_json
from pipelines.contracts import Check, Document, Sealed, Verdict
from pipelines.progress import log
from pipelines.settings import Settings
from pipelines.trial import trial
from pipelines.verdict_page import verdict_page

STAGE = "gate"
METRIC, COVERAGE = "recall@10", "coverage@10"
CHALLENGER, CHAMPION = "two_tower", "champion"
BASELINES = ("popularity", "als", "itemknn", "ease")

Models = Mapping[str, Mapping[str, Any]]  # metrics.json of the evaluate stage: model -> metrics, slices, intervals


class GateSettings(Document):
    """Thresholds of a release.

    Attributes:
        min_recall: recall@10 below which no model is worth showing.
        baseline_ratio: part of each baseline's recall@10 that the challenger must reach.
        champion_tolerance: part of the champion's recall@10 that may be lost on the same events; the
            measuring error of a few thousand events, not a licence to get worse each week.
        slice_tolerance: part of the champion's recall@10 that may be lost in a slice.
        slice_min_events: slices of fewer evaluated events are too noisy to judge.
        min_coverage: share of the catalogue in anybody's first 10.
        min_index_recall: recall of the index against exact search.
        trial_histories: shoppers whom the bundle answers in a fresh process.
        trial_tolerance: difference of served scores from trained ones, by the slate's largest score.
    """

    min_recall: float = Field(0.01, gt=0, lt=1)
    baseline_ratio: float = Field(1.0, gt=0)
    champion_tolerance: float = Field(0.05, ge=0, lt=1)
    slice_tolerance: float = Field(0.3, ge=0, lt=1)
    slice_min_events: int = Field(200, ge=1)
    min_coverage: float = Field(0.01, ge=0, le=1)
    min_index_recall: float = Field(0.95, gt=0, le=1)
    trial_histories: int = Field(20, ge=1)
    trial_tolerance: float = Field(1e-5, gt=0)


def gate(sealed: Sealed, settings: GateSettings, places: Settings, root: Path) -> Verdict:
    """Judge a sealed bundle. A refusal is an answer too: the caller decides what it means.

    Raises:
        CorruptArtifact: the evaluation's files are not what was sealed.
        VitrineError: the trial process was ended from outside.
    """
    from pipelines import tracking

    key = stage_key(STAGE, sealed.digest, sealed.recall, sealed.registered.evaluated.digest, settings)
    verdict = seal(Verdict, root, STAGE, key, lambda out: _build(sealed, settings, out))
    for check in verdict.checks:
        say = log.info if check.passed else log.warning
        say("gate: %s %s: %s", "pass" if check.passed else "FAIL", check.name, check.reason)
    log.info("gate: bundle %s %s", sealed.digest[:12], "accepted" if verdict.accepted else "REFUSED")
    tracking.verdict(verdict, places)
    return verdict


def _build(sealed: Sealed, settings: GateSettings, out: Path) -> dict[str, Any]:
    evaluated = sealed.registered.evaluated
    verify(Path(evaluated.path))
    models: Models = read_json(Path(evaluated.path) / "metrics.json")
    checks = [
        *metric_checks(models, settings),
        *champion_checks(models, evaluated.champion, settings),
        at_least(f"index_recall@{sealed.recall_k}", sealed.recall, settings.min_index_recall,
                 f"{sealed.kind} index against exact search"),
        *(at_least(f"{name}_index_recall@{sealed.recall_k}", recall, settings.min_index_recall,
                   f"index for {name} against exact search") for name, recall in sealed.search_recalls.items()),
        *trial(sealed, settings.trial_histories, settings.trial_tolerance),
    ]
    accepted = all(check.passed for check in checks)
    document = {
        "accepted": accepted, "bundle": sealed.digest, "as_of": evaluated.trained.snapshot.window.as_of.isoformat(),
        "parent": evaluated.parent, "champion": evaluated.champion, "settings": settings.model_dump(),
        "checks": [check.model_dump() for check in checks],
    }
    write_json(out / "verdict.json", document)
    (out / "verdict.html").write_text(verdict_page(document, models, CHALLENGER, METRIC), encoding="utf-8")
    return {"sealed": sealed, "accepted": accepted, "checks": tuple(checks)}


def metric_checks(models: Models, settings: GateSettings) -> list[Check]:
    """The challenger against absolute thresholds and against every baseline."""
    recall = figure(models, CHALLENGER, METRIC)
    checks = [at_least(METRIC, recall, settings.min_recall, "absolute floor")]
    for name in BASELINES:
        theirs = figure(models, name, METRIC)
        least = None if theirs is None else settings.baseline_ratio * theirs
        checks.append(at_least(f"{METRIC}_vs_{name}", recall, least, f"{settings.baseline_ratio:g} x {name}"))
    checks.append(at_least(COVERAGE, figure(models, CHALLENGER, COVERAGE), settings.min_coverage, "absolute floor"))
    return checks


def champion_checks(models: Models, champion: str | None, settings: GateSettings) -> list[Check]:
    """The challenger against the champion on the same events, over all and by slice.

    Args:
        models: figures by model.
        champion: bundle digest of the live release when the challenger was judged, or None.
        settings: tolerances.
    """
    overall = f"{METRIC}_vs_{CHAMPION}"
    if champion is None:
        return [Check(name=overall, passed=True, value=figure(models, CHALLENGER, METRIC), threshold=None,
                      reason="no incumbent: the absolute thresholds alone decide")]
    theirs = figure(models, CHAMPION, METRIC)
    kept = 1 - settings.champion_tolerance
    checks = [at_least(overall, figure(models, CHALLENGER, METRIC), None if theirs is None else kept * theirs,
                       f"{kept:g} x champion {champion[:12]} on the same events")]
    kept = 1 - settings.slice_tolerance
    for name, cell in sorted(models.get(CHAMPION, {}).get("slices", {}).items()):
        if cell["events"] < settings.slice_min_events:
            continue
        ours = models.get(CHALLENGER, {}).get("slices", {}).get(name, {})
        before = _number(cell.get(METRIC))
        checks.append(at_least(f"slice_{name}_vs_{CHAMPION}", _number(ours.get(METRIC)),
                               None if before is None else kept * before,
                               f"{kept:g} x champion in {cell['events']:,} events"))
    return checks


def at_least(name: str, value: float | None, threshold: float | None, against: str) -> Check:
    """A check that passes where `value` >= `threshold`, and fails where either is missing.

    Args:
        name: of the check.
        value: what was measured; None where it was not, or is not a number.
        threshold: None where what it is made of was not measured.
        against: what the threshold is, for people.
    """
    if value is None or threshold is None:
        missing = "the challenger's figure" if value is None else "the figure to compare with"
        reason = f"{missing} is missing or not finite ({against}): evaluate again"
        return Check(name=name, passed=False, value=value, threshold=threshold, reason=reason)
    passed = value >= threshold
    reason = f"{value:.4f} is {'at least' if passed else 'below'} {threshold:.4f} ({against})"
    return Check(name=name, passed=passed, value=value, threshold=threshold, reason=reason)


def figure(models: Models, model: str, metric: str) -> float | None:
    """A model's metric; None where it is missing or not finite."""
    return _number(models.get(model, {}).get("metrics", {}).get(metric))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
