"""The register stage on a shop of three items: the same retrain is recorded once, whatever is repeated."""

import shlex
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from pipelines import tracking
from pipelines.artifacts import read_json, verify
from pipelines.contracts import Evaluated, Snapshot, Window
from pipelines.errors import CorruptArtifact, TrackingError
from pipelines.given_settings import parse_settings
from pipelines.model_card import comparison, model_card, table
from pipelines.record import flat
from pipelines.register import RegisterSettings, input_example, named_metrics, register
from pipelines.reproduce import retrain_command
from pipelines.retrain import RetrainParams, run_stage
from pipelines.settings import Settings
from pipelines.snapshot import SnapshotData
from serving.doors import Door, Doors
from tests.register_world import (
    ITEM_INPUTS,
    METRICS,
    ORIGIN,
    SPEC,
    write_evaluated,
    write_snapshot,
    write_tower,
)
from tests.world import write_world


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tower(tmp_path_factory.mktemp("tower") / "saved_model")


@pytest.fixture
def evaluated(saved_model: Path, tmp_path: Path) -> Evaluated:
    return write_evaluated(tmp_path, saved_model)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def places(home: Path, request: pytest.FixtureRequest) -> Settings:
    """One database for all tests, since its tables take seconds to make; an experiment and a model each."""
    name = request.node.name
    return Settings(home=home, artifacts=home / "a", store=home / "s", mlflow_uri=f"sqlite:///{home / 'mlflow.db'}",
                    model_name=name, experiment=name)


def test_named_metrics() -> None:
    named = named_metrics(METRICS)
    assert named["recall_at_10"] == 0.5
    assert named["recall_at_10_low"] == pytest.approx(0.4)
    assert named["als_recall_at_10"] == 0.4
    assert named["als_exposure_gini"] == pytest.approx(0.04)
    assert named["gain_over_als"] == pytest.approx(0.25)  # .5 / .4 - 1
    assert "gain_over_popularity" not in named  # .5 / 0
    assert named["slice/new_items/recall_at_10"] == 0.2
    assert named["slice/new_items/als_recall_at_10"] == 0.3
    assert named["slice/new_items/events"] == 2
    assert "slice/new_items/als_events" not in named


def test_input_example_is_a_known_and_an_unknown_shopper(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "snapshot")
    example = input_example(SnapshotData.load(tmp_path / "snapshot"), ITEM_INPUTS, 2)
    assert example["visits"].shape == (2, 1, 2)
    np.testing.assert_array_equal(example["visits"][0], [[1, 0]])  # item 0, the last visit
    np.testing.assert_array_equal(example["counts"], [[1], [0]])
    np.testing.assert_array_equal(example["wait"], [2, 0])  # 1 second: 1 + log2(1 + 1)
    np.testing.assert_array_equal(example["user"], [[7, 8], [0, 0]])


def card_of(evaluated: Evaluated, doors: Doors | None = None, revision: str | None = "abc123") -> str:
    closed = Door(closed="nothing to learn from")
    return model_card(evaluated, {"visits": 4, "valid_share": 0.1}, {"dimension": 2}, SPEC, METRICS,
                      doors or Doors(search=closed, pictures=closed), intended_use="For the shop window.",
                      revision=revision)


def test_card_says_where_the_model_is_behind(evaluated: Evaluated) -> None:
    doors = Doors(search=Door(figures={"exact_recall@10": 0.75}), pictures=Door(closed="no product has a picture"))
    card = card_of(evaluated, doors)
    assert "| by words | exact_recall@10 | 0.7500 |" in card
    assert "| by a picture | not possible: no product has a picture |  |" in card
    assert "For the shop window." in card
    assert "Behind another model in recall@10 in: new_items (2 events)." in card
    assert "`/data/online_retail`" in card
    assert "1.0 training events a user" in card  # 2 / 2
    assert "recall@10 0.4000 to 0.6000" in card
    header, rows = comparison(METRICS)
    assert header == ["model", "recall@10", "ndcg@10", "gain of two-tower"]
    assert rows[1] == ["ALS", 0.4, 0.2, "+25.0 %"]
    assert table(["a", "b"], [["x", 1234], ["y", 0.5]]) == (
        "| a | b |\n| --- | ---: |\n| x | 1,234 |\n| y | 0.5000 |")


