"""A bundle is opened in a process of its own before it is opened in the one that serves.

LiteRT and ScaNN are C++ that believes its files: a crafted one may end the process, or never come back. Digests do not
help against who can write bundle, manifest and release record alike. So a second process goes first; it stands ready,
its libraries imported, and is used once: `python -m serving.rehearsal` reads one line of JSON and answers with one.
"""

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

from pipelines.errors import BundleRefused, VitrineError
from serving.bundle_files import REMEDY, Bounds, size_bytes
from serving.tried import Tried
from serving.warmup import open_bundle

# Memory that it may take: of its own, and for each byte of the bundle (vectors are there twice for a moment).
_ROOM_BYTES, _ROOM_A_BYTE = 4 << 30, 8
# How a process dies by its own fault, or the bundle's; any other signal came from outside.
_OWN_FAULT = {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV}


class Rehearsal:
    """A process that stands ready. One caller at a time."""

    def __init__(self, timeout_s: float, tried: Path | None = None) -> None:
        """Start nothing yet.

        Args:
            timeout_s: the longest that the process may take over a bundle.
            tried: folder that remembers what has passed, see `serving.tried`; None to try everything.
        """
        self.timeout_s, self._tried = timeout_s, Tried(tried)
        self._child: subprocess.Popen[str] | None = None

    def prepare(self) -> None:
        """Have a process stand ready, whose imports take longer than most bundles."""
        if self._child is not None and self._child.poll() is not None:  # somebody ended it while it waited
            self.close()
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "serving.rehearsal"], cwd=Path(__file__).resolve().parents[1],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")

    def rehearse(self, folder: Path, digest: str, bounds: Bounds) -> None:
        """Let the process check, open and ask the bundle in `folder`; it is used up, unless the bundle is known.

        Raises:
            BundleRefused: it was refused there, or the process died over it.
            VitrineError: the process was ended from outside, failed for another reason, or took too long.
        """
        if self._tried.knows(digest):
            return
        self.prepare()
        child = self._child
        assert child is not None
        job = json.dumps({"folder": str(folder), "digest": digest, "bounds": bounds.model_dump(),
                          "room_bytes": _ROOM_BYTES + _ROOM_A_BYTE * size_bytes(folder)})
        try:
            answer, said = child.communicate(job + "\n", timeout=self.timeout_s)
        except subprocess.TimeoutExpired as error:
            raise VitrineError(f"bundle {folder} did not open and answer within {self.timeout_s:g} s in a process of "
                               "its own; it is tried again later") from error
        finally:
            self.close()
        _judge(folder, child.returncode, answer, (said.strip().splitlines() or ["it said nothing"])[-1])
        self._tried.add(digest)

    def close(self) -> None:
        """End the process, if there is one."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
                if pipe is not None:
                    pipe.close()
        self._child = None


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
    # What a file makes LiteRT or ScaNN reserve must not have the kernel end another process for want of memory.
    resource.setrlimit(resource.RLIMIT_DATA, (job["room_bytes"], job["room_bytes"]))
    try:
        open_bundle(Path(job["folder"]), job["digest"], Bounds(**job["bounds"]))
    except BundleRefused as error:
        refused = str(error)
    print(json.dumps({"refused": refused}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
