"""The laptop stack as a whole: PostgreSQL, MLflow and Airflow, started together and ended together."""

import contextlib
import fcntl
import importlib.metadata
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial

import psutil

from pipelines.artifacts import write_json
from pipelines.contracts import Document
from pipelines.settings import load_settings
from stack import postgres, processes
from stack.airflow_client import AirflowClient, answers
from stack.installation import (
    ADMIN,
    Installation,
    StackError,
    airflow_environment,
    ensure_secrets,
    mlflow_environment,
    password,
)

SERVICES = ("postgres", "mlflow", "api-server", "scheduler", "dag-processor")
POOL = ("training", 1, "One training at a time: it takes all the cores that it finds.")
PATIENCE = 180.0  # seconds until a service must be ready; a cold, busy laptop needs a minute

Say = Callable[[str], None]


class Stack(Document):
    """A started stack, as stack.json records it.

    Attributes:
        keeper: pid of the `make run` that will stop it; none where `make up` started it to stay.
        airflow: address of Airflow's UI and API.
        mlflow: address of MLflow's UI and API.
        services: name -> pid.
    """

    keeper: int | None
    airflow: str
    mlflow: str
    services: dict[str, int]


@contextlib.contextmanager
def locked(installation: Installation) -> Iterator[None]:
    """Let one launcher at a time start or stop the stack.

    Raises:
        StackError: another one is at it.
    """
    installation.home.mkdir(parents=True, exist_ok=True)
    with (installation.home / "stack.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError(
                f"another command starts or stops the stack at {installation.home}; wait until it is done"
            ) from error
        yield


def running(installation: Installation) -> Stack | None:
    """The stack that is up and whole, or none."""
    try:
        stack = Stack.model_validate_json(installation.state.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    alive = {process.pid for process in processes.marked(installation.home)}
    if server := postgres.postmaster(installation):
        alive.add(server.pid)
    is_whole = set(stack.services) == set(SERVICES) and set(stack.services.values()) <= alive
    return stack if is_whole and (stack.keeper is None or psutil.pid_exists(stack.keeper)) else None


def client(installation: Installation, stack: Stack) -> AirflowClient:
    """A client of the stack's Airflow."""
    return AirflowClient(stack.airflow, password(installation))


def start(installation: Installation, keeper: int | None, say: Say) -> Stack:
    """Start every service and wait until all are ready. Leftovers of a crashed stack are ended first.

    Args:
        installation: where the stack lives.
        keeper: pid of the process that will stop the stack again, none for `make up`.
        say: takes a line for the user.

    Raises:
        StackError: a port is taken, or a service did not become ready. Nothing stays running then.
    """
    began = time.monotonic()
    left = stop(installation)
    if left:
        say(f"Ended {left} processes that an interrupted stack had left behind.")
    ports = {
        "airflow": processes.choose_port("AIRFLOW_PORT", 8080),
        "mlflow": processes.choose_port("MLFLOW_PORT", 5000),
    }
    if ports["airflow"] == ports["mlflow"]:
        raise StackError(f"AIRFLOW_PORT and MLFLOW_PORT are both {ports['airflow']}: give them different ports")
    ensure_secrets(installation)
    try:
        stack = _start_all(installation, keeper, ports, say)
    except BaseException:
        stop(installation)
        raise
    say(f"The stack is ready after {time.monotonic() - began:.0f} s.")
    return stack


def _start_all(installation: Installation, keeper: int | None, ports: dict[str, int], say: Say) -> Stack:
    logs = installation.logs
    stack = Stack(
        keeper=keeper,
        airflow=f"http://127.0.0.1:{ports['airflow']}",
        mlflow=f"http://127.0.0.1:{ports['mlflow']}",
        services={},
    )
    started: dict[str, subprocess.Popen[bytes]] = {}

    def record(name: str, process: "subprocess.Popen[bytes]") -> None:
        started[name] = process
        write_json(installation.state, stack.model_copy(update={"services": {n: p.pid for n, p in started.items()}}))

    say("Starting PostgreSQL ...")
    process, socket_folder = postgres.start(installation)
    record("postgres", process)
    for name in ("airflow", "mlflow"):
        postgres.ensure_database(socket_folder, name)

    say("Starting MLflow ...")
    command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(ports["mlflow"]), "--workers", "1",
               "--backend-store-uri", postgres.url(socket_folder, "mlflow", "psycopg2"),
               "--serve-artifacts", "--artifacts-destination", str(installation.home / "mlflow")]
    record("mlflow", processes.spawn(command, mlflow_environment(installation), logs / "mlflow.log"))

    database = partial(postgres.url, socket_folder, "airflow")
    environment = airflow_environment(installation, database, ports["airflow"], ports["mlflow"])
    _migrate(installation, environment, say)
    say("Starting Airflow (API server, scheduler, DAG processor) ...")
    for name, arguments in (
        ("api-server", ["--host", "127.0.0.1", "--port", str(ports["airflow"]), "--workers", "1"]),
        # The API server reads the tasks' logs from the folder that both share.
        ("scheduler", ["--skip-serve-logs"]),
        ("dag-processor", []),
    ):
        record(name, processes.spawn(["airflow", name, *arguments], environment, logs / f"{name}.log"))

    airflow = client(installation, stack)
    ready: dict[str, Callable[[], bool]] = {
        "mlflow": lambda: answers(f"{stack.mlflow}/health"),
        "api-server": lambda: answers(f"{stack.airflow}/api/v2/version"),
        "scheduler": airflow.is_healthy,
        "dag-processor": airflow.is_healthy,
    }
    for name, is_ready in ready.items():
        processes.wait_until(name, is_ready, started[name], logs / f"{name}.log", PATIENCE)
    airflow.ensure_pool(*POOL)
    return stack.model_copy(update={"services": {name: process.pid for name, process in started.items()}})


