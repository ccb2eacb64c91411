"""Canaries in every place that may hold a secret, and stages that succeed and fail: nothing shows one of them."""

import json
import logging
import os
import subprocess
import sys
import traceback
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

import pipelines
from pipelines.cli import app
from pipelines.contracts import Origin
from pipelines.errors import VitrineError
from pipelines.gate import GateSettings, gate
from pipelines.index import IndexSettings, index
from pipelines.promote import promote
from pipelines.retrain import RetrainParams, run_stage
from pipelines.settings import load_settings
from serving.store import ReleaseStore
from tests.release_world import make_registered
from tests.world import write_world

ORIGIN = Origin(actor="tester", reason="canaries")
CANARIES = {name: f"canary{name}7d1f" for name in ("mlflow", "source", "aws", "token", "connection", "query", "redis")}
NOBODY = "127.0.0.1:1"  # a port that nobody listens on
ENVIRONMENT = {
    "MLFLOW_TRACKING_URI": f"http://keeper:{CANARIES['mlflow']}@{NOBODY}",
    "VITRINE_SOURCE": f"postgres://shop:{CANARIES['source']}@{NOBODY}/log?sslpassword={CANARIES['query']}",
    "VITRINE_SESSIONS": f"redis://:{CANARIES['redis']}@{NOBODY}/0",
    "AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": CANARIES["aws"], "AWS_REGION": "eu-west-1",
    "AWS_SESSION_TOKEN": CANARIES["token"], "AWS_ENDPOINT_URL": f"http://{NOBODY}",
    "AIRFLOW_CONN_SHOP_DB": f"postgres://shop:{CANARIES['connection']}@{NOBODY}/log",
}


class Told:
    """All that was said, and where it was written."""

    def __init__(self, home: Path) -> None:
        self.home, self.texts, self.failures = home, list[str](), 0

    @contextmanager
    def failing(self, *kinds: type[BaseException]) -> Iterator[None]:
        """A stage that has to fail; what its error and all its causes say is kept."""
        with pytest.raises(kinds or (VitrineError,)) as caught:
            yield
        self.failures += 1
        self.texts += [str(caught.value), repr(caught.value), *traceback.format_exception(caught.value)]

    def canaries(self) -> list[str]:
        """Canaries that were seen, and where."""
        seen = [f"{name} in {text[:200]!r}" for name, canary in CANARIES.items() for text in self.texts
                if canary in text]
        for path in self.home.rglob("*"):
            content = path.read_bytes() if path.is_file() else b""
            seen += [f"{name} in {path}" for name, canary in CANARIES.items()
                     if canary.encode() in content or canary in path.name]
        return seen


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd) -> Iterator[Told]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("VITRINE_HOME", str(tmp_path / "home"))
    caplog.set_level(logging.DEBUG)
    told = Told(tmp_path)
    yield told
    out, err = capfd.readouterr()
    told.texts += [out, err, caplog.text, *(str(record.__dict__) for record in caplog.records)]
    assert told.canaries() == []


def test_the_search_finds_a_canary_wherever_it_sings(tmp_path: Path) -> None:
    told = Told(tmp_path)
    with told.failing(ValueError):
        try:
            raise OSError(CANARIES["aws"])
        except OSError as error:
            raise ValueError("it failed") from error
    (tmp_path / "run.json").write_text(CANARIES["token"])
    assert {line.split()[0] for line in told.canaries()} == {"aws", "token"}


def test_settings_do_not_show_them(told: Told) -> None:
    places = load_settings()
    told.texts += [repr(places), str(places), repr(places.of_shop("x"))]
    assert places.client_options == {} and places.mlflow_uri == ENVIRONMENT["MLFLOW_TRACKING_URI"]
    in_bucket = load_settings({**ENVIRONMENT, "VITRINE_STORE": "s3://bucket/x"})
    assert in_bucket.client_options["secret_access_key"] == CANARIES["aws"]
    told.texts += [repr(in_bucket), in_bucket.model_dump_json(exclude={"mlflow_uri", "source"})]


