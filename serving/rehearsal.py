"""A bundle is opened in a process of its own before it is opened in the one that serves.

LiteRT and ScaNN are C++ that believes its files: a crafted one may end the process, or never come back. Digests do not
help against who can write bundle, manifest and release record alike. So a second process goes first; it stands ready,
its libraries imported, and is used once: `python -m serving.rehearsal` reads one line of JSON and answers with one.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path

from pipelines.errors import BundleRefused, VitrineError
from serving.bundle_files import REMEDY, Bounds
from serving.warmup import open_bundle

# How a process dies by its own fault, or the bundle's; any other signal came from outside.
_OWN_FAULT = {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV}


class Rehearsal:
    """A process that stands ready. One caller at a time."""

    def __init__(self, timeout_s: float) -> None:
        """Start it; `timeout_s` is the longest that it may take over a bundle."""
        self.timeout_s = timeout_s
        self._child = _spawn()

    def rehearse(self, folder: Path, digest: str, bounds: Bounds) -> None:
        """Let the process check, open and ask the bundle in `folder`; the next one is started at once.

        Raises:
            BundleRefused: it was refused there, or the process died over it.
            VitrineError: the process was ended from outside, failed for another reason, or took too long.
        """
        if self._child.poll() is not None:  # somebody ended it while it waited
            self.close()
            self._child = _spawn()
        child, job = self._child, json.dumps({"folder": str(folder), "digest": digest, "bounds": bounds.model_dump()})
        try:
            answer, said = child.communicate(job + "\n", timeout=self.timeout_s)
        except subprocess.TimeoutExpired as error:
            raise VitrineError(f"bundle {folder} did not open and answer within {self.timeout_s:g} s in a process of "
                               "its own; it is tried again later") from error
        finally:
            self.close()
            self._child = _spawn()
        _judge(folder, child.returncode, answer, (said.strip().splitlines() or ["it said nothing"])[-1])

    def close(self) -> None:
        """End the process that stands ready."""
        self._child.kill()
        self._child.communicate()  # waits, and closes the pipes


def _spawn() -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "serving.rehearsal"], cwd=Path(__file__).resolve().parents[1], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")


def _judge(folder: Path, status: int, answer: str, last: str) -> None:
    if status == 0:
        refused = json.loads(answer)["refused"]
        if refused is not None:
            raise BundleRefused(refused)
    elif -status in _OWN_FAULT:
        raise BundleRefused(f"bundle {folder}: the process that tried it died of {signal.Signals(-status).name} "
                            f"({last}); {REMEDY}")
    else:
        raise VitrineError(f"the process that tried bundle {folder} ended with status {status} (below 0: a signal): "
                           f"{last}; it is tried again later")


def main() -> int:
    """Wait for a bundle, open it and ask it; what refused it, if anything did, is the answer."""
    line = sys.stdin.readline()
    if not line:
        return 0  # it was never needed
    job = json.loads(line)
    refused = None
    try:
        open_bundle(Path(job["folder"]), job["digest"], Bounds(**job["bounds"]))
    except BundleRefused as error:
        refused = str(error)
    print(json.dumps({"refused": refused}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
