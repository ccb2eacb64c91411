"""What may befall retrains that a real Airflow runs: MLflow away for a minute, a promotion without its supervisor, and
scheduled, manual and backfilled runs at once.

The promotion's first try outlives its supervisor, is held until a second one has released, and then goes on.
"""

import signal
import subprocess
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from serving.store import ReleaseStore
from stack import processes
from stack.airflow_client import answers
from stack.installation import Installation, mlflow_environment
from tests.faults.conftest import Sweep
from tests.pipelines.test_stages import SETTINGS
from tests.stack.airflow_of_one_dag import STARTED, OneDag, wait_for
from tests.world import write_world

pytestmark = [pytest.mark.e2e, pytest.mark.full_faults]
RUNS, DOWN_S = 5, 60.0
AS_OF = datetime(2026, 1, 25, tzinfo=UTC)
# Any challenger passes, whatever is live and however little it differs: what it is worth is tried elsewhere.
TOY = {**SETTINGS, "train": {**SETTINGS["train"], "max_epochs": 1, "steps": 2, "members": 1},
       "gate": {**SETTINGS["gate"], "champion_tolerance": 0.98, "widest_tolerance": 0.99, "slice_tolerance": 0.99,
                "coverage_ratio": 0.0, "min_churn": 0.0, "max_churn": 1.0, "min_users": 2}}
# A task has the parameters that its DAG had when it was made.
BY_DEFAULT = """
for one in (dag, *dag.tasks):
    one.params["settings"] = {settings!r}
"""
# The first try of each release waits before it writes the record, until a file lets it go on.
HELD = """
import os, time
from pathlib import Path
from serving.store import ReleaseStore

commit = ReleaseStore.commit

def held(store, release):
    place = Path({folder!r}) / release.as_of.isoformat()
    try:
        with place.open("x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        pass
    else:
        while place.exists():
            time.sleep(0.1)
    return commit(store, release)

ReleaseStore.commit = held
"""


class Mlflow:
    """MLflow's own server, on a file of its own."""

    def __init__(self, installation: Installation) -> None:
        self.installation, self.port = installation, processes.choose_port("MLFLOW_PORT", 5000)
        self.up()

    def up(self) -> None:
        """Start it, for the first time or again."""
        home, log = self.installation.home, self.installation.logs / "mlflow.log"
        home.mkdir(parents=True, exist_ok=True)
        self.process = processes.spawn(
            ["mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
             "--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}", "--serve-artifacts",
             "--artifacts-destination", str(home / "mlflow")], mlflow_environment(self.installation), log)
        STARTED.append(self.process)
        processes.wait_until("mlflow", lambda: answers(f"http://127.0.0.1:{self.port}/health"), self.process, log, 180)

    def down(self) -> None:
        """End it at once."""
        server = psutil.Process(self.process.pid)
        processes.end([server, *server.children(recursive=True)], signal.SIGKILL, 10)
        self.process.wait()


def trigger(airflow: OneDag, run: str, shop: Path, as_of: datetime) -> None:
    airflow.client.trigger("retrain", run, {"data": str(shop), "as_of": as_of.isoformat(), "settings": TOY,
                                            "reason": run})


def tasks(airflow: OneDag, run: str) -> dict[str, dict[str, Any]]:
    return {task["task_id"]: task for task in airflow.client.tasks("retrain", run)}


def is_over(airflow: OneDag, run: str) -> bool:
    return airflow.client.run_state("retrain", run) in ("success", "failed")


def test_a_retrain_waits_for_mlflow(sweep: Sweep, installation: Installation, tmp_path: Path) -> None:
    shop, mlflow = write_world(tmp_path / "toys", users=60), Mlflow(installation)
    airflow = OneDag.start(installation, "retrain", {}, is_quick=False, mlflow_port=mlflow.port)
    tries = []
    for number in range(RUNS):
        run = f"run-{number}"
        # The same data again and again: all but the release is found, and MLflow is asked nevertheless.
        trigger(airflow, run, shop, AS_OF)
        wait_for("the evaluation", lambda run=run: tasks(airflow, run)["evaluate"]["state"] == "success")
        mlflow.down()
        time.sleep(DOWN_S)
        mlflow.up()
        wait_for("the end of the run", lambda run=run: is_over(airflow, run), 1200)
        ended = tasks(airflow, run)
        assert airflow.client.run_state("retrain", run) == "success", ended
        tries.append(ended["register"]["try_number"])
    sweep.count(runs_ended_right=RUNS, tries_of_register=str(tries))
    assert max(tries) > 1
    history = ReleaseStore(installation.home / "store" / "toys").history()
    assert [release.number for release in history] == list(range(1, len(history) + 1))
    assert len({release.model_version for release in history}) == 1  # one training, recorded once


