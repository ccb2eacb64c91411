"""The road a new user takes: interrupted starts, then `make up`, `make run` through a real scheduler, `make down`.

Minutes long. It starts PostgreSQL, MLflow and Airflow as they are started for people, below a folder of its own.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.given_settings import parse_settings
from pipelines.sample.write import write_sample
from serving.bundle import Bundle
from serving.store import ReleaseStore
from stack import services
from stack.airflow_client import AirflowClient
from stack.installation import Installation, password
from stack.postgres import postmaster
from stack.processes import marked

pytestmark = pytest.mark.e2e
SETTINGS = ("train.members=1", "train.dimension=64", "train.search.steps=200")
STAGES = ("ingest", "features", "train", "evaluate", "register", "index", "gate", "promote")


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation((tmp_path / "home").resolve())
    yield made
    services.stop(made)  # whatever the test did


def launch(repository: Path, installation: Installation, module: str, *arguments: str) -> "subprocess.Popen[str]":
    environment = {key: value for key, value in os.environ.items()
                   if not key.startswith(("VITRINE_", "MLFLOW_", "AIRFLOW"))}
    return subprocess.Popen(
        [sys.executable, "-m", f"stack.{module}", *arguments], cwd=repository, text=True,
        env={**environment, "VITRINE_HOME": str(installation.home)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    said, _ = process.communicate()
    return process.returncode, said


def launch_and_interrupt(repository: Path, installation: Installation, number: signal.Signals) -> tuple[int, str]:
    """Send a signal to a `make run` that has PostgreSQL and MLflow up and is not ready yet."""
    launcher = launch(repository, installation, "run", "--data", "/nowhere", "--as-of", "2026-06-28")
    while "mlflow" not in (installation.state.read_text(encoding="utf-8") if installation.state.exists() else ""):
        assert launcher.poll() is None
        time.sleep(0.1)
    launcher.send_signal(number)
    return finish(launcher)


def a_person_is_asked(installation: Installation, shop: Path) -> None:
    """The run once more, its stages found again by their digests, so that only the answers are new."""
    stack = services.running(installation)
    assert stack is not None
    client, store = services.client(installation, stack), ReleaseStore(installation.home / "store" / "shop")
    before = store.live()
    conf = {"data": str(shop), "as_of": "2026-06-28T00:00:00+00:00", "reason": "once more", "approval": True,
            "settings": parse_settings(SETTINGS)}
    for answer, promoted in (("Reject", "skipped"), ("Approve", "success")):
        run, at = f"answer-{answer}", f"/dags/retrain/dagRuns/answer-{answer}/taskInstances/approve/-1/hitlDetails"
        client.trigger("retrain", run, conf)
        states = states_of(client, run, lambda states, _: states["approve"] == "awaiting_input")
        body = client.call("GET", at)["body"]
        for part in ("nothing is live yet", "| all, beside popularity |", "/artifacts/verdict.html"):
            assert part in body
        states = {"approve": "awaiting_input"}
        while states["approve"] == "awaiting_input":
            # As a person would, not at once: Airflow takes an answer in the very second of the question for a crash of
            # the asking task, and asks once more.
            time.sleep(5)
            client.call("PATCH", at, {"chosen_options": [answer], "params_input": {"comment": "seen"}})
            states = states_of(client, run, lambda states, state: state == "success" or (
                states["approve"] == "awaiting_input"))
        assert (states["approve"], states["promote"]) == ("success", promoted)
        assert store.live() == before  # for the very same promotion there is one record
        given = client.result("retrain", run, "approve")
        assert (given["by"], given["comment"]) == ("admin", "seen")
    assert [(one.error, one.release.number) for one in store.refusals()] == [("ReleaseRejected", 1)]
    assert "admin rejected it: seen" in store.refusals()[0].message


def states_of(client: AirflowClient, run: str, is_enough: Callable[[dict[str, str], str], bool]) -> dict[str, str]:
    """States of a run's tasks, as soon as they and the run's own state are enough."""
    until = time.monotonic() + 600
    while True:
        state = client.run_state("retrain", run)
        states = {task["task_id"]: task["state"] for task in client.tasks("retrain", run)}
        if is_enough(states, state):
            return states
        assert time.monotonic() < until and state in ("queued", "running"), states
        time.sleep(0.5)


def test_from_an_interrupted_start_to_a_release_and_down(
    repository: Path, installation: Installation, tmp_path: Path
) -> None:
    shop = tmp_path / "shop"
    write_sample(shop, products=200, customers=400, events=4000, weeks=16)

    # A launcher that is asked to end stops what it started.
    status, said = launch_and_interrupt(repository, installation, signal.SIGTERM)
    assert (status, said.splitlines()[-1]) == (130, "Interrupted; the stack is stopped.")
    assert marked(installation.home) == []

    # One that is killed outright cannot: the next start ends its leftovers first.
    launch_and_interrupt(repository, installation, signal.SIGKILL)
    assert marked(installation.home) != []
    status, said = finish(launch(repository, installation, "up"))
    assert status == 0, said
    assert "that an interrupted stack had left behind" in said
    secret = password(installation)
    assert f"user admin, password {secret}" in said

    status, said = finish(launch(repository, installation, "up"))
    assert (status, said.splitlines()[0]) == (0, "The stack is already up.")

    arguments = ("--data", str(shop), "--as-of", "2026-06-28T00:00:00+00:00", "--reason", "end to end",
                 "--set", *SETTINGS)
    status, said = finish(launch(repository, installation, "run", *arguments))
    assert status == 0, said
    assert "Using the stack that is up" in said
    assert [stage for stage in STAGES if not re.search(rf"^{stage} +success after", said, re.MULTILINE)] == []
    assert len(re.findall("^Customer C-", said, re.MULTILINE)) == 3
    assert "Verdict: accepted" in said
    assert "two-tower" in said
    assert "Similar to " in said

    store = ReleaseStore(installation.home / "store" / "shop")
    live = store.live()
    assert live is not None
    # Nothing was live before; the API's user and the reason of the command line stand in the record.
    assert (live.number, live.parent, live.actor, live.reason) == (1, None, "admin", "end to end")
    assert Bundle.load(store.bundle_path(live.bundle)).num_items == 200

    stack = services.running(installation)
    assert stack is not None
    told = services.client(installation, stack).call("GET", "/assets/events?source_task_id=promote")["asset_events"]
    assert [event["name"] for event in told] == ["vitrine_release"]

    a_person_is_asked(installation, shop)

    # No log of a service or a task has the password.
    logs = [path for folder in (installation.logs, installation.task_logs) for path in folder.rglob("*.log")]
    assert len(logs) > len(STAGES)
    assert [path for path in logs if secret in path.read_text(encoding="utf-8", errors="replace")] == []

    status, said = finish(launch(repository, installation, "down"))
    assert status == 0
    assert re.fullmatch(r"Ended \d+ processes; nothing is left running\.\n", said)
    assert marked(installation.home) == []
    assert postmaster(installation) is None
    assert finish(launch(repository, installation, "down")) == (0, "The stack is not up.\n")
