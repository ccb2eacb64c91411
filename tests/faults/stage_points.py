"""Where a stage touches the world, as points with names, and the faults that can be injected at each.

The product knows nothing of this. In a child process of the sweep the calls that reach disk, MLflow or another process
are wrapped: Python's audit events tell of every file that is opened for writing, whoever opens it, and the rest are
functions of the libraries. A point is named by call and role of the file, such as `fsync artifacts/index/.attempt/
spec.json`, with keys and random names left out, so that it is the same point in every run.
"""

import errno
import functools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

KINDS = ("kill", "exception", "ENOSPC", "EIO", "hang")
_RANDOM = re.compile(r"(?<=vitrine-)\w{8}\b|[0-9a-f]{12,}|day=\d{4}-\d\d-\d\d|part-\d+|\d{8}T\d{6}\.\d+Z?|\b\d{3,}\b|"
                     r"m-[0-9a-f]+|tmp\w{6,}")
_CLIENT = ("create_experiment", "create_run", "update_run", "log_batch", "log_inputs", "create_logged_model",
           "log_model_artifacts", "finalize_logged_model", "log_outputs", "log_artifacts", "log_artifact",
           "create_registered_model", "create_model_version", "set_registered_model_alias", "set_model_version_tag",
           "set_tag", "set_terminated")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Injected(RuntimeError):
    """What nobody foresaw."""


class Points:
    """Counts the points that are passed, and at one of them does what the fault says."""

    def __init__(self, home: Path, fault: dict[str, Any] | None, hung: Path) -> None:
        self.home, self.fault, self.hung = str(home), fault, hung
        self.passed: list[str] = []
        self.seen: Counter[str] = Counter()
        self.was_hit = False
        self._lock, self._inside = threading.Lock(), threading.local()

    def install(self) -> None:
        """Wrap what reaches the world. There is no way back: the process ends with the stage."""
        import numpy
        import obstore
        import pyarrow.parquet
        from mlflow.tracking import MlflowClient

        sys.addaudithook(self._audit)
        for name in ("mkdir", "rename", "replace", "link"):
            self._wrap(os, name, lambda args: os.fspath(args[0]) if isinstance(args[0], str | os.PathLike) else "")
        self._wrap(os, "fsync", lambda args: os.readlink(f"/proc/self/fd/{args[0]}"), before_only=True)
        self._wrap(numpy, "save", lambda args: os.fspath(args[0]), after_only=True)
        self._wrap(pyarrow.parquet, "write_table", lambda args: os.fspath(args[1]), after_only=True)
        self._wrap(Path, "write_bytes", lambda args: os.fspath(args[0]), after_only=True)
        self._wrap(Path, "write_text", lambda args: os.fspath(args[0]), after_only=True)
        self._wrap(subprocess, "run", lambda args: " ".join(args[0][1:3]))
        self._wrap(obstore, "put", lambda args: str(args[1]))
        for name in _CLIENT:
            self._wrap(MlflowClient, name, lambda args: "")

    def at(self, call: str, path: str) -> None:
        """A point is passed."""
        if getattr(self._inside, "is_busy", False):
            return  # what a fault itself opens
        name = f"{call} {self._role(path)}".strip()
        with self._lock:
            self.seen[name] += 1
            self.passed.append(name)
            hit = self.fault is not None and (name, self.seen[name]) == (self.fault["point"], self.fault["occurrence"])
            self.was_hit |= hit
        if hit:
            self._inside.is_busy = True
            try:
                self._do(self.fault["kind"] if self.fault else "", call, path)
            finally:
                self._inside.is_busy = False

    def _do(self, kind: str, call: str, path: str) -> None:
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind == "hang":
            self.hung.touch()
            time.sleep(3600)
        elif kind == "exception":
            raise Injected(f"injected at {call} {path}")
        number = getattr(errno, kind)
        if call.endswith("after") and os.path.isfile(path):
            os.truncate(path, os.path.getsize(path) // 2)  # as much as there was room for
        raise OSError(number, os.strerror(number), path or None)

    def _role(self, path: str) -> str:
        if path.startswith(self.home):
            return _RANDOM.sub("#", path[len(self.home) :].lstrip("/"))
        return _RANDOM.sub("#", path)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not isinstance(arguments[0], str | bytes):
            return
        path, mode, flags = arguments
        is_write = any(letter in (mode or "") for letter in "wxa+") if mode else bool((flags or 0) & _WRITES)
        path = os.fsdecode(path)
        if is_write and (path.startswith(self.home) or "/vitrine-" in path):
            self.at("open", path)

    def _wrap(self, owner: Any, name: str, role: Callable[[tuple[Any, ...]], str], *, before_only: bool = False,
              after_only: bool = False) -> None:
        call = getattr(owner, name)
        label = f"{getattr(owner, '__name__', owner)}.{name}"

        @functools.wraps(call)
        def wrapped(*args: Any, **options: Any) -> Any:
            path = role(args)
            if not after_only:
                self.at(f"{label} before", path)
            result = call(*args, **options)
            if not before_only:
                self.at(f"{label} after", path)
            return result

        setattr(owner, name, wrapped)