def test_card_says_what_the_model_was_made_of(evaluated: Evaluated) -> None:
    card = card_of(evaluated)
    for row in ("| first and last event | 2011-12-09 00:00 and 2011-12-09 00:00 UTC, on 1 days |",
                "| users, items, events | 2, 3, 3 |", "| validation, test answers | 0, 1 |",
                "| event types and weights | purchase 1, view 0.5 |", "| columns of the items | colour (category) |",
                "| columns of the users | country (category) |", f"| digest of the checked copy | `{'lake' * 8}` |",
                f"| digest of the encoded data | `{'snapshot' * 8}` |"):
        assert row in card
    assert "Of shoppers it takes the history and country;" in card
    assert "25.0 % go to the most popular tenth of the range, 12.5 % to products without a training event" in card
    # Both slices of METRICS are far below 100 events.
    assert "Slices of fewer than 100 events say little, those of none nothing: all (8), new_items (2)." in card
    assert "trained anew" not in card
    trained = evaluated.trained.model_copy(update={"is_refit": True})
    assert "then trained anew on train and valid" in card_of(evaluated.model_copy(update={"trained": trained}))


def test_card_says_how_to_make_the_model_again(evaluated: Evaluated) -> None:
    lines = card_of(evaluated).splitlines()
    start = lines.index("## How to make it again")
    assert lines[start + 2 : start + 6] == [
        "```sh", "git checkout abc123 && make env",
        # valid_share is the default, 4 visits and 2 dimensions are not.
        "vitrine retrain --data /data/online_retail --as-of 2011-12-10T00:00:00 --set features.visits=4 "
        "--set train.dimension=2 --dry-run", "```"]
    unknown = card_of(evaluated, revision=None)
    assert "git checkout" not in unknown and "its revision is not known" in unknown


def test_the_command_of_the_card_makes_the_same_snapshot(tmp_path: Path) -> None:
    shop = write_world(tmp_path / "a shop")
    given = {"features": {"visits": 6, "valid_share": 0.2}, "train": {"dropout": 0.25, "search": {"steps": 7}}}
    params = RetrainParams(source=str(shop), as_of=datetime(2026, 1, 24, 12, tzinfo=UTC), window_days=15,
                           settings=given)

    def encoded(params: RetrainParams, root: Path) -> Snapshot:
        places = Settings(home=root, artifacts=root, store=root, mlflow_uri="sqlite://")
        lake = run_stage("ingest", None, params, ORIGIN, places)
        return Snapshot.model_validate(run_stage("features", lake, params, ORIGIN, places))

    snapshot = encoded(params, tmp_path / "first")
    kept = read_json(Path(snapshot.path) / "settings.json")
    words = shlex.split(retrain_command(snapshot, kept, flat(given["train"])))
    assert words[:2] == ["vitrine", "retrain"] and words[-1] == "--dry-run"
    pairs = list(zip(words[2:-1:2], words[3:-1:2], strict=True))
    options = dict(pairs)
    settings = parse_settings([value for name, value in pairs if name == "--set"])
    again = RetrainParams(source=options["--data"], window_days=int(options["--window-days"]), settings=settings,
                          as_of=datetime.fromisoformat(options["--as-of"]).replace(tzinfo=UTC))
    assert again == params
    assert encoded(again, tmp_path / "second").digest == snapshot.digest


