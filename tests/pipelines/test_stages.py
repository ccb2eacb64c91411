"""The whole chain on the toy shop, with a real MLflow: run twice it does nothing new, killed midway it starts clean.

The chain runs once for the module. A stage that is to be killed runs in a process of its own, on what the clean run
handed to it but below artefact and store folders of its own, and dies of SIGKILL at a named moment: no `finally` runs.
Three moments are looked at closely here; tests/faults/test_stages.py kills and hinders every stage everywhere.
"""

import json
import pickle
import pickletools
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from pipelines.artifacts import read_json, verify
from pipelines.contracts import Origin
from pipelines.retrain import STAGES, RetrainParams, run_stage
from pipelines.settings import Settings
from serving.bundle import Bundle
from serving.encoding import History, encode
from serving.image_encoder import ImageEncoder
from serving.pictures import thumbnail
from serving.query_encoder import QueryEncoder
from serving.recommender import Recommendation, Recommender
from serving.store import ReleaseStore
from serving.user_tower import UserTower
from tests.picture_world import add_pictures
from tests.world import write_world

ORIGIN = Origin(actor="tester", reason="weekly")
# Two epochs learn little of 24 items: thresholds are low, for here the verdict only has to be an acceptance.
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "features": {"visits": 8, "valid_share": 0.2, "test_share": 0.2},
    "train": {"dimension": 8, "members": 2, "blocks": 1, "max_epochs": 2, "steps": 8,
              "search": {"text_dimension": 16, "steps": 60, "batch": 32},
              "pictures": {"dimension": 8, "fine_filters": 16, "coarse_filters": 16, "patches": 2000}},
    "evaluate": {"ks": [10], "bootstrap_samples": 20},
    "index": {"recall_queries": 20},
    "gate": {"min_recall": 0.001, "baseline_ratio": 0.01, "min_coverage": 0.0, "trial_shoppers": 3},
}
KILLED = """
import importlib, json, os, signal, sys
from pipelines.contracts import Origin
from pipelines.retrain import RetrainParams, run_stage
from pipelines.settings import Settings

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

job = json.load(sys.stdin)
module, owner, name = job["moment"].split(":")
found = importlib.import_module(module)
setattr(getattr(found, owner) if owner else found, name, die)
run_stage(job["stage"], job["upstream"], RetrainParams(**job["params"]), Origin(**job["origin"]),
          Settings(**job["places"]))
"""