def test_a_stale_first_try_releases_nothing_beside_the_second(
    sweep: Sweep, installation: Installation, tmp_path: Path
) -> None:
    shop, mlflow = write_world(tmp_path / "toys", users=60), Mlflow(installation)
    holds = tmp_path / "holds"
    holds.mkdir()
    airflow = OneDag.start(installation, "retrain", {}, mlflow_port=mlflow.port, more=HELD.format(folder=str(holds)))
    store = ReleaseStore(installation.home / "store" / "toys")
    for number in range(RUNS):
        run, as_of = f"run-{number}", AS_OF - timedelta(days=RUNS - number)
        trigger(airflow, run, shop, as_of)
        hold = holds / as_of.isoformat()
        wait_for("the promotion's first try", lambda hold=hold: hold.exists() and bool(hold.read_text()), 300)
        first = psutil.Process(int(hold.read_text()))
        supervisor = first.parent()
        assert supervisor is not None and "LocalExecutor" in " ".join(supervisor.cmdline())
        supervisor.kill()
        wait_for("the end of the run", lambda run=run: is_over(airflow, run), 1200)
        assert airflow.client.run_state("retrain", run) == "success"
        assert tasks(airflow, run)["promote"]["try_number"] > 1
        released = store.history()
        assert len(released) == number + 1
        assert alive(first)
        hold.unlink()
        wait_for("the end of the first try", lambda first=first: not alive(first))
        assert store.history() == released
    sweep.count(stale_first_tries=RUNS, releases=len(store.history()))


def test_runs_at_once_never_take_what_is_live_back_in_time(
    sweep: Sweep, installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_three = (datetime.now(UTC) - timedelta(hours=3)).replace(hour=0, minute=0, second=0, microsecond=0)
    monday = at_three - timedelta(days=at_three.weekday())  # the schedule's: every Monday, at 03:00
    shop, mlflow = world_until(tmp_path / "toys", monday + timedelta(days=1)), Mlflow(installation)
    monkeypatch.setenv("VITRINE_SOURCE", str(shop))
    airflow = OneDag.start(installation, "retrain", {"SCHEDULER__USE_JOB_SCHEDULE": True, "CORE__PARALLELISM": 4},
                           mlflow_port=mlflow.port, more=BY_DEFAULT.format(settings=TOY))
    newest = monday + timedelta(days=1)
    manual = {f"manual-{days}": newest - timedelta(days=days) for days in (2, 0, 3)}
    for run, as_of in manual.items():
        trigger(airflow, run, shop, as_of)
    first, last = ((monday - timedelta(days=days)).date() for days in (27, 6))
    asked = ["airflow", "backfill", "create", "--dag-id", "retrain", "--from-date", str(first), "--to-date", str(last),
             "--max-active-runs", "2"]
    said = subprocess.run(asked, env=airflow.environment, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr

    def runs() -> Counter[tuple[str, str]]:
        return Counter((run["run_type"], run["state"]) for run in airflow.runs("retrain"))

    wait_for("a run of each kind", lambda: {kind for kind, _ in runs()} == {"manual", "scheduled", "backfill"})
    wait_for("their end", lambda: not {"queued", "running"} & {state for _, state in runs()}, 3600)
    failed = [run["dag_run_id"] for run in airflow.runs("retrain") if run["state"] == "failed"]
    for run in failed:  # later than one of newer data
        assert "would replace data up to" in installation.task_log("retrain", run, "promote", 1).read_text()
    released = ReleaseStore(installation.home / "store" / "toys").history()
    moments = [release.as_of for release in released]
    assert moments == sorted(moments) and moments[-1] == newest
    # A run of a day that is over never releases; of the others each did whose data were not older than what was live.
    assert "airflow:backfill" not in {release.actor for release in released}
    assert set(moments) <= {*manual.values(), monday + timedelta(hours=3)}
    assert len(released) + len(failed) == len(manual) + 1
    sweep.count(**{f"{kind}_runs_{state}": number for (kind, state), number in runs().items()}, releases=len(released))


def world_until(folder: Path, end: datetime) -> Path:
    """The toy shop, whose last event lies on the day before `end`."""
    shop = write_world(folder, users=60)
    events = pd.read_parquet(shop / "events.parquet")
    events["timestamp"] += pd.Timestamp(end) - events["timestamp"].max().ceil("D")
    events.to_parquet(shop / "events.parquet", index=False)
    return shop


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