def _migrate(installation: Installation, environment: dict[str, str], say: Say) -> None:
    """Bring Airflow's tables to the installed version, once a version: the check alone costs seconds."""
    version = importlib.metadata.version("apache-airflow")
    done = installation.postgres / "airflow-version"
    if done.exists() and done.read_text(encoding="utf-8") == version:
        return
    say(f"Making Airflow's tables (version {version}) ...")
    log = installation.logs / "airflow-migrate.log"
    processes.run_logged("airflow db migrate", ["airflow", "db", "migrate"], environment, log)
    done.write_text(version, encoding="utf-8")


def stop(installation: Installation) -> int:
    """End every process of the stack, also those of which no record is left.

    Returns:
        How many processes there were.

    Raises:
        StackError: a process survived SIGKILL.
    """
    server = postgres.postmaster(installation)
    backends = [] if server is None else [server, *server.children(recursive=True)]
    keep = {process.pid for process in backends} | {os.getpid()}
    others = [process for process in processes.marked(installation.home) if process.pid not in keep]
    processes.end(others, signal.SIGTERM, 8)
    # What those started while they were ending, then the database, which they needed to the last.
    processes.end([p for p in processes.marked(installation.home) if p.pid not in keep], signal.SIGKILL, 5)
    if server is not None:
        processes.end([server], signal.SIGINT, 20)  # SIGINT is PostgreSQL's fast, orderly shutdown
        processes.end(backends[1:], signal.SIGTERM, 5)
    left = [process for process in processes.marked(installation.home) if process.pid != os.getpid()]
    if left:
        names = ", ".join(f"{process.pid} ({process.name()})" for process in left)
        raise StackError(f"these processes of the stack could not be ended: {names}; end them by hand")
    installation.state.unlink(missing_ok=True)
    return len(others) + len(backends)


def addresses(installation: Installation, stack: Stack) -> list[str]:
    """Lines for the user: where the UIs are and how to sign in."""
    return [
        f"Airflow  {stack.airflow}  user {ADMIN}, password {password(installation)}",
        f"MLflow   {stack.mlflow}",
        f"Logs     {installation.logs}",
    ]


def installed() -> Installation:
    """The installation that the environment names, by default the one of the current folder."""
    return Installation(load_settings().home)
