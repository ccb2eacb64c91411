"""Stage: challenger, baselines and champion answer the same questions, those of the test window.

Files of the folder:

    metrics.json      model -> {"metrics": {"recall@10": ..}, "slices": {name: {"events", "recall@10", "ndcg@10"}},
                      "intervals": {"recall@10": [low, high]}, "exposure": {"gini": ..}, "model": how it was made}
    models.json       names of the models, in the order of exposure.npy
    differences.json  model -> metric -> {"mean", "low", "high"}: two_tower minus that model, paired by event
    rank_<model>.npy  int32 [targets] rank of each target from 1; 0 where it is not among the longest list
    slices.json       names of the slices, in the order of slices.npy
    slices.npy        bool [slices, targets] which targets belong to each slice
    shared.npy        int64 [panel] with a champion: items that its first 10 share with the challenger's, at the
                      last question of each user asked
    exposure.npy      int64 [models, items] lists (of the slices' length) that show each item
    targets.parquet   [targets] row_id, user_id, item_id, timestamp, context (events known before)
    timings.json      seconds a model, outside the digest
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from models import metrics as m
from models.baselines.by_name import BASELINES
from models.bundle_scorer import BundleScorer
from models.ranking import Model, Ranking, rank, sample
from models.release_data import with_valid
from models.two_tower_scorer import TwoTowerScorer
from pipelines import columns as c
from pipelines.artifacts import TIMINGS, seal, stage_key, write_json
from pipelines.contracts import Document, Evaluated, Trained
from pipelines.erasure.exclusion import Exclusion
from pipelines.errors import BundleAbsent, DataError
from pipelines.progress import log
from pipelines.requests import users_table
from pipelines.slices import column_slices
from pipelines.snapshot import TEST, Queries, SnapshotData
from serving.bundle import Bundle
from serving.store import Release, ReleaseStore

STAGE = "evaluate"
CHALLENGER, CHAMPION = "two_tower", "champion"


class EvaluateSettings(Document):
    """What is measured.

    Attributes:
        ks: lengths of lists that recall, ndcg and coverage are computed for; 10, which the gate judges by, among them.
        baselines: models to compare with.
        max_targets: test events, at most; more are sampled by whole questions.
        bootstrap_samples: resamplings behind each interval.
        item_slices: columns of the items whose values are slices; None for the category that people are shown.
        user_slices: columns of the users; None for `country`, where there is one.
        slice_values: values of such a column, at most, those with the most events.
        slice_events: events of such a value, at least.
        seed: of sample and resamplings.
    """

    ks: tuple[int, ...] = Field((10, 50), min_length=1)
    baselines: tuple[Literal["popularity", "als", "itemknn", "ease"], ...] = (
        "popularity", "als", "itemknn", "ease")
    max_targets: int = Field(20_000, ge=1)
    bootstrap_samples: int = Field(500, ge=20)
    item_slices: tuple[str, ...] | None = None
    user_slices: tuple[str, ...] | None = None
    slice_values: int = Field(12, ge=1)
    slice_events: int = Field(50, ge=1)
    seed: int = 17


def evaluate(
    trained: Trained, releases: ReleaseStore, settings: EvaluateSettings, root: Path, *, is_replay: bool = False
) -> Evaluated:
    """Measure a training against the baselines and against the live release, where there is one.

    Args:
        trained: the challenger, with the snapshot whose test window is asked.
        releases: serving store whose live release is the champion.
        settings: what is measured.
        root: of the artefacts.
        is_replay: the champion is the release that was live as of then. Where cleaning has removed its bundle there is
            none, and a warning says so.

    Raises:
        DataError: the snapshot has nothing to ask or to tune on.
        CorruptArtifact, SettingsError: the live release cannot be scored on this snapshot.
        ErasedMeanwhile: somebody was erased while it was measured; another try leaves them out.
    """
    exclusion = Exclusion(releases.erasures)
    as_of = trained.snapshot.window.as_of
    champion = _champion_then(trained, releases) if is_replay else releases.parent_for(trained.digest, as_of)
    parent = (None, None) if champion is None else (champion.number, champion.bundle)
    snapshot = trained.snapshot
    # The window too: two windows without an event between them have snapshots of equal content.
    key = stage_key(STAGE, trained.digest, snapshot.digest, snapshot.window, *parent, settings, exclusion.digest)

    def build(out: Path) -> dict[str, Any]:
        figures = _build(trained, champion, releases, settings, exclusion, out)
        return {"trained": trained, "parent": parent[0], "champion": parent[1], "metrics": figures[CHALLENGER],
                "baselines": {name: figures[name] for name in settings.baselines}}

    return seal(Evaluated, root, STAGE, key, build, exclusion.require_unchanged)


def _champion_then(trained: Trained, releases: ReleaseStore) -> Release | None:
    release = releases.parent_then(trained.digest, trained.snapshot.window.as_of)
    if release is not None:
        try:
            releases.shelf.check(release.bundle)
        except BundleAbsent as error:
            log.warning("evaluate: release %d was live as of %s, and cannot be compared with: %s", release.number,
                        trained.snapshot.window.as_of, error)
            return None
    return release


def _build(
    trained: Trained, champion: Release | None, releases: ReleaseStore, settings: EvaluateSettings,
    exclusion: Exclusion, out: Path
) -> dict[str, dict[str, float]]:
    data = SnapshotData.load(trained.snapshot.path)
    asked = data.queries(TEST)
    known_people = np.flatnonzero(~exclusion.users(data)[asked.user])
    queries = sample(asked.only(known_people), settings.max_targets, settings.seed)
    if not len(queries):
        raise DataError(f"{data.path}: no event of the test window is evaluated, so that nothing can be judged; "
                        "give a longer window or more events")
    log.info("evaluate: %s questions with %s answers", f"{len(queries):,}", f"{len(queries.target_event):,}")
    makers: dict[str, Callable[[], Model]] = {CHALLENGER: lambda: TwoTowerScorer.load(Path(trained.path))}
    known = with_valid(data) if trained.is_refit else data  # baselines and slices, too, are of what was trained on

    def baseline(name: str) -> Model:
        tuned = BASELINES[name](data)
        return tuned.refit(known) if trained.is_refit else tuned

    makers |= {name: partial(baseline, name) for name in settings.baselines}
    if champion is not None:
        path, digest = releases.bundle_path(champion.bundle), champion.bundle
        makers[CHAMPION] = lambda: BundleScorer.of(Bundle.load(path, digest), data, users_table(trained.snapshot))

    documents: dict[str, dict[str, Any]] = {}
    rankings: dict[str, Ranking] = {}
    seconds: dict[str, float] = {}
    masks = m.slice_masks(known, queries) | column_slices(
        trained.snapshot, data, queries, item_columns=settings.item_slices, user_columns=settings.user_slices,
        most=settings.slice_values, least=settings.slice_events)
    for name, make in makers.items():
        started = time.monotonic()
        model = make()
        rankings[name] = rank(model, data, queries, k=max(settings.ks))
        documents[name] = _document(data, queries, rankings[name], masks, settings)
        documents[name]["model"] = name if name in (CHALLENGER, CHAMPION) else repr(model)
        seconds[name] = round(time.monotonic() - started, 1)
        log.info("evaluate: %s %s", name, ", ".join(f"{k} {v:.4f}" for k, v in documents[name]["metrics"].items()))
    _write(out, data, queries, documents=documents, rankings=rankings, masks=masks, settings=settings)
    write_json(out / TIMINGS, {"seconds": seconds})
    return {name: document["metrics"] for name, document in documents.items()}


def _document(
    data: SnapshotData, queries: Queries, ranking: Ranking, masks: Mapping[str, m.Mask], settings: EvaluateSettings
) -> dict[str, Any]:
    """One model's entry of metrics.json."""
    user = queries.user[queries.target_query]
    shown = m.exposure(ranking.top, m.SLICE_K, data.num_items)
    return {
        "metrics": m.metrics(ranking.top, ranking.rank, data.num_items, settings.ks),
        "slices": m.slices(ranking.rank, masks),
        "intervals": m.intervals(m.gains(ranking.rank, settings.ks), user, settings.bootstrap_samples, settings.seed),
        "exposure": m.exposure_figures(shown, data.item_counts),
    }


