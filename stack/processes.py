"""Processes of the stack: started in groups of their own, found by their mark, ended without a rest."""

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from stack.installation import MARK, StackError

_CLAIMS: dict[int, socket.socket] = {}
PORTS = range(1, 65536)


def spawn(
    command: Sequence[str | Path], environment: Mapping[str, str], log: Path, user: str | None = None,
    folder: Path | None = None,
) -> "subprocess.Popen[bytes]":
    """Start `command` in a session of its own, so that the terminal's Ctrl-C reaches only the launcher."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        return subprocess.Popen(
            [str(part) for part in command],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user,
            cwd=folder,
        )


def marked(home: Path) -> list[psutil.Process]:
    """Every live process that carries the mark of the stack at `home`."""
    found = []
    for process in psutil.process_iter():
        # Other users' processes refuse to show their environment, and dying ones have none.
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end(processes: Iterable[psutil.Process], first: signal.Signals, patience: float) -> None:
    """Send `first` to each, wait `patience` seconds, then kill what is left."""
    processes = list(processes)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(first)
    _, alive = psutil.wait_procs(processes, timeout=patience)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=patience)


def last_lines(log: Path, count: int = 12) -> str:
    """The end of a log, for an error message."""
    if not log.exists():
        return "(the log is empty)"
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


def run_logged(what: str, command: Sequence[str | Path], environment: Mapping[str, str], log: Path) -> None:
    """Run `command` to its end.

    Raises:
        StackError: it failed; the message has the end of its log.
    """
    process = spawn(command, environment, log)
    if process.wait() != 0:
        raise StackError(f"{what} failed with status {process.returncode}; {log} ends with:\n{last_lines(log)}")


def wait_until(
    what: str, is_ready: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path, patience: float
) -> None:
    """Poll `is_ready` while `process` lives.

    Raises:
        StackError: the process ended, or was not ready after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while not is_ready():
        if process.poll() is not None:
            raise StackError(f"{what} ended with status {process.returncode}; {log} ends with:\n{last_lines(log)}")
        if time.monotonic() > deadline:
            raise StackError(f"{what} was not ready after {patience:.0f} s; {log} ends with:\n{last_lines(log)}")
        time.sleep(0.25)


def is_free(port: int) -> bool:
    """Whether a loopback port can be bound now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def claim(port: int) -> bool:
    """Keep other launchers of this machine off a port until this process ends; False where another one has it.

    From the choice of a port until its server listens there is nothing else to see, and two stacks that start at the
    same time would take the same one. The claim is a name among Linux's abstract sockets, which no crash leaves behind.
    """
    if port not in _CLAIMS:
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f"\0vitrine-port-{port}")
        except OSError:
            name.close()
            return False
        _CLAIMS[port] = name
    return True


def give_up(ports: Iterable[int]) -> None:
    """Let other launchers have these ports again."""
    for port in ports:
        _CLAIMS.pop(port).close()


atexit.register(lambda: give_up([*_CLAIMS]))  # the system would too, and Python would warn of it


def choose_port(variable: str, preferred: int) -> int:
    """The port that `variable` asks for; else the preferred one where it is free, else any free one.

    Raises:
        StackError: the port that was asked for is no port or is taken.
    """
    asked = os.environ.get(variable, "")
    if asked:
        if not asked.isdigit() or int(asked) not in PORTS:
            raise StackError(f"{variable}={asked} is not a port: give a number from 1 to 65535, or unset it")
        if not (is_free(int(asked)) and claim(int(asked))):
            raise StackError(f"port {asked} is taken: set {variable} to another one, or unset it to have a free one")
        return int(asked)
    port = preferred
    while not (is_free(port) and claim(port)):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
    return port
