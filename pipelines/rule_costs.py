"""What merchandising rules cost: the evaluation's questions, answered with each rule and without any.

The slates come from the code that serves (serving/merchandising.py), one question at a time. Offline figures do not
say what a rule earns: a shopper was never shown what it would have put there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from models import metrics as m
from models.ranking import sample
from models.resampling import resampled_sums
from pipelines.contracts import Document
from pipelines.errors import CorruptArtifact, DataError
from pipelines.progress import Progress
from pipelines.requests import Shoppers, item_ids
from pipelines.snapshot import TEST, Queries, SnapshotData
from serving.bundle import Bundle
from serving.encoding import Floats, History
from serving.merchandising import arranged
from serving.recommender import Recommender
from serving.rules import NO_RULES, Rules
from serving.view import ReleaseView

K = 10
RECALL, NDCG, COVERAGE, NOVELTY = f"recall@{K}", f"ndcg@{K}", f"coverage@{K}", f"novelty@{K}"
CHANGED, MOVED = "changed_slates", f"new_items@{K}"
ALL, NONE = "all rules", "no rules"
_BATCH, _COLUMNS = 256, 512

Slates = npt.NDArray[np.int32]  # [questions, K] rows, best first; -1 where a slate is shorter


class CostSettings(Document):
    """How the cost is measured.

    Attributes:
        max_targets: test events, at most; more are sampled by whole questions.
        samples: resamplings of users behind each interval.
        seed: of sample and resamplings.
    """

    max_targets: int = Field(2_000, ge=1)
    samples: int = Field(500, ge=20)
    seed: int = 17


class Figure(Document):
    """A figure under a rule, and its difference from that without rules with its 95 % interval."""

    value: float
    difference: float
    low: float
    high: float


class Cost(Document):
    """What one rule costs.

    Attributes:
        rule: its name.
        figures: recall@10 and ndcg@10 of the test events; coverage@10 (share of the catalogue in any slate); novelty@10
            (mean of -log2 of an item's share of the sales, over what is shown); changed_slates (share of the slates
            that are not as without the rule, place by place); new_items@10 (items of a slate that are new to it).
    """

    rule: str
    figures: Mapping[str, Figure]


class Costs(Document):
    """What rules cost, each alone and all together.

    Attributes:
        bundle: digest.
        questions, targets, users: that were asked.
        without: the figures without rules.
        rules: their costs.
    """

    bundle: str
    questions: int
    targets: int
    users: int
    without: Mapping[str, float]
    rules: tuple[Cost, ...]


@dataclass(frozen=True)
class _Questions:
    """The evaluation's questions as the online process would be asked."""

    queries: Queries
    histories: list[History]
    vectors: Floats  # [questions, D]

    def slates(self, view: ReleaseView, rules: Rules) -> Slates:
        """Slates under rules, of items that the shopper has not met."""
        found = np.full((len(self.histories), K), -1, np.int32)
        for place, (history, vector) in enumerate(zip(self.histories, self.vectors, strict=True)):
            never = np.union1d(view.bundle.hidden, history.item).astype(np.int64)
            rows = arranged(view, vector, history, K, mask=None, never=never, rules=rules).found.rows
            found[place, : len(rows)] = rows
        return found


def rule_costs(bundle: Bundle, data: SnapshotData, rules: Rules, settings: CostSettings) -> Costs:
    """Measure the rules on the test events of the snapshot that a bundle was made from.

    Args:
        bundle: what answers.
        data: its snapshot.
        rules: measured each alone, and all together where they are several.
        settings: how.

    Raises:
        DataError: there is no rule or no test event, or a rule names a column that the bundle does not have.
        CorruptArtifact: the snapshot is another one's.
    """
    if tuple(item_ids(data).tolist()) != bundle.item_ids:
        raise CorruptArtifact(f"{data.path} and bundle {bundle.digest[:12]} have different items: give the folder that "
                              "`vitrine index` printed for this bundle")
    apart = dict(rules.apart())
    if not apart:
        raise DataError("there is no rule to measure: write some into the file, see docs/rules.md")
    if len(apart) > 1:
        apart[ALL] = rules
    queries = sample(data.queries(TEST), settings.max_targets, settings.seed)
    if not len(queries.target_event):
        raise DataError(f"{data.path} has no test events that are evaluated: nothing can be measured")
    view = ReleaseView(0, Recommender(bundle))
    asked = _asked(view, data, queries)
    progress = Progress("rules", len(apart) + 1, "rule sets")
    plain = asked.slates(view, NO_RULES)
    measured = _Measured(data, queries, plain, settings)
    costs = []
    for name, one in apart.items():
        progress.advance(1)
        costs.append(Cost(rule=name, figures=measured.against(asked.slates(view, one))))
    progress.finish()
    return Costs(bundle=bundle.digest, questions=len(queries), targets=len(queries.target_event),
                 users=len(np.unique(queries.user)), without=measured.figures(plain), rules=tuple(costs))


