"""Processes are found by their mark and ended without a rest."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from stack.installation import Installation, StackError, ensure_secrets, marked_environment, password
from stack.processes import choose_port, end, marked, run_logged, spawn, wait_until

# A child that starts a child, says so, and takes no notice of SIGTERM.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module", autouse=True)
def others() -> set[int]:
    """Process ids of what earlier tests have started and go on using."""
    return {process.pid for process in psutil.Process().children(recursive=True)}


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def wait_for(path: Path, text: str) -> None:
    while text not in (path.read_text(encoding="utf-8") if path.exists() else ""):
        time.sleep(0.05)


def test_marked_finds_grandchildren_in_sessions_of_their_own_and_end_ends_them(installation: Installation) -> None:
    log = installation.logs / "stubborn.log"
    parent = spawn([sys.executable, "-c", STUBBORN], marked_environment(installation), log)
    wait_for(log, "ready")
    found = marked(installation.home)
    assert len(found) == 2
    assert marked(installation.home / "another") == []
    end(found, signal.SIGTERM, 0.5)
    assert marked(installation.home) == []
    parent.wait()


def test_a_service_that_ends_early_is_named_with_the_end_of_its_log(installation: Installation) -> None:
    log = installation.logs / "broken.log"
    broken = spawn([sys.executable, "-c", "print('no such table'); exit(7)"], marked_environment(installation), log)
    with pytest.raises(StackError, match=r"(?s)scheduler ended with status 7.*broken\.log ends with.*no such table"):
        wait_until("scheduler", lambda: False, broken, log, 60)


def test_a_command_that_fails_is_named_with_the_end_of_its_log(installation: Installation) -> None:
    with pytest.raises(StackError, match=r"(?s)migration failed with status 1.*ValueError: old"):
        run_logged("migration", [sys.executable, "-c", "raise ValueError('old')"], marked_environment(installation),
                   installation.logs / "migration.log")


def test_a_port_that_was_asked_for_and_is_taken_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("AIRFLOW_PORT", str(port))
        with pytest.raises(StackError, match=f"port {port} is taken: set AIRFLOW_PORT to another one"):
            choose_port("AIRFLOW_PORT", 8080)
        monkeypatch.delenv("AIRFLOW_PORT")
        # The preferred port is a wish only: where it is taken, any free one will do.
        assert choose_port("AIRFLOW_PORT", port) not in (port, 0)


def test_of_two_launchers_at_the_same_time_one_gets_a_port_before_anything_listens_there(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    chooses = f"from stack.processes import choose_port; print(choose_port('NONE', {port}), flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", chooses], cwd=repository, text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdin is not None and other.stdout is not None
    assert int(other.stdout.readline()) == port
    monkeypatch.delenv("AIRFLOW_PORT", raising=False)
    assert choose_port("AIRFLOW_PORT", port) != port
    monkeypatch.setenv("AIRFLOW_PORT", str(port))
    with pytest.raises(StackError, match=f"port {port} is taken"):
        choose_port("AIRFLOW_PORT", 8080)
    other.communicate("\n")
    assert choose_port("AIRFLOW_PORT", 8080) == port


@pytest.mark.parametrize("wrong", ["http", "0", "70000", "-1"])
def test_a_port_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("MLFLOW_PORT", wrong)
    with pytest.raises(StackError, match=f"MLFLOW_PORT={wrong} is not a port"):
        choose_port("MLFLOW_PORT", 5000)


def test_secrets_are_made_once_and_only_their_owner_reads_them(installation: Installation) -> None:
    ensure_secrets(installation)
    first = password(installation)
    ensure_secrets(installation)
    assert password(installation) == first
    assert len(first) >= 16
    for path in (installation.passwords, installation.keys):
        assert path.stat().st_mode & 0o077 == 0


def test_airflow_settings_of_the_caller_do_not_reach_the_stack(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW_HOME", "/elsewhere")
    assert [name for name in marked_environment(installation) if name.startswith("AIRFLOW")] == []


def test_nothing_of_this_test_is_left(others: set[int]) -> None:
    left = [process for process in psutil.Process().children(recursive=True) if process.pid not in others]
    assert [process for process in left if process.status() != psutil.STATUS_ZOMBIE] == []
