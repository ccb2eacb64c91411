"""A sealed bundle's trial: does it load and answer in a fresh process, as it was trained to?

The shoppers of the trial are golden queries. Offline they are the snapshot's rows and tokens, through the training's
own files; to the bundle they are ids and names, as a shop would ask, through everything that serves. A bundle whose
items stand in another order than its vectors agrees with itself, and not with this.
"""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from models.bundle_scorer import user_tokens
from pipelines import columns as c
from pipelines.contracts import Check, Sealed, Snapshot
from pipelines.errors import BundleRefused, VitrineError
from pipelines.requests import item_ids, shoppers_at_end, user_vectors, users_table
from pipelines.snapshot import SnapshotData
from serving.bundle import Bundle
from serving.encoding import Floats
from serving.probe import REFUSED, NamedRequest, load_answers, save_requests
from serving.recommender import Request, empty_history
from serving.retriever import Rows

ANSWERS, AGREES, UNAVAILABLE = "bundle_answers", "bundle_agrees", "unavailable_shown"
RULE = "trial"
SLATE = 20
TIMEOUT_S = 600
UNKNOWN = -1  # row of an id that the snapshot does not have
# How a process dies by its own fault, or the bundle's; any other signal came from outside.
_OWN_FAULT = {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV}


def trial(sealed: Sealed, shoppers: int, tolerance: float) -> list[Check]:
    """Ask the bundle for a slate in a fresh process, for nobody and for `shoppers` shoppers.

    Returns:
        `bundle_answers`: it loads, and answers with whole slates of different items and finite scores;
        `bundle_agrees`: its scores are those of the training's own files, to `tolerance` of the slate's
        largest score (or of 1); `unavailable_shown`, where the shop says what is available: share of the slates'
        items that are not, by the shop's own table.

    Raises:
        VitrineError: the process was ended from outside, or failed for a reason that is not the bundle's.
    """
    trained = sealed.registered.evaluated.trained
    data = SnapshotData.load(trained.snapshot.path)
    asked = shoppers_at_end(trained, data, shoppers)
    known = asked.requests(data)
    requests = [Request(empty_history(), known[0].now_us, np.zeros_like(known[0].user_tokens)), *known]
    try:
        bundle = Bundle.load(sealed.path, sealed.digest)
        tokens = user_tokens(bundle, data, users_table(trained.snapshot))
        nothing = np.zeros(0, np.str_), np.zeros(0, np.int64), np.zeros(0, np.str_), np.zeros(0, np.float32)
        nobody = NamedRequest(*nothing, requests[0].now_us, np.zeros_like(tokens[0]))
        ids, scores = ask(Path(sealed.path), [nobody, *asked.named(data, tokens)], SLATE)
    except BundleRefused as refusal:
        return _failed(f"{type(refusal).__name__}: {refusal}", "there are no answers to compare", tolerance)
    own_ids = item_ids(data)
    rows = rows_of(ids, own_ids)
    item_vectors = np.load(Path(trained.path) / "item_vectors.npy", mmap_mode="r", allow_pickle=False)
    unavailable = unavailable_rows(trained.snapshot, own_ids)
    fault = slate_fault(rows, scores, requests, len(item_vectors), len(bundle.hidden))
    if fault is not None:
        return _failed(fault, "the slates are not whole", tolerance)
    difference = largest_difference(rows, scores, user_vectors(trained, requests), item_vectors)
    checks = [
        _check(ANSWERS, float(len(requests)), None, True,
               f"{len(requests)} slates of {rows.shape[1]} in a fresh process"),
        _check(AGREES, difference, tolerance, difference <= tolerance,
               f"served scores differ from the training's files by at most {difference:.1e}"),
    ]
    if unavailable is not None:
        shown = np.isin(rows, unavailable)
        example = f", such as {str(own_ids[rows[shown][0]])!r}: run the index stage again" if shown.any() else ""
        checks.append(_check(UNAVAILABLE, float(shown.mean()), 0.0, not shown.any(),
                             f"{int(shown.sum())} of {rows.size} places hold one of the {len(unavailable):,} items "
                             f"that the shop does not have{example}"))
    return checks