def _write(
    out: Path, data: SnapshotData, queries: Queries, *, documents: Mapping[str, Any],
    rankings: Mapping[str, Ranking], masks: Mapping[str, m.Mask], settings: EvaluateSettings,
) -> None:
    user = queries.user[queries.target_query]
    write_json(out / "metrics.json", dict(documents))
    write_json(out / "models.json", list(rankings))
    write_json(out / "differences.json", {
        name: m.differences(rankings[CHALLENGER].rank, ranking.rank, user, settings.ks,
                            samples=settings.bootstrap_samples, seed=settings.seed)
        for name, ranking in rankings.items() if name != CHALLENGER
    })
    write_json(out / "slices.json", list(masks))
    np.save(out / "slices.npy", np.stack(list(masks.values())), allow_pickle=False)
    if CHAMPION in rankings:
        # One question a user: who asks most is not to speak for all.
        panel = np.flatnonzero(np.diff(queries.user, append=-1))
        shared = m.shared_items(rankings[CHALLENGER].top[panel], rankings[CHAMPION].top[panel], m.SLICE_K)
        np.save(out / "shared.npy", shared, allow_pickle=False)
    for name, ranking in rankings.items():
        np.save(out / f"rank_{name}.npy", ranking.rank, allow_pickle=False)
    shown = [m.exposure(ranking.top, m.SLICE_K, data.num_items) for ranking in rankings.values()]
    np.save(out / "exposure.npy", np.stack(shown), allow_pickle=False)
    h, events = data.histories, queries.target_event
    ids = {name: pq.read_table(data.path / f"{name}.parquet", columns=[column]).column(0)
           for name, column in ((c.USERS, c.USER), (c.ITEMS, c.ITEM))}
    pq.write_table(pa.table({
        c.ROW: h.row[events],
        c.USER: ids[c.USERS].take(pa.array(user)),
        c.ITEM: ids[c.ITEMS].take(pa.array(h.item[events])),
        c.TIME: pa.array(h.time[events], pa.timestamp("us", "UTC")),
        "context": (queries.end - queries.start)[queries.target_query],
    }), out / "targets.parquet")