def test_stages_that_succeed_write_none(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = load_settings()
    params = RetrainParams(source=str(write_world(tmp_path / "shop")), as_of="2026-01-25T00:00:00Z")
    ingested = run_stage("ingest", None, params, ORIGIN, places)
    run_stage("features", ingested, params, ORIGIN, places)
    quiet_mlflow(monkeypatch)
    sealed = index(make_registered(tmp_path / "artifacts"), IndexSettings(), places, tmp_path / "artifacts")
    verdict = gate(sealed, GateSettings(), places, tmp_path / "artifacts")
    released = promote(verdict, ORIGIN, False, places)
    assert ReleaseStore(places.store).live().number == released.number


def quiet_mlflow(patch: pytest.MonkeyPatch) -> None:
    """In place of an MLflow that nobody started."""
    recorder = types.ModuleType("pipelines.tracking")
    for name in ("stage_run", "tag", "verdict", "promoted"):
        setattr(recorder, name, lambda *_: None)
    patch.setitem(sys.modules, "pipelines.tracking", recorder)
    patch.setattr(pipelines, "tracking", recorder, raising=False)


def test_a_database_that_does_not_answer_is_named_without_them(told: Told) -> None:
    places = load_settings()
    params = RetrainParams(source=places.source, as_of="2026-01-25T00:00:00Z")
    with told.failing():
        run_stage("ingest", None, params, ORIGIN, places)
    assert NOBODY in told.texts[0]
    for command in (["check", places.source], ["ingest", "--data", places.source, "--as-of", "2026-01-25"],
                    ["retrain", "--data", places.source]):
        answer = CliRunner().invoke(app, command)
        assert answer.exit_code != 0
        told.texts += [answer.output, *traceback.format_exception(answer.exception)]


def test_mlflow_that_does_not_answer_is_named_without_them(told: Told, tmp_path: Path) -> None:
    from pipelines import tracking

    places, registered = load_settings(), make_registered(tmp_path / "artifacts")
    for call in (lambda: tracking.identity(places), lambda: tracking.tag(registered, {"a": "b"}, places),
                 lambda: tracking.require_run(registered, places),
                 lambda: tracking.stage_run(registered, "gate", {}, {}, (), places),
                 lambda: index(registered, IndexSettings(), places, tmp_path / "artifacts")):
        with told.failing():
            call()
    assert NOBODY in told.texts[0]
    assert told.failures == 5


def test_a_bucket_that_does_not_answer_is_named_without_them(told: Told) -> None:
    places = load_settings({**ENVIRONMENT, "VITRINE_STORE": "s3://bucket/x"})
    store = ReleaseStore(places.store, places.client_options)
    with told.failing():
        store.live()


# In a process of its own: Airflow takes over whoever imports it.
TASKS = """
import json, logging, os, sys, traceback
from types import SimpleNamespace
from plugins.stage_task import StageTask, retrain_params

logging.basicConfig(level=logging.DEBUG, force=True)
logging.getLogger("tests").debug("is heard")
said = []

def failing(call, *arguments):
    try:
        call(*arguments)
    except Exception as error:
        said.append(str(error))
        traceback.print_exc()
    else:
        raise SystemExit(f"{call} was to fail")

run = SimpleNamespace(triggering_user_name="tester", run_type=SimpleNamespace(value="manual"), dag_id="retrain",
                      run_id="r1", data_interval_end=None)

def asked(**form):
    return {"params": {"as_of": "2026-01-25T00:00:00+00:00", "reason": "canaries", **form}, "dag_run": run}

for data in (os.environ["VITRINE_SOURCE"], "connection:shop_db"):
    failing(StageTask(stage="ingest", minutes=1).execute, asked(data=data))
is_found = retrain_params(asked(data="connection:shop_db")).source == os.environ["AIRFLOW_CONN_SHOP_DB"]
failing(retrain_params, asked(data="connection:nobody"))
for wrong in ({"epochs": -1}, {"settings": {"train": 3}}, {"surplus": 1}):
    failing(retrain_params, asked(data=os.environ["VITRINE_SOURCE"], **wrong))
print(json.dumps({"is_found": is_found, "said": said}))
"""


def test_a_task_shows_none_whether_an_address_is_typed_or_a_connections_or_the_form_is_wrong(
    told: Told, repository: Path, tmp_path: Path
) -> None:
    environment = os.environ | {"AIRFLOW_HOME": str(tmp_path / "airflow"), "PYTHONPATH": str(repository)}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", TASKS], cwd=repository, env=environment,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told.texts += [done.stdout, done.stderr]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["is_found"] and len(answer["said"]) == 6
    assert "Airflow has no connection nobody" in answer["said"][2]
    assert "is heard" in done.stderr
