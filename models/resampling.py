"""Bootstrap by users: how far would a figure have come out otherwise with other shoppers?

Whole users are drawn, not events: one user's baskets stand or fall together, and events drawn apart would make
every interval too narrow (Field and Welsh 2007).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Parts = npt.NDArray[np.int64]  # numbers of parts
ALL = "all"  # the part that holds every event
_CELLS = 1 << 22  # draws held at once: 32 MB


def resampled_sums(user: npt.NDArray[np.integer[Any]], columns: Floats, samples: int, seed: int) -> Floats:
    """Sums [samples, columns] of `columns` [events, columns] over as many users as there are, drawn with replacement.

    The same seed draws the same users, whatever the columns: figures of one seed are paired.
    """
    _, member = np.unique(user, return_inverse=True)
    users = int(member.max()) + 1
    sums = np.stack([np.bincount(member, column, users) for column in columns.T], axis=1)
    rng, block = np.random.default_rng(seed), max(1, _CELLS // users)
    drawn = np.empty((samples, columns.shape[1]))
    for first in range(0, samples, block):
        rows = min(block, samples - first)
        chosen = rng.integers(users, size=(rows, users)) + users * np.arange(rows)[:, None]
        times = np.bincount(chosen.ravel(), minlength=rows * users).reshape(rows, users)
        drawn[first : first + rows] = times @ sums
    return drawn


class Shortfalls(NamedTuple):
    """Differences of some parts from what is tolerated: mean and standard error [parts], and how far resamples come
    out from the mean, in standard errors [samples, parts]."""

    mean: Floats
    error: Floats
    around: Floats


@dataclass(frozen=True)
class Paired:
    """Two models on the same events, over all and by slice, with what resampling makes of them.

    Attributes:
        names: of the parts [parts]: ALL, then the slices.
        events, users: of each part [parts].
        ours, theirs: mean gain of each part [parts]; nan where it has no events.
        drawn_ours, drawn_theirs: sums of the gains [samples, parts] over resampled users.
        drawn_events: number of events [samples, parts] of the resampled users.
    """

    names: tuple[str, ...]
    events: npt.NDArray[np.int64]
    users: npt.NDArray[np.int64]
    ours: Floats
    theirs: Floats
    drawn_ours: Floats
    drawn_theirs: Floats
    drawn_events: Floats

    @classmethod
    def of(
        cls, ours: Floats, theirs: Floats, user: npt.NDArray[np.integer[Any]], slices: Mapping[str, Mask],
        *, samples: int, seed: int,
    ) -> "Paired":
        """Compare gains [events] of two models.

        Args:
            ours, theirs: each event's share in the metric, whose mean the metric is.
            user: who each event is of [events].
            slices: name -> mask [events].
            samples, seed: of the resampling.
        """
        masks = {ALL: np.ones(len(ours), bool), **slices}
        member = np.stack(list(masks.values()), axis=1).astype(np.float64)
        drawn = resampled_sums(
            user, np.concatenate([member * ours[:, None], member * theirs[:, None], member], axis=1), samples, seed)
        events = member.sum(axis=0)
        with np.errstate(invalid="ignore"):
            means = [(member * gain[:, None]).sum(axis=0) / events for gain in (ours, theirs)]
        users = np.array([len(np.unique(user[mask])) for mask in masks.values()])
        parts = len(masks)
        return cls(tuple(masks), events.astype(np.int64), users, means[0], means[1], drawn[:, :parts],
                   drawn[:, parts : 2 * parts], drawn[:, 2 * parts :])

    def ratios(self, part: int = 0) -> Floats:
        """Ours by theirs [samples] in each resample; infinite where theirs is 0, for there is nothing to fall below."""
        theirs = self.drawn_theirs[:, part]
        ratios: Floats = np.divide(self.drawn_ours[:, part], theirs, out=np.full(len(theirs), np.inf), where=theirs > 0)
        return ratios

    def differences(self, part: int) -> Floats:
        """Ours minus theirs [samples] in each resample.

        Linear in the sums, mean + (sum - mean * events) / all events: a small slice of which a resample draws
        nobody has no mean of its own.
        """
        mean, events = self.ours[part] - self.theirs[part], max(int(self.events[part]), 1)
        sums = self.drawn_ours[:, part] - self.drawn_theirs[:, part]
        return np.asarray(mean + (sums - mean * self.drawn_events[:, part]) / events)

    def shortfalls(self, parts: Parts, tolerance: Floats) -> Shortfalls:
        """Ours - (1 - `tolerance` [parts]) * theirs, for each of `parts`.

        What the tolerance allows is subtracted event by event, so that it carries its own error.
        """
        kept = 1 - tolerance
        sums = (self.ours[parts] - kept * self.theirs[parts]) * self.events[parts]
        drawn = self.drawn_ours[:, parts] - kept * self.drawn_theirs[:, parts]
        error = drawn.std(axis=0)
        around = np.divide(drawn - sums, error, out=np.zeros_like(drawn), where=error > 0)
        events = np.maximum(self.events[parts], 1)
        return Shortfalls(sums / events, error / events, around)