def unavailable_rows(snapshot: Snapshot, own_ids: npt.NDArray[np.str_]) -> Rows | None:
    """Snapshot rows of the items that the shop's own table says are not available; None where it says nothing."""
    path = snapshot.ingested and Path(snapshot.ingested.path) / f"{c.ITEMS}.parquet"
    if not path or not path.exists():
        return None
    schema = pq.read_schema(path)
    if c.AVAILABLE not in schema.names or str(schema.field(c.AVAILABLE).type) != "bool":
        return None
    table = pq.read_table(path, columns=[c.ITEM, c.AVAILABLE]).to_pylist()
    return rows_of(np.array([row[c.ITEM] for row in table if row[c.AVAILABLE] is False], np.str_), own_ids)


def rows_of(ids: npt.NDArray[np.str_], own_ids: npt.NDArray[np.str_]) -> Rows:
    """Row of each id among `own_ids` [items], UNKNOWN for what is not there."""
    rows = {str(item): row for row, item in enumerate(own_ids)}
    found: list[Any] = [rows.get(str(item), UNKNOWN) for item in ids.ravel()]
    return np.array(found, np.int64).reshape(ids.shape)


def slate_fault(rows: Rows, scores: Floats, requests: Sequence[Request], items: int, hidden: int = 0) -> str | None:
    """What is wrong with slates [requests, k] over `items` items of which `hidden` are never shown, or None."""
    size = min(SLATE, items - hidden)
    if rows.shape != (len(requests), size) or scores.shape != rows.shape:
        return f"{list(rows.shape)} items came for {len(requests)} slates of {size}"
    if not np.isfinite(scores).all():
        return f"{int((~np.isfinite(scores)).sum())} of {scores.size} scores are not finite"
    if rows.min() < 0 or rows.max() >= items:
        return f"{int(((rows < 0) | (rows >= items)).sum())} slate items are none of the {items:,} of the snapshot"
    for number, (row, request) in enumerate(zip(rows, requests, strict=True)):
        seen = np.unique(request.history.item)
        if len(np.unique(row)) < size:
            return f"slate {number} has {size - len(np.unique(row))} items twice"
        again = np.isin(row, seen).sum()
        if again and len(seen) + hidden + size <= items:
            return f"slate {number} has {again} items that the shopper has seen"
    return None


def largest_difference(rows: Rows, scores: Floats, vectors: Floats, item_vectors: Floats) -> float:
    """Largest difference of scores [requests, k] from `vectors` . `item_vectors`, by each slate's largest score."""
    largest = 0.0
    for row, score, vector in zip(rows, scores, vectors, strict=True):
        exact = item_vectors[row].astype(np.float64) @ vector.astype(np.float64)
        largest = max(largest, float(np.abs(score - exact).max() / max(1.0, np.abs(exact).max())))
    return largest


def ask(bundle: Path, requests: Sequence[NamedRequest], k: int) -> tuple[npt.NDArray[np.str_], Floats]:
    """(item ids, scores) of a bundle's lists, by serving.probe in a process of its own; see `load_answers`.

    Raises:
        BundleRefused: the bundle failed, or the process died of it.
        VitrineError: the process was ended from outside, or failed for a reason that is not the bundle's.
    """
    with tempfile.TemporaryDirectory(prefix="vitrine-trial-") as name:
        asked, answered = Path(name) / "requests.npz", Path(name) / "answers.npz"
        save_requests(asked, requests, k)
        command = [sys.executable, "-m", "serving.probe", str(bundle), str(asked), str(answered)]
        try:
            done = subprocess.run(command, cwd=Path(__file__).resolve().parents[1], capture_output=True, text=True,
                                  errors="replace", timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise VitrineError(f"bundle {bundle} did not answer within {TIMEOUT_S} s; run the gate again on a quieter "
                               "machine") from error
        if done.returncode == 0:
            return load_answers(answered)
    last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    if done.returncode == REFUSED:
        raise BundleRefused(last)
    if done.returncode < 0 and (ended := signal.Signals(-done.returncode)) in _OWN_FAULT:
        raise BundleRefused(f"the process died of {ended.name} while it loaded or answered: {last}")
    raise VitrineError(f"the trial of bundle {bundle} ended with status {done.returncode} (below 0: a signal): {last}; "
                       "mend what it says and run the gate again")


def _failed(answers: str, agrees: str, tolerance: float) -> list[Check]:
    return [_check(ANSWERS, None, None, False, answers), _check(AGREES, None, tolerance, False, agrees)]


def _check(name: str, value: float | None, threshold: float | None, passed: bool, reason: str) -> Check:
    return Check(name=name, passed=passed, value=value, threshold=threshold, reason=reason, rule=RULE)
