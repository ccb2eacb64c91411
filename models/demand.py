"""What sells when: each item's recent share of the demand, as of any moment of the training window.

A season turns, and a model that sees the whole window at once mistakes what was sold then for what is
wanted now. So the softmax of a training question gets the demand as it stood at that question's time as a
fixed part of its logits, the towers learn what demand does not explain, and the served prior is the demand
at the window's end: the logit adjustment of Menon et al. 2021, with a base rate that moves.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.window import Window, chunks
from pipelines.progress import log
from pipelines.snapshot import VALID, SnapshotData

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.float64]
HALF_LIVES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, np.inf)  # parts of the training window
SMOOTHINGS = (0.1, 0.3, 1.0, 3.0, 10.0)  # events that every item is given
MOMENTS = 32
_TIMES = 1_000_000  # sampled to place the moments


@dataclass(frozen=True)
class Demand:
    """Log shares relative to an even share: log(items * (n + a) / (N + a * items)), n decayed event weights."""

    moments: npt.NDArray[np.int64]  # [B] ascending, microseconds: row b holds from moments[b] on
    table: Floats  # [B, items] as of `moments`: from earlier events only
    last: Floats  # [items] as of the end of the training window
    unsold: float  # the same of an item without an event
    half_life: float  # part of the training window
    smoothing: float

    @classmethod
    def of(cls, data: SnapshotData) -> "Demand":
        """Half-life and smoothing of the highest likelihood on the valid targets.

        Where the calendar does not divide train and valid there is one row, of the whole window.
        """
        window = Window.of(data)
        return cls.at(data, *_likeliest(data, window)) if window.is_ahead else cls.at(data, np.inf, 1.0)

    @classmethod
    def at(cls, data: SnapshotData, half_life: float, smoothing: float) -> "Demand":
        """With a half-life and a smoothing that are given; without a calendar there is no half-life."""
        window = Window.of(data)
        if not window.is_ahead:
            count = _counts(data, window, np.array([window.newest + 1]), np.inf)[0]
            last = _log_share(count, 1.0)
            return cls(np.array([window.oldest]), last[None], last, _unsold(count, 1.0), np.inf, 1.0)
        moments = _moments(data)
        parts = _counts(data, window, np.append(moments[1:], window.newest + 1), half_life)
        span = max(window.newest - window.oldest, 1)
        rows, count = [_log_share(np.zeros(data.num_items), smoothing)], np.zeros(data.num_items)
        for begin, end, part in zip(moments, np.append(moments[1:], window.newest), parts, strict=True):
            count = count * np.exp2(-(end - begin) / (half_life * span)) + part
            rows.append(_log_share(count, smoothing))
        log.info("demand: half-life %.3g of the training window, smoothed by %g events an item", half_life, smoothing)
        return cls(moments, np.stack(rows[:-1]), rows[-1], _unsold(count, smoothing), half_life, smoothing)


def _likeliest(data: SnapshotData, window: Window) -> tuple[float, float]:
    wanted = np.zeros(data.num_items)
    for part in chunks(data):
        wanted += np.bincount(part.item[(part.split == VALID) & part.target], minlength=data.num_items)
    best = (-np.inf, np.inf, 1.0)
    for half_life in HALF_LIVES:
        count = _counts(data, window, np.array([window.newest + 1]), half_life)[0]
        best = max(best, *((float(wanted @ _log_share(count, a)), half_life, a) for a in SMOOTHINGS))
    return best[1:]


def _moments(data: SnapshotData) -> npt.NDArray[np.int64]:
    """Up to MOMENTS ascending times with as many events between any two: where more happens, more changes."""
    step = max(len(data.histories.time) // _TIMES, 1)
    times = np.sort(np.concatenate([part.time[part.is_trained][::step] for part in chunks(data)]))
    found: npt.NDArray[np.int64] = np.unique(times[np.linspace(0, len(times) - 1, MOMENTS + 1).astype(np.int64)][:-1])
    return found


def _counts(data: SnapshotData, window: Window, ends: npt.NDArray[np.int64], half_life: float) -> Counts:
    """Decayed weights [ends, items] of the events before each end and not before the one in front of it.

    An event weighs half for each `half_life` of the window between it and the end, or the window's newest event.
    """
    span = max(window.newest - window.oldest, 1)
    total = np.zeros(len(ends) * data.num_items)
    for part in chunks(data):
        time, item, weight = (array[part.is_trained] for array in (part.time, part.item, part.weight))
        row = np.searchsorted(ends, time, side="right")
        age = (np.minimum(ends, window.newest)[row] - time) / (half_life * span)
        total += np.bincount(row * data.num_items + item, weight * np.exp2(-age), len(total))
    return total.reshape(len(ends), data.num_items)


def _log_share(count: Counts, smoothing: float) -> Floats:
    """[items] from decayed weights [items]."""
    share = (count + smoothing) / (count.sum() + smoothing * len(count))
    return np.asarray(np.log(len(count) * share), np.float32)


def _unsold(count: Counts, smoothing: float) -> float:
    """What `_log_share` gives an item of no weight beside the weights [items]."""
    return float(np.log(len(count) * smoothing / (count.sum() + smoothing * len(count))))
