"""The whole way through the composition: days into the lake, a retrain that a person approves, serving, a way back.

Each step says what it saw, and raises StackError where that is not as it must be.
"""

import time
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pandas as pd

from pipelines.lake import Lake
from pipelines.releases.opening import open_store
from pipelines.settings import load_settings
from serving.release import Release
from stack.airflow_client import AirflowClient
from stack.installation import StackError
from stack.rehearsal.composition import Composition
from stack.rehearsal.doors import Doors
from stack.rehearsal.running import Rehearsal, until
from stack.rehearsal.variables import drawn, new_client, secrets_of

# Of the generated shop: its log ends here, and so many of its days come in by a backfill, those before by one command.
END, BACKFILLED = date(2026, 6, 28), 3
PATIENCE_S = 3600.0  # for a run; the longest trains, beside whatever else the machine does
ENDED = ("success", "failed")
# The only setting that is not the file's: nothing but what this module asks for may run meanwhile.
UNSCHEDULED = {"scheduler": {"AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False"}}

Tasks = dict[str, dict[str, Any]]


class Flow:
    """One rehearsal of the composition.

    Args:
        folder: everything goes below it.
        shop: folder with the generated shop's tables.
        settings: of the retrain.
    """

    def __init__(self, folder: Path, shop: Path, settings: Mapping[str, Mapping[str, Any]]) -> None:
        self.shop, self._settings = shop, settings
        self.variables = drawn(folder, shop)
        self.composition = Composition(folder, self.variables)
        self.rehearsal = Rehearsal(self.composition, UNSCHEDULED)
        self._key = new_client(self.variables)
        self._doors = Doors(self.composition, self.variables)
        self._airflow = AirflowClient(f"http://127.0.0.1:{self.composition.ports['api-server', 8080]}",
                                      self.variables["AIRFLOW_ADMIN_PASSWORD"], PATIENCE_S)

    def steps(self) -> tuple[tuple[str, Callable[[], str]], ...]:
        """What is done, in order; each returns what it saw."""
        return (
            ("stores and databases", self.stores), ("MLflow behind its password", self.mlflow),
            ("Airflow and its workers", self.airflow), ("API behind the proxy", self.api),
            ("the days before, by one command", self.history), ("a backfill of ingest", self.backfill),
            ("retrain, until a person is asked", self.retrain), ("a person approves", self.approve),
            ("served by the API", self.serve), ("a new catalogue", self.refresh), ("the way back", self.roll_back),
            ("no secret in logs and arguments", self.secrets),
        )

    def stores(self) -> str:
        """PostgreSQL, the bucket and both Redis."""
        self.rehearsal.up("postgres", "store-init", "broker", "sessions")
        return self.rehearsal.log("store-init").strip().replace("\n", ", ")

    def mlflow(self) -> str:
        """MLflow, which lets in nobody without a password, and the tasks' user."""
        self.rehearsal.up("mlflow-init")
        return self.rehearsal.log("mlflow-init").strip()

    def airflow(self) -> str:
        """Every component of Airflow, and both workers."""
        self.rehearsal.up("api-server", "scheduler", "dag-processor", "triggerer", "worker", "trainer")
        dags = ("ingest", "retrain", "refresh_catalogue", "rollback")
        until("all DAGs are parsed", lambda: all(self._airflow.has_dag(dag) for dag in dags), PATIENCE_S)
        for dag in dags:
            self._airflow.call("PATCH", f"/dags/{dag}", {"is_paused": False})
        return "healthy by their own checks"

    def api(self) -> str:
        """API and proxy, before the first release, and what the proxy keeps out."""
        self.rehearsal.up("proxy")
        health = self._doors.call("API_HOST", "/health").json()
        _must(health["status"] == "no_release" and health["keys"] == "required", f"/health said {health}")
        user = "vitrine", self.variables["MLFLOW_TASKS_PASSWORD"]
        search = "/api/2.0/mlflow/experiments/search?max_results=1"
        found = {
            "the API without a key": self._doors.call("API_HOST", "/v1/recommendations", {"user_id": "C-00001"}),
            "the API's metrics": self._doors.call("API_HOST", "/metrics"),
            "10 MiB": self._doors.call("API_HOST", "/v1/search/image", content=bytes(10 << 20), key=self._key),
            "Airflow without a token": self._doors.call("AIRFLOW_HOST", "/api/v2/dags"),
            "Airflow's version": self._doors.call("AIRFLOW_HOST", "/api/v2/version"),
            "MLflow without a password": self._doors.call("MLFLOW_HOST", search),
            "MLflow with a wrong one": self._doors.call("MLFLOW_HOST", search, user=("vitrine", "not-the-password")),
            "MLflow with the tasks' password": self._doors.call("MLFLOW_HOST", search, user=user),
        }
        answers = {name: answer.status_code for name, answer in found.items()}
        _must(list(answers.values()) == [401, 404, 413, 401, 200, 401, 401, 200], f"the doors answered {answers}")
        _must("Strict-Transport-Security" in found["Airflow's version"].headers, "the proxy sets no HSTS")
        return "401, 404 and 413 where they belong"

    def history(self) -> str:
        """All days but the last ones into the lake, as an operator would load a history."""
        events = pd.read_parquet(self.shop / "events.parquet", columns=["timestamp"])["timestamp"]
        last = END - timedelta(days=BACKFILLED + 1)
        self.rehearsal.run("worker", "vitrine", "lake", "ingest", "--data", str(self.shop), "--from",
                           str(events.min().date()), "--to", str(last), "--late-days", "0")
        return f"{len(self._lake().days())} days"

    def backfill(self) -> str:
        """The last days, by Airflow's own command."""
        first, last = END - timedelta(days=BACKFILLED), END - timedelta(days=1)
        self.rehearsal.run("scheduler", "airflow", "backfill", "create", "--dag-id", "ingest",
                           "--from-date", str(first), "--to-date", str(last), "--max-active-runs", "2")

        def runs() -> list[dict[str, Any]]:
            return list(self._airflow.call("GET", "/dags/ingest/dagRuns?limit=100")["dag_runs"])

        until("the backfill has ended", lambda: len(runs()) == BACKFILLED and all(
            run["state"] in ENDED for run in runs()), PATIENCE_S)
        states = sorted(run["state"] for run in runs())
        days = self._lake().days()[-BACKFILLED:]
        _must(states == ["success"] * BACKFILLED and days[0] == first and days[-1] == last,
              f"runs ended {states}, the lake's last days are {days}")
        return f"{BACKFILLED} runs, the lake ends with {last}"

    def retrain(self) -> str:
        """A retrain of the lake, whose training is the trainer's, until it waits for a person."""
        self._airflow.trigger("retrain", "rehearsal", {
            "as_of": f"{END}T00:00:00+00:00", "settings": self._settings, "approval": True,
            "reason": "rehearsal"})
        tasks = self._tasks_until("retrain", "rehearsal", lambda states: states["approve"] == "awaiting_input")
        _must(tasks["train"]["queue"] == "training" and tasks["gate"]["queue"] == "default",
              f"queues are {[(name, task['queue']) for name, task in tasks.items()]}")
        _must("succeeded" in self.rehearsal.log("trainer"), "the trainer's log tells of no task")
        return f"trained in {tasks['train']['duration']:.0f} s; the gate accepts"

    def approve(self) -> str:
        """An answer by Airflow's API, and a release by whoever gave it."""
        at = "/dags/retrain/dagRuns/rehearsal/taskInstances/approve/-1/hitlDetails"
        states = {"approve": "awaiting_input"}
        while states["approve"] == "awaiting_input":
            # As a person would, not at once: Airflow takes an answer in the very second of the question for a crash of
            # the asking task, and asks once more.
            time.sleep(5)
            self._airflow.call("PATCH", at, {"chosen_options": ["Approve"], "params_input": {"comment": "rehearsed"}})
            tasks = self._tasks_until("retrain", "rehearsal", lambda now: now["promote"] in (*ENDED, "skipped") or (
                now["approve"] == "awaiting_input"))
            states = {name: task["state"] for name, task in tasks.items()}
        live = self._releases()[-1]
        _must(states["promote"] == "success" and live.number == 1, f"tasks are {states}, live is {live}")
        return f"release {live.number} by {live.actor}, in the bucket"

    def serve(self) -> str:
        """Recommendations over TLS, by key, of that release."""
        self._served(1)
        asked = {"user_id": "C-00001", "k": 5}
        answer = self._doors.call("API_HOST", "/v1/recommendations", asked, key=self._key)
        slate = answer.json()
        _must(answer.status_code == HTTPStatus.OK and slate["release"] == 1 and len(slate["items"]) == 5, answer.text)
        return ", ".join(item["item_id"] for item in slate["items"])

    def refresh(self) -> str:
        """Another price in the source's catalogue is a further release, without a training."""
        items = pd.read_parquet(self.shop / "items.parquet")
        items.loc[0, "price"] = 1.0
        items.to_parquet(self.shop / "items.parquet", index=False)
        self._run("refresh_catalogue", "catalogue", {"data": str(self.shop)})
        self._served(2)
        return "release 2, of the same model"

    def roll_back(self) -> str:
        """Release 1 again, by the DAG's form."""
        self._run("rollback", "back", {"reason": "rehearsal", "dry_run": False})
        self._served(3)
        first, _, last = self._releases()
        _must(last.bundle == first.bundle and last.restores == 1, f"the log ends with {last}")
        return "release 3 is release 1's bundle"

    def secrets(self) -> str:
        """No log and no argument of a process shows a secret of .env."""
        shown, places = self.rehearsal.shown({**secrets_of(self.variables), "the key of the API's client": self._key})
        _must(not shown, f"secrets are shown: {', '.join(shown)}")
        return f"{places} places"

    def _lake(self) -> Lake:
        return Lake(self.rehearsal.folder / "volumes" / "vitrine" / "lake" / self.shop.name)

    def _releases(self) -> list[Release]:
        """The release log, read with the keys of the API."""
        return open_store(load_settings(self.rehearsal.environment("api")).of_shop(self.shop.name)).history()

    def _served(self, number: int) -> None:
        until(f"release {number} is served", lambda: self._doors.call(
            "API_HOST", "/health").json()["release"] == number, PATIENCE_S)

    def _run(self, dag: str, run: str, conf: Mapping[str, Any]) -> None:
        self._airflow.trigger(dag, run, dict(conf))
        tasks = self._tasks_until(dag, run, lambda now: bool(now) and all(
            state in (*ENDED, "skipped") for state in now.values()))
        states = {name: task["state"] for name, task in tasks.items()}
        _must(set(states.values()) == {"success"}, f"{dag} ended with {states}")

    def _tasks_until(self, dag: str, run: str, is_enough: Callable[[dict[str, str]], bool]) -> Tasks:
        """Task instances of a run, by id, as soon as their states are enough."""
        tasks: Tasks = {}

        def is_there() -> bool:
            has_ended = self._airflow.run_state(dag, run) in ENDED  # before its tasks, which are final then
            tasks.update({task["task_id"]: task for task in self._airflow.tasks(dag, run)})
            states = {name: task["state"] for name, task in tasks.items()}
            is_done = is_enough(states)
            _must(is_done or not has_ended, f"{dag} ended with {states}; its logs lie in "
                  f"{self.rehearsal.folder / 'volumes' / 'airflow-logs'}")
            return is_done

        until(f"{dag} has come so far", is_there, PATIENCE_S)
        return tasks


def _must(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise StackError(otherwise)
