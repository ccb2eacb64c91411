"""Several online processes at one port: `vitrine serve --processes N`.

                    listening socket, bound here, inherited by all
    keeper ───────► process 1 ... N: each with its own release, threads and interpreter lock
      │  ▲          whoever is free accepts the next connection
      │  └──────── "ready": the others start once the first can answer, so that a wrong setting is told once
      └──────────► "life": a pipe that closes when the keeper is gone, and its processes end with it

A process that ends is started again, at once at first and then after longer and longer waits; what it had accepted is
lost, what waits at the port is answered by the others.
"""

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client.multiprocess import mark_process_dead

from pipelines.contracts import Document
from pipelines.errors import SettingsError

log = logging.getLogger("vitrine.serve")
_LOOK_S = 0.1
_WAITS_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)  # before a process that keeps ending is started again
_LASTED_S = 60.0  # after which it counts as well again
_END_S = 30.0  # for requests in flight and what is laid down


class Member(Document):
    """What a process of several is told by its keeper.

    Attributes:
        listening: descriptor of the port's socket.
        ready: descriptor that takes a byte once the process can answer; None where nobody waits for it.
        life: descriptor that is at its end when the keeper is gone.
        metrics: folder of the counters that all of them share.
    """

    listening: int
    ready: int | None
    life: int
    metrics: Path

    def socket(self) -> socket.socket:
        """The port's socket."""
        return socket.socket(fileno=self.listening)

    def is_ready(self) -> None:
        """Tell the keeper, and end when it does."""
        if self.ready is not None:
            os.write(self.ready, b".")
            os.close(self.ready)
        threading.Thread(target=self._follow, name="vitrine-life", daemon=True).start()

    def _follow(self) -> None:
        os.read(self.life, 1)  # nothing is ever written
        os.kill(os.getpid(), signal.SIGTERM)


@dataclass
class _Place:
    """One of the processes, whichever it is at present."""

    child: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    ends: int = 0  # in a row, each within _LASTED_S
    due: float = field(default=float("-inf"))


class Keeper:
    """Keeps `count` processes at one port."""

    def __init__(self, arguments: Sequence[str], count: int, host: str, port: int) -> None:
        """Bind the port.

        Args:
            arguments: of `vitrine`, as they were given; `--member` is added to them.
            count: processes.
            host, port: where they answer.

        Raises:
            SettingsError: the port cannot be had.
        """
        self._closing, self.stop = ExitStack(), threading.Event()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = self._closing.enter_context(socket.socket(family, socket.SOCK_STREAM))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._closing.close()
            raise SettingsError(f"--host {host} --port {port}: {error}; give another port, or end what holds it"
                                ) from error
        self._metrics = Path(self._closing.enter_context(TemporaryDirectory(prefix="vitrine-metrics-")))
        self._life, self._alive = os.pipe()
        self._closing.callback(os.close, self._life)
        self._arguments, self._places = arguments, [_Place() for _ in range(count)]

    def run(self) -> int:
        """Keep them until `stop` is set; the status to end with, that of the first process where it never answered."""
        with self._closing:
            try:
                status = self._start_first()
                while status is None and not self.stop.wait(_LOOK_S):
                    for number, place in enumerate(self._places, start=1):
                        self._look_after(number, place)
                return status or 0
            finally:
                self._end()

    def _start_first(self) -> int | None:
        """Wait until one process answers; its status where it ended instead, 0 where all are told to end meanwhile."""
        first, (heard, ready) = self._places[0], os.pipe()
        self._start(first, ready)
        os.close(ready)
        with os.fdopen(heard, "rb") as news:
            while not select.select([news], [], [], _LOOK_S)[0]:
                if self.stop.is_set():
                    return 0
            if news.read(1):
                return None
        assert first.child is not None
        return first.child.wait()

    def _start(self, place: _Place, ready: int | None = None) -> None:
        member = Member(listening=self._socket.fileno(), ready=ready, life=self._life, metrics=self._metrics)
        place.child = subprocess.Popen(
            ["env", f"PROMETHEUS_MULTIPROC_DIR={self._metrics}", sys.executable, "-m", "pipelines.cli",
             *self._arguments, "--member", member.model_dump_json()],
            pass_fds=[one for one in (member.listening, member.ready, member.life) if one is not None])
        place.started = time.monotonic()

    def _look_after(self, number: int, place: _Place) -> None:
        now = time.monotonic()
        if place.child is None:
            if now >= place.due:
                self._start(place)
            return
        status = place.child.poll()
        if status is None:
            return
        mark_process_dead(place.child.pid, str(self._metrics))  # type: ignore[no-untyped-call]  # as prometheus_client has it
        place.ends = 1 if now - place.started > _LASTED_S else place.ends + 1
        wait_s = _WAITS_S[min(place.ends, len(_WAITS_S)) - 1]
        log.warning("process %d of %d (pid %d) ended with status %d (below 0: a signal); it is started again in %g s",
                    number, len(self._places), place.child.pid, status, wait_s)
        place.child, place.due = None, now + wait_s

    def _end(self) -> None:
        """End all, and wait for what they are about."""
        os.close(self._alive)
        children = [place.child for place in self._places if place.child is not None]
        for child in children:
            if child.poll() is None:
                child.terminate()
        ends = time.monotonic() + _END_S
        for child in children:
            try:
                child.wait(max(0.0, ends - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("process %d did not end within %g s and is killed", child.pid, _END_S)
                child.kill()
                child.wait()


def keep(arguments: Sequence[str], count: int, host: str, port: int) -> int:
    """Keep `count` processes at a port until this one is told to end; the status to end with.

    Raises:
        SettingsError: the port cannot be had.
    """
    keeper = Keeper(arguments, count, host, port)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: keeper.stop.set())
    log.info("%d processes at http://%s:%d", count, host, port)
    return keeper.run()
