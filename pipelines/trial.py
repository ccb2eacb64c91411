"""A sealed bundle's trial: does it load and answer in a fresh process, as it was trained to?"""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.contracts import Check, Sealed
from pipelines.errors import VitrineError
from pipelines.requests import requests_at_end, user_vectors
from serving.encoding import Floats
from serving.probe import REFUSED, save_requests
from serving.recommender import Request, empty_history
from serving.retriever import Rows

ANSWERS, AGREES = "bundle_answers", "bundle_agrees"
SLATE = 20
TIMEOUT_S = 600
# How a process dies by its own fault, or the bundle's; any other signal came from outside.
_OWN_FAULT = {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV}


def trial(sealed: Sealed, histories: int, tolerance: float) -> list[Check]:
    """Ask the bundle for a slate in a fresh process, for nobody and for `histories` shoppers.

    Returns:
        `bundle_answers`: it loads, and answers with whole slates of different items and finite scores;
        `bundle_agrees`: its scores are those of the training's own files, to `tolerance` of the slate's
        largest score (or of 1).

    Raises:
        VitrineError: the process was ended from outside, or failed for a reason that is not the bundle's.
    """
    trained = sealed.registered.evaluated.trained
    known = requests_at_end(trained, histories)
    nobody = Request(empty_history(), known[0].now_us, np.zeros_like(known[0].user_tokens))
    requests = [nobody, *known]
    with tempfile.TemporaryDirectory(prefix="vitrine-trial-") as name:
        scratch = Path(name)
        save_requests(scratch / "requests.npz", requests, SLATE)
        refusal = _ask(Path(sealed.path), scratch)
        if refusal is not None:
            untold = "there are no answers to compare"
            return [_check(ANSWERS, None, None, False, refusal), _check(AGREES, None, tolerance, False, untold)]
        with np.load(scratch / "answers.npz", allow_pickle=False) as answers:
            rows, scores = answers["rows"], answers["scores"]
    item_vectors = np.load(Path(trained.path) / "item_vectors.npy", mmap_mode="r", allow_pickle=False)
    fault = slate_fault(rows, scores, requests, len(item_vectors))
    if fault is not None:
        return [_check(ANSWERS, None, None, False, fault),
                _check(AGREES, None, tolerance, False, "the slates are not whole")]
    difference = largest_difference(rows, scores, user_vectors(trained, requests), item_vectors)
    return [
        _check(ANSWERS, float(len(requests)), None, True,
               f"{len(requests)} slates of {rows.shape[1]} in a fresh process"),
        _check(AGREES, difference, tolerance, difference <= tolerance,
               f"served scores differ from the training's files by at most {difference:.1e}"),
    ]


def slate_fault(rows: Rows, scores: Floats, requests: Sequence[Request], items: int) -> str | None:
    """What is wrong with slates [requests, k], or None."""
    size = min(SLATE, items)
    if rows.shape != (len(requests), size) or scores.shape != rows.shape:
        return f"{list(rows.shape)} items came for {len(requests)} slates of {size}"
    if not np.isfinite(scores).all():
        return f"{int((~np.isfinite(scores)).sum())} of {scores.size} scores are not finite"
    if rows.min() < 0 or rows.max() >= items:
        return f"slate items name rows {rows.min()} to {rows.max()} of {items:,}"
    for number, (row, request) in enumerate(zip(rows, requests, strict=True)):
        seen = np.unique(request.history.item)
        if len(np.unique(row)) < size:
            return f"slate {number} has {size - len(np.unique(row))} items twice"
        again = np.isin(row, seen).sum()
        if again and len(seen) + size <= items:
            return f"slate {number} has {again} items that the shopper has seen"
    return None


def largest_difference(rows: Rows, scores: Floats, vectors: Floats, item_vectors: Floats) -> float:
    """Largest difference of scores [requests, k] from `vectors` . `item_vectors`, by each slate's largest score."""
    largest = 0.0
    for row, score, vector in zip(rows, scores, vectors, strict=True):
        exact = item_vectors[row].astype(np.float64) @ vector.astype(np.float64)
        largest = max(largest, float(np.abs(score - exact).max() / max(1.0, np.abs(exact).max())))
    return largest


def _ask(bundle: Path, scratch: Path) -> str | None:
    """Run serving.probe; why the bundle failed, or None where it answered."""
    command = [sys.executable, "-m", "serving.probe", str(bundle), str(scratch / "requests.npz"),
               str(scratch / "answers.npz")]
    try:
        done = subprocess.run(command, cwd=Path(__file__).resolve().parents[1], capture_output=True, text=True,
                              errors="replace", timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise VitrineError(f"bundle {bundle} did not answer within {TIMEOUT_S} s; run the gate again on a quieter "
                           "machine") from error
    if done.returncode == 0:
        return None
    last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    if done.returncode == REFUSED:
        return last
    if done.returncode < 0 and (ended := signal.Signals(-done.returncode)) in _OWN_FAULT:
        return f"the process died of {ended.name} while it loaded or answered: {last}"
    raise VitrineError(f"the trial of bundle {bundle} ended with status {done.returncode} (below 0: a signal): {last}; "
                       "mend what it says and run the gate again")


def _check(name: str, value: float | None, threshold: float | None, passed: bool, reason: str) -> Check:
    return Check(name=name, passed=passed, value=value, threshold=threshold, reason=reason)