@dataclass(frozen=True)
class Chain:
    """A clean run of all stages: stage -> its contract as JSON."""

    params: RetrainParams
    places: Settings
    contracts: Mapping[str, Mapping[str, Any]]

    def before(self, stage: str) -> Mapping[str, Any] | None:
        """What `stage` takes."""
        place = STAGES.index(stage)
        return self.contracts[STAGES[place - 1]] if place else None

    def again(self, stage: str, places: Settings) -> dict[str, Any]:
        """Run one stage on what it took in the clean run."""
        return run_stage(stage, self.before(stage), self.params, ORIGIN, places)

    def kill(self, stage: str, moment: str, places: Settings) -> None:
        """Run one stage in a process that dies at `moment`."""
        job = {"stage": stage, "moment": moment, "upstream": self.before(stage), "origin": ORIGIN.model_dump(),
               "params": self.params.model_dump(mode="json"), "places": places.model_dump(mode="json")}
        done = subprocess.run([sys.executable, "-c", KILLED], cwd=Path(__file__).resolve().parents[2],
                              input=json.dumps(job), capture_output=True, text=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    home = tmp_path_factory.mktemp("home")
    shop = add_pictures(write_world(home / "shop", users=60))
    params = RetrainParams(source=str(shop), as_of=datetime(2026, 1, 25, tzinfo=UTC), settings=SETTINGS)
    places = Settings(home=home, artifacts=home / "artifacts", store=home / "store",
                      mlflow_uri=f"sqlite:///{home / 'mlflow.db'}")
    contracts: dict[str, Mapping[str, Any]] = {}
    contract = None
    for stage in STAGES:
        contract = contracts[stage] = run_stage(stage, contract, params, ORIGIN, places)
    return Chain(params, places, contracts)


@pytest.fixture
def fresh(chain: Chain, tmp_path: Path) -> Iterator[Settings]:
    """Artefacts and store of this test alone; MLflow is the clean run's, whose tables take seconds to make."""
    yield chain.places.model_copy(update={"artifacts": tmp_path / "artifacts", "store": str(tmp_path / "store")})
    shutil.rmtree(tmp_path, ignore_errors=True)


def client_of(places: Settings) -> MlflowClient:
    return MlflowClient(places.mlflow_uri, places.mlflow_uri)


def runs(places: Settings) -> list[Run]:
    client = client_of(places)
    experiment = client.get_experiment_by_name(places.experiment)
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def versions(places: Settings) -> list[str]:
    return [str(found.version) for found in client_of(places).search_model_versions(f"name = '{places.model_name}'")]


def aliases(places: Settings) -> dict[str, str]:
    found = client_of(places).get_registered_model(places.model_name).aliases
    return {alias: str(version) for alias, version in found.items()}


def files(places: Settings) -> dict[str, int]:
    """Every path below artefacts and store, with the time of its last change."""
    roots = (places.artifacts, Path(places.store))
    return {str(path): path.stat().st_mtime_ns for root in roots for path in root.rglob("*")}


def sealed(stage: str, places: Settings) -> list[Path]:
    """What a reader sees of a stage: attempts have a leading dot."""
    return [path for path in (places.artifacts / stage).glob("*") if not path.name.startswith(".")]


def without_places(contract: Any) -> Any:
    """A contract chain, wherever its folders lie."""
    if isinstance(contract, Mapping):
        return {name: without_places(value) for name, value in contract.items() if name != "path"}
    return contract


def test_the_clean_run_ends_in_one_release_of_what_was_trained(chain: Chain) -> None:
    (release,) = ReleaseStore(chain.places.store).history()
    assert (release.number, release.parent, release.actor, release.reason) == (1, None, "tester", "weekly")
    assert release.bundle == chain.contracts["index"]["digest"]
    assert release.training == chain.contracts["train"]["digest"]
    assert release.model_version == "1"
    assert versions(chain.places) == ["1"]
    for stage in STAGES[:-1]:
        assert [str(folder) for folder in sealed(stage, chain.places)] == [chain.contracts[stage]["path"]]
        verify(Path(chain.contracts[stage]["path"]))
    # The retrain's run and one nested run a stage; register is the retrain's own.
    named = sorted(run.info.run_name for run in runs(chain.places) if "mlflow.parentRunId" in run.data.tags)
    assert named == sorted(set(STAGES) - {"register"})
    assert {run.info.status for run in runs(chain.places)} == {"FINISHED"}
    assert aliases(chain.places) == {"challenger": "1", "champion": "1"}


def test_every_question_is_answered_with_the_scores_of_the_training_s_own_files(chain: Chain) -> None:
    """Offline: matrices and towers of the train stage, and the snapshot's pictures. Served: the sealed bundle."""
    trained, snapshot = (Path(chain.contracts[stage]["path"]) for stage in ("train", "features"))
    served = Recommender(Bundle.load(chain.contracts["index"]["path"]))
    vectors, inputs, text = (np.load(trained / f"{name}.npy") for name in ("item_vectors", "item_inputs", "item_text"))

    def agree(found: list[Recommendation], scores: np.ndarray) -> None:
        assert [answer.score for answer in found] == pytest.approx(scores[[a.row for a in found]].tolist(), abs=1e-5)
        # Best first, of all that may be shown.
        assert [answer.score for answer in found] == pytest.approx(
            np.sort(scores[np.isfinite(scores)])[::-1][: len(found)].tolist(), abs=1e-5)

    words = served.search("green bear number 13", 24)
    agree(words, np.concatenate([vectors, text], axis=1) @ QueryEncoder.load(trained).vector("green bear number 13"))
    assert words[0].row == 13

    behaviour = vectors[:, :-1] / np.linalg.norm(vectors[:, :-1], axis=1, keepdims=True)
    cosine = behaviour @ behaviour[5]
    cosine[5] = -np.inf
    agree(served.similar(5, 23), cosine)

    types = read_json(snapshot / "spec.json")["event_types"]
    visit = History(np.array([3, 4], np.int32), np.zeros(2, np.int64),
                    np.full(2, types.index("purchase"), np.int16), np.ones(2, np.float32))
    user = UserTower(trained / "user_tower.tflite").vectors(
        encode([visit], np.zeros(1, np.int64), np.zeros((1, 1), np.int32), inputs, served.bundle.limits))
    scores = vectors @ user[0]
    scores[[3, 4]] = -np.inf
    agree(served.basket([3, 4], 22), scores)

    image = pd.read_parquet(chain.params.source + "/items.parquet")["image"][2]
    pictured = np.full(24, -np.inf)
    pictured[np.load(snapshot / "picture_rows.npy")] = np.load(trained / "picture_vectors.npy") @ ImageEncoder(
        trained / "image_encoder.tflite").vectors(thumbnail(image, "it")[None])[0]
    shown = served.search_image(image, 18)
    agree(shown, pictured)
    assert shown[0].score == pytest.approx(1, abs=1e-5)  # its own picture, or one that is drawn alike


def is_pickle(path: Path) -> bool:
    """Whether a file is a pickle of protocol 2 or later, by its opcodes; the ones before are known by their names."""
    content = path.read_bytes()
    if path.suffix in (".pkl", ".pickle", ".joblib", ".dill"):
        return True
    if content[:1] != b"\x80" or content[1:2] not in b"\x02\x03\x04\x05":
        return b"'|O'" in content[:200]  # an array of objects, which NumPy pickles
    try:
        return bool(list(pickletools.genops(content)))
    except ValueError:
        return False


def test_nothing_that_a_retrain_writes_is_a_pickle(chain: Chain, tmp_path: Path) -> None:
    (tmp_path / "pickle").write_bytes(pickle.dumps({"a": [1.5]}))
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    assert [is_pickle(path) for path in sorted(tmp_path.iterdir())] == [True, True]
    written = [path for path in chain.places.home.rglob("*") if path.is_file()]
    assert len(written) > 100
    assert [path for path in written if is_pickle(path)] == []


def names_a_customer(path: Path) -> bool:
    """Whether an id of the world's customers, u000 to u059, stands in a table or in a text."""
    if path.suffix == ".parquet":
        columns = pq.read_table(path, partitioning=None).to_pydict().values()
        return any(f"u{number:03d}" in column for column in columns for number in range(60))
    try:
        return re.search(r"\bu0[0-5]\d\b", path.read_text(encoding="utf-8")) is not None
    except UnicodeDecodeError:
        return b"'<U" in path.read_bytes()[:200] and bool(np.isin(["u001"], np.load(path)).any())


def test_customers_are_named_in_the_lake_the_snapshot_and_the_evaluation_alone(chain: Chain) -> None:
    """What vitrine erase-user relies on: no id goes on to MLflow, to a bundle or to a verdict."""
    home = chain.places.home
    found = {path.relative_to(home).parts[:2] for path in home.rglob("*") if path.is_file() and names_a_customer(path)}
    assert {place for place in found if place[0] != "shop"} == {
        ("artifacts", stage) for stage in ("ingest", "features", "evaluate")}


def test_a_second_run_returns_the_same_contracts_and_makes_nothing(chain: Chain) -> None:
    files_before, runs_before = files(chain.places), sorted(run.info.run_id for run in runs(chain.places))
    contract: Mapping[str, Any] | None = None
    for stage in STAGES:
        contract = run_stage(stage, contract, chain.params, ORIGIN, chain.places)
        assert contract == chain.contracts[stage], stage
    assert files(chain.places) == files_before
    assert sorted(run.info.run_id for run in runs(chain.places)) == runs_before
    assert versions(chain.places) == ["1"]
    assert len(ReleaseStore(chain.places.store).history()) == 1


def test_a_killed_training_leaves_nothing_and_is_trained_again(chain: Chain, fresh: Settings) -> None:
    chain.kill("train", "models.member_training::rank", fresh)  # after the first epoch
    assert sealed("train", fresh) == []
    assert len(list((fresh.artifacts / "train").glob(".attempt-*"))) == 1
    contract, clean = chain.again("train", fresh), chain.contracts["train"]
    assert [str(folder) for folder in sealed("train", fresh)] == [contract["path"]]
    verify(Path(contract["path"]))
    # Not the same bytes: a SavedModel holds generated names. The same towers.
    assert {**contract, "path": "", "digest": ""} == {**clean, "path": "", "digest": ""}
    for name in ("item_vectors", "item_inputs", "item_text", "picture_vectors"):
        np.testing.assert_allclose(np.load(Path(contract["path"]) / f"{name}.npy"),
                                   np.load(Path(clean["path"]) / f"{name}.npy"), rtol=1e-4, atol=1e-5)


def test_a_killed_registration_ends_in_one_run_and_one_version(chain: Chain, fresh: Settings) -> None:
    own = fresh.model_copy(update={"experiment": "killed", "model_name": "killed"})
    # The version is made, and nobody has been told.
    chain.kill("register", "mlflow.tracking:MlflowClient:set_registered_model_alias", own)
    assert sealed("register", own) == []
    assert versions(own) == ["1"]
    begun = {run.info.run_id: run.info.status for run in runs(own)}
    assert sorted(begun.values()) == [*4 * ["FINISHED"], "RUNNING"]  # four stages', and the retrain's own
    contract = chain.again("register", own)
    assert len(sealed("register", own)) == 1
    assert versions(own) == [contract["model_version"]] == ["1"]
    assert {run.info.run_id: run.info.status for run in runs(own)} == dict.fromkeys(begun, "FINISHED")
    assert len(client_of(own).search_logged_models([contract["experiment_id"]])) == 1
    assert aliases(own) == {"challenger": "1"}
    assert chain.again("register", own) == contract


def test_a_promotion_killed_after_its_record_ends_in_one_release(chain: Chain, fresh: Settings) -> None:
    """Kills before the record is written, and while the bundle is added: test_promote.py and test_store.py."""
    store, bundle = ReleaseStore(fresh.store), chain.contracts["index"]["digest"]
    # That of the clean run: what follows must set it.
    client_of(fresh).delete_registered_model_alias(fresh.model_name, "champion")
    chain.kill("promote", "pipelines.tracking::promoted", fresh)
    assert [release.bundle for release in store.history()] == [bundle]
    assert aliases(fresh) == {"challenger": "1"}
    assert chain.again("promote", fresh) == chain.contracts["promote"]
    assert [release.bundle for release in store.history()] == [bundle]
    assert aliases(fresh) == {"challenger": "1", "champion": "1"}
    assert versions(fresh) == ["1"]
