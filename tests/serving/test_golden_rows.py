"""What trained is what serves: the user tower's inputs from a snapshot, and from events and features brought by HTTP.

The toy world goes both ways. Offline: ingest, features, and from the snapshot's arrays each user's history before each
of their events. Online: the same events brought to POST /v1/events, and asked with that moment. Every question asked
online reaches the user tower; what it is given there is compared, ids to the letter and numbers to 1e-5.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient

from pipelines.artifacts import read_json, write_json
from pipelines.contracts import Window
from pipelines.features import FeatureSettings, features
from pipelines.ingest import ingest
from pipelines.shop_spec import ShopSpec
from pipelines.snapshot import SnapshotData
from serving.api.app import create_app
from serving.bundle import Bundle, write_bundle
from serving.bundle_files import INDEX_CONFIG
from serving.encoding import History, Limits, encode
from serving.questions import NewEvent, NewEvents, Recommend
from serving.recommender import Recommender, Request
from serving.service import Service
from serving.sessions.sqlite import SqliteSessions
from tests.release_world import GROUPS, VISITS, user_tower
from tests.serving.conftest import seal_bundle
from tests.serving.shop import Holder, Record, Release
from tests.world import write_world

USERS, LEAST_ROWS, BY_HTTP = 1250, 10_000, 200
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Watched(Recommender):
    """Keeps what the user tower is asked with."""

    def __init__(self, bundle: Bundle) -> None:
        self.asked: list[Request] = []
        super().__init__(bundle)

    def vectors(self, requests):
        self.asked += requests
        return super().vectors(requests)

    def vector(self, request):
        self.asked.append(request)
        return super().vector(request)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(source folder, snapshot folder)"""
    folder = tmp_path_factory.mktemp("world")
    source = write_world(folder / "in", users=USERS)
    window = Window(as_of=datetime(2026, 1, 26, tzinfo=UTC))
    ingested = ingest(str(source), window, ShopSpec(), folder / "artifacts")
    return source, Path(features(ingested, FeatureSettings(visits=VISITS), folder / "artifacts").path)


@pytest.fixture
def watched(world: tuple[Path, Path], tmp_path: Path) -> Watched:
    """A release of that very snapshot, with inputs of the items that are random and a tower that adds them up."""
    trained, folder, random = tmp_path / "trained", tmp_path / "bundle", np.random.default_rng(5)
    for made in (trained, folder):
        made.mkdir()
    np.save(trained / "item_inputs.npy", random.normal(size=(24, GROUPS)).astype(np.float32))
    np.save(trained / "item_vectors.npy", random.normal(size=(24, GROUPS + 1)).astype(np.float32))
    spec = read_json(world[1] / "spec.json")
    (trained / "user_tower.tflite").write_bytes(user_tower(event_types=3, user_slots=Limits.of(spec).user_width))
    write_bundle(folder, trained, world[1], {})
    write_json(folder / INDEX_CONFIG, {"kind": "exact"})
    return Watched(Bundle.load(seal_bundle(folder)))


def test_offline_and_online_inputs_are_the_same(world: tuple[Path, Path], watched: Watched, tmp_path: Path) -> None:
    source, snapshot = world
    data, known = SnapshotData.load(snapshot), pd.read_parquet(source / "users.parquet").set_index("user_id")["country"]
    users = pd.read_parquet(snapshot / "users.parquet")["user_id"].tolist()
    items = pd.read_parquet(snapshot / "items.parquet")["item_id"].tolist()
    service = Service(Holder(Release(Record(1), watched)), SqliteSessions(tmp_path / "sessions.db"))
    events = pd.read_parquet(source / "events.parquet")
    brought = [NewEvent(event_id=f"e{row}", user_id=event.user_id, item_id=event.item_id,
                        event_type=event.event_type, time=event.timestamp.to_pydatetime())
               for row, event in enumerate(events.itertuples())]
    with TestClient(create_app(service)) as client:
        for first in range(0, len(brought), 200):
            batch = NewEvents(events=tuple(brought[first : first + 200]))
            answer = client.post("/v1/events", content=batch.model_dump_json(),
                                 headers={"content-type": "application/json"})
            assert answer.status_code == 200, answer.text
        offline: list[Request] = []
        watched.asked.clear()
        h = data.histories
        for user, user_id in enumerate(users):
            own = slice(int(h.indptr[user]), int(h.indptr[user + 1]))
            country = known.get(user_id)
            # Before each of their events, and a day after the last.
            for now in [*h.time[own].tolist(), int(h.time[own][-1]) + 86_400_000_000]:
                past = slice(own.start, own.start + int(np.searchsorted(h.time[own], now, side="left")))
                offline.append(Request(History(h.item[past], h.time[past], h.type[past], h.weight[past]), now,
                                       np.asarray(data.user_tokens[user])))
                question = Recommend(user_id=user_id, k=1, time=EPOCH + timedelta(microseconds=now),
                                     user_features={"country": country} if isinstance(country, str) else {})
                if len(offline) <= BY_HTTP:
                    answer = client.post("/v1/recommendations", content=question.model_dump_json(),
                                         headers={"content-type": "application/json"})
                    assert answer.status_code == 200, answer.text
                else:
                    service.recommend(question)
    online = watched.asked
    assert len(online) == len(offline) >= LEAST_ROWS
    differing = 0
    for ours, theirs in zip(online, offline, strict=True):
        same = all(np.array_equal(getattr(ours.history, name), getattr(theirs.history, name))
                   for name in ("item", "time", "type", "weight"))
        differing += not (same and ours.now_us == theirs.now_us
                          and np.array_equal(ours.user_tokens, theirs.user_tokens))
    assert differing == 0
    assert [watched.bundle.item_ids[row] for row in range(24)] == items
    worst = 0.0
    for first in range(0, len(online), 1000):
        sides = [_encoded(watched.bundle, part[first : first + 1000]) for part in (online, offline)]
        for name, array in sides[0].items():
            assert array.shape == sides[1][name].shape
            worst = max(worst, float(np.abs(array.astype(np.float64) - sides[1][name]).max()))
    print(f"{len(online):,} rows, {differing} differing in ids, greatest difference of a number {worst:g}")
    assert worst <= 1e-5


def _encoded(bundle: Bundle, requests: list[Request]) -> dict:
    return encode([request.history for request in requests], np.array([request.now_us for request in requests]),
                  np.stack([request.user_tokens for request in requests]), bundle.item_inputs, bundle.limits)