def test_register_twice_records_once(evaluated: Evaluated, places: Settings, tmp_path: Path) -> None:
    registered = register(evaluated, ORIGIN, RegisterSettings(), places, tmp_path)
    assert register(evaluated, ORIGIN, RegisterSettings(), places, tmp_path) == registered
    # And where the sealed folder was lost after MLflow had everything.
    assert register(evaluated, ORIGIN, RegisterSettings(), places, tmp_path / "elsewhere") == registered.model_copy(
        update={"path": registered.path.replace(str(tmp_path), str(tmp_path / "elsewhere"))})
    verify(Path(registered.path))
    client = MlflowClient(places.mlflow_uri, places.mlflow_uri)
    (run,) = client.search_runs([registered.experiment_id], "tags.`vitrine.dag_run_id` = 'manual_1'")
    assert run.info.run_id == registered.run_id
    assert run.info.status == "FINISHED"
    assert run.data.params == {
        "train.dimension": "2", "train.optimizer.rate": "0.1", "window.start": "None",
        "window.as_of": "2011-12-10T00:00:00+00:00", "data.users": "2", "data.items": "3", "data.events": "3",
        "data.train_events": "2", "data.valid_targets": "0", "data.test_targets": "1"}
    assert run.data.metrics["gain_over_als"] == pytest.approx(0.25)
    assert run.data.metrics["search/exact_recall_at_10"] == 0.75
    assert run.data.metrics["pictures/precision_at_10"] == 0.5
    history = client.get_metric_history(registered.run_id, "valid_recall_at_10")
    assert [(point.step, point.value) for point in history] == [(1, 0.3), (2, 0.4)]
    assert run.data.tags["mlflow.source.git.commit"] == "abc123"
    assert run.data.tags["vitrine.training_digest"] == "trained" * 8
    assert run.data.tags["vitrine.parent_release"] == "3"
    assert "vitrine.champion_bundle" not in run.data.tags
    stages = client.search_runs([registered.experiment_id], f"tags.`mlflow.parentRunId` = '{registered.run_id}'")
    named = {stage.info.run_name: stage.data for stage in stages}
    assert sorted(named) == ["evaluate", "features", "ingest", "train"] and len(stages) == 4
    assert named["train"].metrics["timing/epoch_seconds"] == 22.5
    assert named["train"].metrics["timing/search_seconds"] == 3.5
    assert named["train"].metrics["search/exact_recall_at_10"] == 0.75
    assert named["train"].params["optimizer.rate"] == "0.1"
    assert {f.path for f in client.list_artifacts(registered.run_id, "figures")} == {
        f"figures/{name}.png" for name in ("learning_curve", "recall_by_slice", "exposure")}
    assert read_json(Path(registered.path) / "baselines.json")["data"][1] == ["ALS", 0.4, 0.2, "+25.0 %"]
    (version,) = client.search_model_versions(f"name = '{places.model_name}'")
    assert "| ALS | 0.4000 | 0.2000 | +25.0 % |" in version.description


def test_the_registered_model_answers_its_example(evaluated: Evaluated, places: Settings, tmp_path: Path) -> None:
    registered = register(evaluated, ORIGIN, RegisterSettings(), places, tmp_path)
    model = mlflow.pyfunc.load_model(f"models:/{registered.model_name}@challenger")
    # The known shopper's visits sum to [1, 0]: the first row of the matrix; the unknown one's to nothing.
    np.testing.assert_allclose(model.predict(model.input_example)["vector"], [[1, 2, 3], [0, 0, 0]])
    assert model.metadata.get_input_schema().input_names() == ["visits", "counts", "types", "gaps", "wait", "user"]


def test_another_window_or_store_is_another_run(evaluated: Evaluated, places: Settings, tmp_path: Path) -> None:
    first = register(evaluated, ORIGIN, RegisterSettings(), places, tmp_path)
    snapshot = evaluated.trained.snapshot
    later = snapshot.model_copy(update={"window": Window(as_of=datetime(2011, 12, 17, tzinfo=UTC))})
    trained = evaluated.trained.model_copy(update={"snapshot": later})
    second = register(evaluated.model_copy(update={"trained": trained}), ORIGIN, RegisterSettings(), places, tmp_path)
    elsewhere = register(evaluated, ORIGIN, RegisterSettings(), places.model_copy(
        update={"experiment": f"{places.experiment} elsewhere"}), tmp_path)
    assert len({first.run_id, second.run_id, elsewhere.run_id}) == 3
    assert len({first.path, second.path, elsewhere.path}) == 3


def test_a_run_deleted_in_mlflow_is_named(evaluated: Evaluated, places: Settings, tmp_path: Path) -> None:
    registered = register(evaluated, ORIGIN, RegisterSettings(), places, tmp_path)
    MlflowClient(places.mlflow_uri).delete_run(registered.run_id)
    with pytest.raises(TrackingError, match=f"{registered.run_id} or version 1.*restore"):
        register(evaluated, ORIGIN, RegisterSettings(), places, tmp_path)


def test_what_the_evaluation_owes_is_named(evaluated: Evaluated, places: Settings, tmp_path: Path) -> None:
    np.save(Path(evaluated.path) / "exposure.npy", np.zeros((3, 4), np.int64))
    with pytest.raises(CorruptArtifact, match=r"shape \(3, 4\) where 3 models and 3 items.*evaluate stage"):
        register(evaluated, ORIGIN, RegisterSettings(), places, tmp_path)
    (Path(evaluated.path) / "metrics.json").unlink()
    with pytest.raises(CorruptArtifact, match=r"metrics\.json cannot be read"):
        register(evaluated, ORIGIN, RegisterSettings(), places, tmp_path)
    assert not list((tmp_path / "register").iterdir())
    assert tracking.identity(places) == tracking.identity(places)
