"""A retrain of a past day, on a lake that has grown since and below another artefact root: it comes out as it did."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from pipelines.contracts import Origin
from pipelines.lake import DAY, Lake, Partition, midnight
from pipelines.retrain import STAGES, RetrainParams, run_stage
from pipelines.settings import Settings
from pipelines.shop_spec import ShopSpec
from serving.store import Release, ReleaseStore
from tests.world import DAYS, write_world

AS_OF, LATER = datetime(2026, 1, 22, tzinfo=UTC), datetime(2026, 1, 25, tzinfo=UTC)
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "features": {"visits": 8, "valid_share": 0.2, "test_share": 0.2},
    "train": {"dimension": 8, "members": 2, "blocks": 1, "max_epochs": 2, "steps": 8,
              "search": {"text_dimension": 16, "steps": 20, "batch": 32}},
    "evaluate": {"ks": [10], "bootstrap_samples": 20},
    "index": {"recall_queries": 20},
    "gate": {"min_recall": 0.001, "baseline_ratio": 0.01, "min_coverage": 0.0, "trial_shoppers": 3},
}


def publish_days(lake: Lake, world: Path, first: date, last: date, seen_with: date | None = None) -> None:
    """Put days of the toy shop into its lake, as the DAG ingest leaves them; `seen_with` is the run that found them."""
    events = pd.read_parquet(world / "events.parquet")
    days = events["timestamp"].dt.date
    items, users = (lake.keep(world / f"{name}.parquet") for name in ("items", "users"))
    while first <= last:
        written = world / "day.parquet"
        events[days == first].to_parquet(written, index=False)
        before = lake.latest(first)
        lake.publish(Partition(
            day=first, revision=before.revision + 1 if before else 1, known_at=midnight((seen_with or first) + DAY),
            events=lake.keep(written), items=items, users=users, rows=int((days == first).sum()), spec=ShopSpec(),
            source="shop"))
        first += DAY


@dataclass(frozen=True)
class Told:
    """Both runs: stage -> contract; and what was live, and what MLflow said, before and after the second."""

    then: Mapping[str, Mapping[str, Any]]
    now: Mapping[str, Mapping[str, Any]]
    releases: tuple[list[Release], list[Release]]
    aliases: tuple[Mapping[str, str], Mapping[str, str]]
    runs: tuple[int, int]


def run(params: RetrainParams, places: Settings, cause: str) -> dict[str, Mapping[str, Any]]:
    contracts: dict[str, Mapping[str, Any]] = {}
    contract = None
    for stage in STAGES:
        contract = contracts[stage] = run_stage(stage, contract, params, Origin(cause=cause), places)
    return contracts


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    home = tmp_path_factory.mktemp("home")
    world, lake = write_world(home / "world"), Lake.make(home / "lake" / "shop", "shop")
    first = date(2026, 1, 5)
    publish_days(lake, world, first, (AS_OF - DAY).date())
    places = Settings(home=home, artifacts=home / "artifacts", store=str(home / "store"),
                      mlflow_uri=f"sqlite:///{home / 'mlflow.db'}")
    params = RetrainParams(source=str(lake.folder), as_of=AS_OF, settings=SETTINGS)
    then = run(params, places, "scheduled")

    # The weeks go by: days follow, one comes in again with a late event, and another release is made.
    publish_days(lake, world, AS_OF.date(), first + (DAYS - 1) * DAY)
    late = pd.read_parquet(world / "events.parquet")
    pd.concat([late, late.tail(1).assign(timestamp=pd.Timestamp("2026-01-10T23:00:00Z"))]).to_parquet(
        world / "events.parquet", index=False)
    reopened = lake.latest(date(2026, 1, 10))
    assert reopened is not None
    publish_days(lake, world, date(2026, 1, 10), date(2026, 1, 10), seen_with=AS_OF.date())
    second = lake.latest(date(2026, 1, 10))
    assert second is not None and second.rows == reopened.rows + 1
    store = ReleaseStore(places.store)
    live = store.live()
    assert live is not None
    store.commit(live.model_copy(update={"number": 2, "parent": 1, "as_of": LATER, "training": "b" * 64}))

    client = MlflowClient(places.mlflow_uri)

    def aliases() -> Mapping[str, str]:
        return dict(client.get_registered_model(places.model_name).aliases)

    def runs() -> int:
        return len(client.search_runs([then["register"]["experiment_id"]]))

    # The same snapshot is the same training, which is found; a replay of days that were never trained trains.
    shutil.copytree(home / "artifacts" / "train", home / "other" / "train")
    before = (store.history(), aliases(), runs())
    again = params.model_copy(update={"replay": True})
    now = run(again, places.model_copy(update={"artifacts": home / "other"}), "backfill")
    return Told(then, now, (before[0], store.history()), (before[1], aliases()), (before[2], runs()))


@pytest.mark.parametrize("stage", ["ingest", "features", "train", "evaluate", "index"])
def test_every_stage_gives_what_it_gave(told: Told, stage: str) -> None:
    assert told.now[stage]["path"] != told.then[stage]["path"]
    assert told.now[stage]["digest"] == told.then[stage]["digest"]


def test_metrics_and_verdict_are_those_of_then(told: Told) -> None:
    for field in ("metrics", "baselines", "parent", "champion"):
        assert told.now["evaluate"][field] == told.then["evaluate"][field]
    # Release 2 has come since; it is not what this challenger met.
    assert told.now["evaluate"]["parent"] is None
    assert [check["name"] for check in told.now["gate"]["checks"]] == [
        check["name"] for check in told.then["gate"]["checks"]]


def test_nothing_is_promoted_and_no_alias_moves(told: Told) -> None:
    assert told.now["promote"]["is_dry_run"] is True
    assert told.releases[0] == told.releases[1]
    assert [release.number for release in told.releases[1]] == [1, 2]
    assert told.aliases[0] == told.aliases[1]


def test_the_record_is_found_under_its_day(told: Told) -> None:
    assert told.now["register"]["run_id"] == told.then["register"]["run_id"]
    assert told.runs[0] == told.runs[1]
