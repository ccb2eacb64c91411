"""Stage: may the challenger replace what shoppers see? A verdict with its evidence, and nothing else.

A figure that is missing or not a number fails its check: what was not measured was not passed. Without a
champion there is nothing to compare with, and the absolute thresholds decide.

Files of the folder:

    verdict.json   the answer, every check with the rule that decided, and the evidence: comparisons over all and by
                   slice, how many items each shopper's lists share with the champion's, the replay
    verdict.html   the same for people, with charts
"""

from pathlib import Path
from typing import Any

import numpy as np

from pipelines.artifacts import seal, stage_key, write_json
from pipelines.contracts import Sealed, Verdict
from pipelines.evidence import K, open_evidence
from pipelines.gate_rules import GateSettings, at_least, champion_checks, comparisons, metric_checks
from pipelines.progress import log
from pipelines.releases.opening import open_store
from pipelines.replay import replay
from pipelines.settings import Settings
from pipelines.trial import trial
from pipelines.verdict_page import verdict_page

STAGE = "gate"


def gate(sealed: Sealed, settings: GateSettings, places: Settings, root: Path) -> Verdict:
    """Judge a sealed bundle. A refusal is an answer too: the caller decides what it means.

    Raises:
        CorruptArtifact: the evaluation's files are not what was sealed.
        VitrineError: the trial process was ended from outside.
    """
    from pipelines import tracking

    key = stage_key(STAGE, sealed.digest, sealed.recall, sealed.registered.evaluated.digest, settings)
    verdict = seal(Verdict, root, STAGE, key, lambda out: _build(sealed, settings, places, out))
    for check in verdict.checks:
        say = log.info if check.passed else log.warning
        say("gate: %s %s: %s", "pass" if check.passed else "FAIL", check.name, check.reason)
    log.info("gate: bundle %s %s", sealed.digest[:12], "accepted" if verdict.accepted else "REFUSED")
    tracking.verdict(verdict, places)
    return verdict


def _build(sealed: Sealed, settings: GateSettings, places: Settings, out: Path) -> dict[str, Any]:
    evaluated = sealed.registered.evaluated
    evidence = open_evidence(Path(evaluated.path), settings.resamples, settings.seed)
    checks = [
        *metric_checks(evidence.models, settings),
        *champion_checks(evidence.models, evaluated.champion, evidence.pairs, evidence.shared, settings),
        at_least(f"index_recall@{sealed.recall_k}", sealed.recall, settings.min_index_recall,
                 f"{sealed.kind} index against exact search"),
        *(at_least(f"{name}_index_recall@{sealed.recall_k}", recall, settings.min_index_recall,
                   f"index for {name} against exact search") for name, recall in sealed.search_recalls.items()),
        *trial(sealed, settings.trial_shoppers, settings.trial_tolerance),
    ]
    accepted = all(check.passed for check in checks)
    shared = evidence.shared
    replayed = None
    # A bundle that does not answer has nothing to replay with.
    if settings.replay_requests and evaluated.champion and all(c.passed for c in checks if c.rule == "trial"):
        champion = open_store(places).bundle_path(evaluated.champion)
        replayed = replay(sealed, champion, settings.replay_requests, settings.seed)
    document = {
        "accepted": accepted, "bundle": sealed.digest, "as_of": evaluated.trained.snapshot.window.as_of.isoformat(),
        "parent": evaluated.parent, "champion": evaluated.champion, "settings": settings.model_dump(mode="json"),
        "checks": [check.model_dump() for check in checks], "comparisons": comparisons(evidence.pairs, settings),
        "by_shared_items": None if shared is None else np.bincount(shared, minlength=K + 1).tolist(),
        "replay": replayed,
    }
    write_json(out / "verdict.json", document)
    (out / "verdict.html").write_text(verdict_page(document, evidence.models), encoding="utf-8")
    return {"sealed": sealed, "accepted": accepted, "checks": tuple(checks)}
