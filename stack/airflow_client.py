"""The few calls of Airflow's REST API that the stack needs."""

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from stack.installation import ADMIN, StackError

# A loopback address is never asked for through a proxy.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

PATIENCE = 30.0  # seconds; a server on a busy machine has answered late, never that late


def answers(url: str, timeout: float = 2.0) -> bool:
    """Whether `url` answers with status 200."""
    try:
        with OPENER.open(url, timeout=timeout) as response:
            return bool(response.status == HTTPStatus.OK)
    except OSError:
        return False


@dataclass
class AirflowClient:
    """A logged-in client of one API server.

    Attributes:
        url: address of the API server, without a slash at its end.
        password: the admin's password.
        patience: seconds for which a question is asked again.
    """

    url: str
    password: str
    patience: float = PATIENCE
    _token: str = ""

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Parsed answer of one call; logs in first where there is no token yet or it has expired.

        A question (GET) is asked again for a while where the server is busy or starting anew.

        Raises:
            urllib.error.HTTPError: the server refused the call.
            StackError: the server did not answer the question for `patience` seconds.
        """
        if not self._token:
            login = {"username": ADMIN, "password": self.password}
            self._token = self._send("POST", "/auth/token", login)["access_token"]
        try:
            return self._asked(path) if method == "GET" else self._send(method, f"/api/v2{path}", body)
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.UNAUTHORIZED:
                raise
            self._token = ""
            return self.call(method, path, body)

    def _asked(self, path: str) -> Any:
        until = time.monotonic() + self.patience
        while True:
            try:
                return self._send("GET", f"/api/v2{path}", None)
            except OSError as error:  # of which HTTPError is one
                if isinstance(error, urllib.error.HTTPError) and error.code < HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
                if time.monotonic() > until:
                    raise StackError(f"Airflow at {self.url} has not answered {path} for {self.patience:g} s: {error}; "
                                     "logs/api-server.log and logs/postgres.log say why. What runs goes on: "
                                     "`make down` ends it, `make up` starts all anew") from error
            time.sleep(1)

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        with OPENER.open(request, timeout=30) as response:
            return json.load(response)

    def is_healthy(self) -> bool:
        """Whether database, scheduler and DAG processor all report a fresh heartbeat."""
        try:
            with OPENER.open(f"{self.url}/api/v2/monitor/health", timeout=5) as response:
                health = json.load(response)
        except (OSError, ValueError):
            return False
        return all(
            (health.get(part) or {}).get("status") == "healthy"
            for part in ("metadatabase", "scheduler", "dag_processor")
        )

    def ensure_pool(self, name: str, slots: int, description: str) -> None:
        """Create the pool where it is missing; one that an operator changed stays as it is."""
        names = {pool["name"] for pool in self.call("GET", "/pools")["pools"]}
        if name not in names:
            self.call("POST", "/pools", {"name": name, "slots": slots, "description": description})

    def has_dag(self, dag_id: str) -> bool:
        """Whether the DAG processor has parsed the DAG.

        Raises:
            StackError: a DAG file does not import.
        """
        try:
            self.call("GET", f"/dags/{dag_id}")
            return True
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.NOT_FOUND:
                raise
        broken = self.call("GET", "/importErrors")["import_errors"]
        if broken:
            raise StackError(f"{broken[0]['filename']} does not import:\n{broken[0]['stack_trace']}")
        return False

    def trigger(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
        """Start a manual run.

        Raises:
            StackError: Airflow refused the run's parameters.
        """
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        try:
            self.call("POST", f"/dags/{dag_id}/dagRuns", body)
        except urllib.error.HTTPError as error:
            raise StackError(f"Airflow refused to start {dag_id} with {conf}: {error.read().decode()}") from error

    def active_runs(self, dag_id: str) -> list[str]:
        """Ids of the DAG's runs that are queued or running."""
        runs = self.call("GET", f"/dags/{dag_id}/dagRuns?state=queued&state=running")["dag_runs"]
        return [run["dag_run_id"] for run in runs]

    def fail_run(self, dag_id: str, run_id: str) -> None:
        """Mark a run as failed, and with it the tasks that it believes to be running."""
        self.call("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}", {"state": "failed"})

    def run_state(self, dag_id: str, run_id: str) -> str:
        """State of a run: queued, running, success or failed."""
        return str(self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The run's task instances: task_id, state, try_number, duration (s), ..."""
        return list(self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"])

    def result(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """What a task returned."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value?deserialize=true"
        value = self.call("GET", path)["value"]
        return dict(json.loads(value) if isinstance(value, str) else value)