def _asked(view: ReleaseView, data: SnapshotData, queries: Queries) -> _Questions:
    requests = Shoppers(queries.user, queries.start, queries.end, queries.time).requests(data)
    vectors = [view.recommender.vectors(requests[first : first + _BATCH]) for first in range(0, len(requests), _BATCH)]
    return _Questions(queries, [request.history for request in requests], np.concatenate(vectors))


class _Measured:
    """Slates compared with those without rules."""

    def __init__(self, data: SnapshotData, queries: Queries, plain: Slates, settings: CostSettings) -> None:
        self.queries, self.plain, self.settings, self.items = queries, plain, settings, data.num_items
        self.target = np.asarray(data.histories.item[queries.target_event])
        counts = np.asarray(data.item_counts) + 1.0  # an item without sales is as rare as one that has a single one
        self.information = -np.log2(counts / counts.sum())

    def ranks(self, slates: Slates) -> m.Ranks:
        """Rank [targets] of each target in its slate; 0 for a miss."""
        hit = slates[self.queries.target_query] == self.target[:, None]
        return np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0).astype(np.int32)

    def novelty(self, slates: Slates) -> npt.NDArray[np.float64]:
        """Mean information [questions] of what a slate shows; 0 of an empty one."""
        shown = slates >= 0
        bits = np.where(shown, self.information[slates], 0.0)
        return np.asarray(bits.sum(axis=1) / np.maximum(shown.sum(axis=1), 1))

    def figures(self, slates: Slates) -> dict[str, float]:
        """The plain figures of slates."""
        gains = m.gains(self.ranks(slates), [K])
        return {name: float(gain.mean()) for name, gain in gains.items()} | {
            COVERAGE: m.coverage(slates, K, self.items), NOVELTY: float(self.novelty(slates).mean())}

    def against(self, slates: Slates) -> dict[str, Figure]:
        """Figures of slates, with their paired differences from those without rules."""
        samples, seed = self.settings.samples, self.settings.seed
        users = self.queries.user
        differences = m.differences(self.ranks(slates), self.ranks(self.plain), users[self.queries.target_query], [K],
                                    samples=samples, seed=seed)
        changed = (slates != self.plain).any(axis=1).astype(np.float64)
        moved = np.minimum(K, (slates >= 0).sum(axis=1)) - m.shared_items(slates, self.plain, K)
        by_question = {NOVELTY: self.novelty(slates) - self.novelty(self.plain), CHANGED: changed,
                       MOVED: moved.astype(np.float64)}
        bounds = m.intervals(by_question, users, samples, seed)
        values = self.figures(slates)
        found = {name: Figure(value=values[name], difference=one["mean"], low=one["low"], high=one["high"])
                 for name, one in differences.items()}
        for name, column in by_question.items():
            mean = float(column.mean())
            found[name] = Figure(value=values.get(name, mean), difference=mean, low=bounds[name][0],
                                 high=bounds[name][1])
        difference = values[COVERAGE] - m.coverage(self.plain, K, self.items)
        drawn = self._drawn_coverage(slates) - self._drawn_coverage(self.plain)
        # As many users drawn with replacement are fewer ones, who see fewer items: how far draws lie apart is what
        # they tell, and not where.
        low, high = np.percentile(drawn - drawn.mean(), [2.5, 97.5]) + difference
        found[COVERAGE] = Figure(value=values[COVERAGE], difference=difference, low=float(low), high=float(high))
        return found

    def _drawn_coverage(self, slates: Slates) -> npt.NDArray[np.float64]:
        """Share of the catalogue [samples] in any slate of resampled users."""
        covered = np.zeros(self.settings.samples)
        for columns in _incidence(slates):
            covered += (resampled_sums(self.queries.user, columns, self.settings.samples, self.settings.seed) > 0).sum(
                axis=1)
        return covered / max(self.items, 1)


def _incidence(slates: Slates) -> Iterator[npt.NDArray[np.float64]]:
    """Which slates [questions, items] show each item, some items at a time."""
    shown = np.unique(slates[slates >= 0])
    for first in range(0, len(shown), _COLUMNS):
        part = shown[first : first + _COLUMNS]
        place = np.searchsorted(part, slates)
        place[place == len(part)] = 0
        is_there = (part[place] == slates) & (slates >= 0)
        columns = np.zeros((len(slates), len(part)))
        question, at = np.nonzero(is_there)
        columns[question, place[question, at]] = 1
        yield columns
