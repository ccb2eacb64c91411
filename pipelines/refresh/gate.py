"""The light gate: may a refreshed bundle replace what is live? Of the model nothing is asked, for it is the same.

`verdict.json` of the folder holds every check with its figures, the first items that came, went and changed, and the
share of the list that each shopper of the panel saw replaced.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from pipelines.artifacts import seal, stage_key, write_json
from pipelines.contracts import Check, Document, Refreshed, RefreshVerdict
from pipelines.errors import BundleRefused
from pipelines.gate_rules import at_least
from pipelines.progress import log
from pipelines.refresh.asking import user_vectors
from pipelines.refresh.items import Base, Flags
from pipelines.trial import SLATE, ask, rows_of, slate_fault
from serving.bundle import Bundle
from serving.panel import NOBODY, Panel
from serving.probe import NamedRequest
from serving.release import Release
from serving.retriever import best

STAGE = "refresh-gate"
K = 10
EXAMPLES = 10
LENGTH_TOLERANCE = 1e-3  # of a vector's length, relative


class RefreshGate(Document):
    """Bounds of a refresh.

    Attributes:
        min_index_recall: recall of each index against exact search.
        max_changed: part of the items of either that came, went or have other vectors, compared with what is live.
        max_churn: mean part of the first 10 of the panel's shoppers that is other than what is live gives.
        tolerance: difference of the scores of unchanged items from the model's own, by each slate's largest score.
    """

    min_index_recall: float = Field(0.95, gt=0, le=1)
    max_changed: float = Field(0.2, ge=0, le=1)
    max_churn: float = Field(0.3, ge=0, le=1)
    tolerance: float = Field(1e-5, gt=0)


def judge(refreshed: Refreshed, base: Base, live: Release, live_bundle: Bundle, bounds: RefreshGate, root: Path
          ) -> RefreshVerdict:
    """Judge a refreshed bundle against what is live. A refusal is an answer too.

    Raises:
        BundleRefused: the refreshed bundle does not load.
        VitrineError: the process that asks it was ended from outside.
    """
    key = stage_key(STAGE, refreshed.digest, live.number, live.bundle, bounds)

    def build(out: Path) -> dict[str, Any]:
        fresh = Bundle.load(refreshed.path, refreshed.digest)
        panel = Panel.load(fresh.path)
        changes = _Changes(live_bundle, fresh)
        replaced = churn(live_bundle, fresh, panel)
        checks = [
            lengths_check(base, fresh),
            at_least(f"index_recall@{refreshed.recall_k}", refreshed.recall, bounds.min_index_recall,
                     "index against exact search"),
            *(at_least(f"{name}_index_recall@{refreshed.recall_k}", recall, bounds.min_index_recall,
                       f"index for {name} against exact search")
              for name, recall in refreshed.search_recalls.items()),
            at_most("changed_share", changes.share, bounds.max_changed,
                    f"of {changes.known:,} items {len(changes.added):,} came, {len(changes.removed):,} went and "
                    f"{len(changes.moved):,} have other vectors"),
            at_most(f"churn@{K}", float(np.mean(replaced)), bounds.max_churn,
                    f"of the first {K} of {len(replaced)} shoppers, {max(replaced):.0%} at most"),
            *golden(base, fresh, panel, bounds.tolerance),
        ]
        accepted = all(check.passed for check in checks)
        write_json(out / "verdict.json", {
            "accepted": accepted, "bundle": refreshed.digest, "live": live.number, "base": refreshed.base,
            "bounds": bounds.model_dump(), "checks": [check.model_dump() for check in checks],
            "examples": {"added": changes.added[:EXAMPLES], "removed": changes.removed[:EXAMPLES],
                         "moved": changes.moved[:EXAMPLES]},
            "replaced": replaced})
        return {"refreshed": refreshed, "parent": live.number, "accepted": accepted, "checks": tuple(checks)}

    verdict = seal(RefreshVerdict, root, STAGE, key, build)
    for check in verdict.checks:
        (log.info if check.passed else log.warning)(
            "refresh: %s %s: %s", "pass" if check.passed else "FAIL", check.name, check.reason)
    return verdict


class _Changes:
    """What a refreshed bundle has otherwise than the live one, by ids."""

    def __init__(self, live: Bundle, fresh: Bundle) -> None:
        both = [item for item in fresh.item_ids if item in live.rows]
        was, now = ([bundle.rows[item] for item in both] for bundle in (live, fresh))
        is_other = (live.item_vectors[was] != fresh.item_vectors[now]).any(axis=1)
        self.added = sorted(set(fresh.item_ids) - live.rows.keys())
        self.removed = sorted(live.rows.keys() - fresh.rows.keys())
        self.moved = sorted(item for item, other in zip(both, is_other, strict=True) if other)
        self.known = len(live.rows.keys() | fresh.rows.keys())

    @property
    def share(self) -> float:
        """Of the items of either."""
        return (len(self.added) + len(self.removed) + len(self.moved)) / self.known


def at_most(name: str, value: float, threshold: float, what: str) -> Check:
    """A check that a figure does not exceed its bound; what is not a number exceeds every one."""
    passed = bool(value <= threshold)
    reason = f"{value:.4f}, {what}" if passed else f"{value:.4f} is above {threshold:.4f}: {what}"
    return Check(name=name, passed=passed, value=value if np.isfinite(value) else None, threshold=threshold,
                 reason=reason, rule="bounds")


def lengths_check(base: Base, fresh: Bundle) -> Check:
    """Whether each member's part of every vector is of that member's length; an item that says nothing has none."""
    gains, members = np.abs(base.embedding.gains), len(base.embedding.gains)
    parts = np.linalg.norm(fresh.item_inputs.reshape(fresh.num_items, members, -1), axis=2)
    wrong = ((np.abs(parts - gains) > LENGTH_TOLERANCE * gains) & (parts > LENGTH_TOLERANCE * gains)).any(axis=1)
    # The score vectors are the same by the members' number; their last column is the prior.
    halves = np.abs(fresh.item_vectors[:, :-1] * members - fresh.item_inputs).max(axis=1, initial=0)
    wrong |= ~np.isfinite(fresh.item_vectors).all(axis=1) | (halves > LENGTH_TOLERANCE * gains.max())
    return at_most("wrong_vectors", float(wrong.sum()), 0.0,
                   f"vectors that are not finite or of another length than {', '.join(f'{g:.3f}' for g in gains)}")


def churn(live: Bundle, fresh: Bundle, panel: Panel) -> list[float]:
    """Part of each shopper's first K items that the refreshed bundle replaces, by exact search; nobody's is first."""
    asked = (NOBODY, *panel.known_to(live.rows.keys() & fresh.rows.keys()).shoppers)
    lists = [_lists(bundle, asked) for bundle in (live, fresh)]
    return [1 - len(one & other) / max(len(one), len(other)) for one, other in zip(*lists, strict=True)]


def _lists(bundle: Bundle, asked: Sequence[Any]) -> list[set[str]]:
    requests = [named.of(bundle) for named in Panel(shoppers=tuple(asked)).requests(bundle.limits.user_slots)]
    found = []
    for request, vector in zip(requests, user_vectors(bundle, requests), strict=True):
        scores = bundle.item_vectors @ vector
        scores[np.union1d(bundle.hidden, request.history.item).astype(np.int64)] = -np.inf
        rows, _ = best(scores, K)
        found.append({bundle.item_ids[row] for row in rows})
    return found


def golden(base: Base, fresh: Bundle, panel: Panel, tolerance: float) -> list[Check]:
    """The refreshed bundle in a process of its own beside the model's own files: the same scores for the same items.

    Only histories and items that the refresh left alone are compared; whole slates are looked at for all.
    """
    named = Panel(shoppers=(NOBODY, *panel.shoppers)).requests(base.bundle.limits.user_slots)
    try:
        ids, scores = ask(fresh.path, named, SLATE)
    except BundleRefused as refusal:
        return [_check("bundle_answers", None, None, False, f"{type(refusal).__name__}: {refusal}")]
    rows = rows_of(ids, np.array(fresh.item_ids, np.str_))
    fault = slate_fault(rows, scores, [one.of(fresh) for one in named], fresh.num_items, len(fresh.hidden))
    if fault is not None:
        return [_check("bundle_answers", None, None, False, fault)]
    same = _untouched(base.bundle, fresh)
    difference, compared = 0.0, 0
    vectors = user_vectors(base.bundle, [one.of(base.bundle) for one in named])
    for one, vector, slate, score in zip(named, vectors, rows, scores, strict=True):
        if not _is_untouched(one, base.bundle, fresh, same):
            continue
        kept = same[slate]
        was = [base.bundle.rows[fresh.item_ids[row]] for row in slate[kept]]
        exact = base.bundle.item_vectors[was].astype(np.float64) @ vector.astype(np.float64)
        gap = np.abs(score[kept] - exact).max(initial=0) / max(1.0, np.abs(exact).max(initial=0))
        difference, compared = max(difference, float(gap)), compared + int(kept.sum())
    return [
        _check("bundle_answers", float(len(named)), None, True, f"{len(named)} slates of {rows.shape[1]}"),
        _check("bundle_agrees", difference, tolerance, compared > 0 and difference <= tolerance,
               f"{compared} served scores of unchanged items differ from the model's own by at most {difference:.1e}"),
    ]


def _untouched(base: Bundle, fresh: Bundle) -> Flags:
    """Rows [items] of the refreshed bundle whose vectors are the base's."""
    was = np.array([base.rows.get(item, -1) for item in fresh.item_ids], np.int64)
    same: Flags = (was >= 0) & (fresh.item_vectors == base.item_vectors[was]).all(axis=1)
    return same


def _is_untouched(one: NamedRequest, base: Bundle, fresh: Bundle, same: Flags) -> bool:
    items = [str(item) for item in one.item_ids if str(item) in base.rows]
    return all(item in fresh.rows and same[fresh.rows[item]] for item in items)


def _check(name: str, value: float | None, threshold: float | None, passed: bool, reason: str) -> Check:
    return Check(name=name, passed=passed, value=value, threshold=threshold, reason=reason, rule="trial")
