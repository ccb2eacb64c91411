"""Trainings in processes of their own, to be killed."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from pipelines.contracts import Snapshot, Window
from pipelines.protocol import encode_protocol
from tests.world import write_protocol_world

CHILD = Path(__file__).with_name("train_child.py")
REPOSITORY = CHILD.parents[2]
# No dropout: whoever resumes, or trains with others, gets the same weights but for the order of sums.
SETTINGS: Mapping[str, Any] = {
    "dimension": 8, "blocks": 1, "dropout": 0.0, "id_dropout": 0.0, "calendar_dropout": 0.0, "learning_rate": 0.01,
    "steps": 8, "max_epochs": 3, "checkpoint_seconds": 0, "members": 1,
}


def snapshot(folder: Path) -> Snapshot:
    """The toy shop's contract, as far as training reads it."""
    (folder / "out").mkdir(parents=True)
    encode_protocol(write_protocol_world(folder / "in", users=200), folder / "out")
    window = Window(as_of=datetime(2026, 2, 1, tzinfo=UTC))
    return Snapshot(path=str(folder / "out"), key="k", digest="d", window=window,
                    users=200, items=24, events=0, train_events=0, valid_targets=0, test_targets=0)


class Trainings:
    """Trainings in processes of their own, all ended by the end of a `with`."""

    def __init__(self) -> None:
        self.children: list[subprocess.Popen] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self.children:
            child.kill()
            child.wait()

    def start(
        self, made: Snapshot, root: Path, result: Path, cluster: tuple[int, list[int]] | None = None,
        settings: Mapping[str, Any] = SETTINGS,
    ) -> subprocess.Popen:
        """Start a training; `cluster` is a worker's index and the ports of all. What it says goes to `result`.log."""
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        if cluster:
            index, ports = cluster
            environment["TF_CONFIG"] = json.dumps({"cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]},
                                                   "task": {"type": "worker", "index": index}})
        job = {"snapshot": made.model_dump(mode="json"), "settings": dict(settings), "root": str(root),
               "result": str(result)}
        with result.with_suffix(".log").open("w") as log:
            child = subprocess.Popen([sys.executable, "-W", "ignore", str(CHILD), json.dumps(job)], cwd=REPOSITORY,
                                     env=environment, stderr=log)
        self.children.append(child)
        return child


def said(result: Path) -> str:
    """What a training said."""
    return result.with_suffix(".log").read_text()


def checkpoints(root: Path, member: int = 0) -> list[Path]:
    """Whole checkpoints of a member below an artefact root, the newest first."""
    return sorted(root.glob(f"train/.checkpoints/*/member-{member}/*/checkpoint-*"), reverse=True)


def order(checkpoint: Path) -> int:
    """Steps and epochs that were done when a checkpoint was written."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def wait_for(root: Path, least: int, child: subprocess.Popen, result: Path, member: int = 0) -> None:
    """Until there is a whole checkpoint of at least this order, as long as the child lives."""
    until = time.monotonic() + 900
    while not any(order(path) >= least for path in checkpoints(root, member)):
        assert child.poll() is None and time.monotonic() < until, said(result)
        time.sleep(0.01)


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
