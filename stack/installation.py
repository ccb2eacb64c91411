"""The places, secrets and process environments of the laptop stack."""

import json
import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import VitrineError

REPOSITORY = Path(__file__).resolve().parent.parent
# Every process of a stack carries this variable with the stack's home, so that `down` finds each of
# them even where the launcher, its records or a parent process are gone.
MARK = "VITRINE_STACK"
ADMIN = "admin"


class StackError(VitrineError):
    """The local stack could not start, run or stop; the message names the service and its log."""


@dataclass(frozen=True)
class Installation:
    """Where one local stack lives: everything is below `home`.

    Attributes:
        home: absolute folder, by default .vitrine of the repository.
    """

    home: Path

    @property
    def postgres(self) -> Path:
        """PostgreSQL's data folder."""
        return self.home / "postgres"

    @property
    def airflow(self) -> Path:
        """AIRFLOW_HOME: passwords, keys and the tasks' logs."""
        return self.home / "airflow"

    @property
    def task_logs(self) -> Path:
        """Airflow's logs of tasks, one file an attempt."""
        return self.airflow / "logs"

    @property
    def logs(self) -> Path:
        """One log a service."""
        return self.home / "logs"

    @property
    def state(self) -> Path:
        """What runs: pids, ports, keeper."""
        return self.home / "stack.json"

    @property
    def passwords(self) -> Path:
        """Airflow's password file (mode 0600)."""
        return self.airflow / "passwords.json"

    @property
    def keys(self) -> Path:
        """Keys that sign Airflow's tokens and sessions (mode 0600)."""
        return self.airflow / "keys.json"

    def task_log(self, dag_id: str, run_id: str, task_id: str, attempt: int) -> Path:
        """The log file of one attempt of a task (JSON lines)."""
        folder = self.task_logs / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        return folder / f"attempt={attempt}.log"


def write_private(path: Path, value: object) -> None:
    """Write JSON that only the owner may read; never readable by others, not even for a moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(value, file)


def ensure_secrets(installation: Installation) -> None:
    """Generate the admin's password and Airflow's keys, once an installation."""
    if not installation.passwords.exists():
        write_private(installation.passwords, {ADMIN: secrets.token_urlsafe(12)})
    if not installation.keys.exists():
        write_private(installation.keys, {"jwt": secrets.token_urlsafe(48), "session": secrets.token_urlsafe(32)})


def password(installation: Installation) -> str:
    """The admin's password."""
    return str(json.loads(installation.passwords.read_text(encoding="utf-8"))[ADMIN])


def marked_environment(installation: Installation) -> dict[str, str]:
    """The launcher's environment plus the mark, for any process of the stack."""
    beside = str(Path(sys.executable).parent)
    no_proxy = ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1", "localhost"]))
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")},
        MARK: str(installation.home),
        # setproctitle would write process titles over /proc/PID/environ, and the mark with it.
        "SPT_NOENV": "1",
        "PATH": os.pathsep.join([beside, os.environ.get("PATH", os.defpath)]),
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
    }


def mlflow_environment(installation: Installation) -> dict[str, str]:
    """Environment of the MLflow server: without the job runner it needs half the memory."""
    return {
        **marked_environment(installation),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def airflow_environment(
    installation: Installation, database: Callable[[str], str], airflow_port: int, mlflow_port: int
) -> dict[str, str]:
    """Environment of Airflow's components and of the tasks they start.

    Args:
        installation: places and secrets.
        database: from the name of an SQLAlchemy driver to the database's URL.
        airflow_port: loopback port of the API server.
        mlflow_port: loopback port of the MLflow server.
    """
    keys = json.loads(installation.keys.read_text(encoding="utf-8"))
    sections: dict[str, dict[str, object]] = {
        "core": {
            "executor": "LocalExecutor",
            "parallelism": 2,
            "dags_folder": REPOSITORY / "dags",
            "plugins_folder": REPOSITORY / "plugins",
            "load_examples": False,
            "dags_are_paused_at_creation": False,
            "simple_auth_manager_users": f"{ADMIN}:admin",
            "simple_auth_manager_passwords_file": installation.passwords,
            "execution_api_server_url": f"http://127.0.0.1:{airflow_port}/execution/",
            # Neither name resolution nor a changing host name may decide where a log is looked for.
            "hostname_callable": "socket.gethostname",
        },
        "database": {
            "sql_alchemy_conn": database("psycopg2"),
            "sql_alchemy_conn_async": database("asyncpg"),
        },
        "api": {
            "host": "127.0.0.1",
            "port": airflow_port,
            "base_url": f"http://127.0.0.1:{airflow_port}",
            "secret_key": keys["session"],
            "instance_name": "Vitrine",
        },
        "api_auth": {"jwt_secret": keys["jwt"]},
        # A laptop retrains when asked: the weekly schedule is for installations with a live source.
        "scheduler": {"use_job_schedule": False, "scheduler_idle_sleep_time": 0.5},
        "dag_processor": {"refresh_interval": 10, "min_file_process_interval": 15, "parsing_processes": 1},
        "logging": {"base_log_folder": installation.task_logs, "colored_console_log": False},
    }
    variables = {
        f"AIRFLOW__{section.upper()}__{key.upper()}": str(value)
        for section, values in sections.items()
        for key, value in values.items()
    }
    return {
        **marked_environment(installation),
        **variables,
        "AIRFLOW_HOME": str(installation.airflow),
        "PYTHONPATH": str(REPOSITORY),
        "VITRINE_HOME": str(installation.home),
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow_port}",
    }
