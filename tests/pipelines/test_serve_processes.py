"""Several online processes at one port, all of them real."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.live_world import LiveShop
from tests.served import free_port, wait_for

SHOP = "store"  # as LiveShop calls the folder
PROCESSES = 2


class Serving:
    """`vitrine serve --processes 2` of the live world."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self.log = home / "serve.log"
        with self.log.open("wb") as said:
            self.keeper = psutil.Popen(
                [sys.executable, "-W", "ignore", "-m", "pipelines.cli", "serve", "--shop", SHOP, "--port",
                 str(self.port), "--processes", str(PROCESSES)], stdout=said, stderr=subprocess.STDOUT,
                env=os.environ | {"VITRINE_HOME": str(home), "VITRINE_STORE": str(home)})

    def members(self) -> list[psutil.Process]:
        """The processes that answer; they have others beside them, which try releases."""
        return [child for child in self.keeper.children() if "--member" in child.cmdline()]

    def answering(self) -> int:
        """How many processes have come to answer so far."""
        return self.log.read_text().count(f"serving {SHOP} at")

    def ask(self, path: str, body: Any = None) -> bytes:
        """An answer, on a connection of its own, which whoever is free accepts."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data,
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bytes(answer.read())

    def is_up(self) -> bool:
        """Whether anybody answers."""
        assert self.keeper.poll() is None, self.log.read_text()
        try:
            return bool(self.ask("/ready"))
        except (urllib.error.URLError, OSError):
            return False


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    LiveShop(tmp_path).release(1)
    made = Serving(tmp_path)
    yield made
    if made.keeper.is_running():
        members = made.members()
        made.keeper.kill()
        made.keeper.wait()
        for member in members:  # which end by themselves, see below
            member.wait(60)


def answers(text: bytes) -> int:
    """Recommendations that /metrics counts."""
    found = re.findall(rb'^vitrine_slates_total\{question="recommend".*\} ([\d.]+)$', text, re.MULTILINE)
    return round(sum(float(number) for number in found))


def test_several_processes_share_a_port_their_counters_and_their_end(serving: Serving) -> None:
    wait_for(serving.is_up)
    wait_for(lambda: serving.answering() == PROCESSES)
    for _ in range(20):
        slate = json.loads(serving.ask("/v1/recommendations", {"k": 3}))
        assert slate["release"] == 1
        assert [found["item_id"] for found in slate["items"]] == ["i00", "i01", "i02"]
    # Each process warms itself by a question that is no request, and does not count.
    assert answers(serving.ask("/metrics")) == 20

    # One is killed in the midst: others go on, another takes its place, and nothing that was counted is lost.
    killed, left = serving.members()
    os.kill(killed.pid, signal.SIGKILL)
    for _ in range(20):
        serving.ask("/v1/recommendations", {"k": 3})
    assert left.is_running()
    wait_for(lambda: serving.answering() == PROCESSES + 1)
    assert answers(serving.ask("/metrics")) == 40
    assert f"pid {killed.pid}) ended with status -9" in serving.log.read_text()

    members = serving.members()
    serving.keeper.terminate()
    assert serving.keeper.wait(60) == 0
    assert not [member for member in members if member.is_running()]


def test_a_stop_is_heard_while_the_first_process_is_starting(serving: Serving) -> None:
    wait_for(lambda: bool(serving.members()))
    (first,) = serving.members()
    first.suspend()  # it will not say that it is ready
    serving.keeper.terminate()
    wait_for(lambda: is_told_to_end(first))
    first.resume()
    assert serving.keeper.wait(60) == 0


def is_told_to_end(process: psutil.Process) -> bool:
    """Whether a SIGTERM waits for a process, by proc(5)."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    pending = next(line.split()[1] for line in status.splitlines() if line.startswith("ShdPnd"))
    return bool(int(pending, 16) >> (signal.SIGTERM - 1) & 1)


def test_processes_end_with_a_keeper_that_was_killed(serving: Serving) -> None:
    wait_for(serving.is_up)
    members = serving.members()
    serving.keeper.kill()
    serving.keeper.wait()
    wait_for(lambda: not any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in members))


@pytest.mark.parametrize(("more", "told"), [
    (["--host", "0.0.0.0"], "no keys are configured"), (["--shop", "nobody"], "no shop 'nobody'"),
])
def test_a_wrong_setting_is_told_once(tmp_path: Path, more: list[str], told: str) -> None:
    LiveShop(tmp_path).release(1)
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "pipelines.cli", "serve", "--shop", SHOP, "--port",
         str(free_port()), "--processes", "3", *more], capture_output=True, text=True, check=False, timeout=120,
        env=os.environ | {"VITRINE_HOME": str(tmp_path), "VITRINE_STORE": str(tmp_path)})
    assert ended.returncode == 2, ended.stderr
    assert (ended.stdout + ended.stderr).count(told) == 1


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "serve", "--port", port, "--processes", "2"], check=False,
            capture_output=True, text=True, timeout=120, env=os.environ | {"VITRINE_HOME": str(tmp_path)})
    assert ended.returncode == 2
    assert f"--port {port}" in ended.stderr + ended.stdout
