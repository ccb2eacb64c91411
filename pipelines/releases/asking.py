"""A bundle's answers to a panel, by a process of its own: whatever is wrong with the bundle ends that process alone."""

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from pipelines.artifacts import write_json
from pipelines.errors import BundleRefused, VitrineError
from serving.panel import Panel
from serving.probe import REFUSED

TIMEOUT_S = 600


def ask(bundle: Path, panel: Panel, k: int) -> list[list[str]]:
    """Lists of up to k item ids: the first for nobody, then one for each shopper of the panel.

    Raises:
        BundleRefused: the bundle does not load or answer, or its process died of it.
        VitrineError: it did not answer in time.
    """
    with tempfile.TemporaryDirectory(prefix="vitrine-panel-") as scratch:
        write_json(Path(scratch) / "panel.json", panel)
        command = [sys.executable, "-m", "serving.panel", str(bundle), str(Path(scratch) / "panel.json"), str(k)]
        try:
            done = subprocess.run(command, cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True,
                                  errors="replace", timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise VitrineError(f"bundle {bundle} did not answer within {TIMEOUT_S} s; try again on a quieter "
                               "machine") from error
    if done.returncode == 0:
        lists: list[list[str]] = json.loads(done.stdout)["lists"]
        return lists
    last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    if done.returncode == REFUSED:
        raise BundleRefused(last)
    how = f"died of {signal.Signals(-done.returncode).name}" if done.returncode < 0 else f"ended with {done.returncode}"
    raise BundleRefused(f"bundle {bundle}: its process {how} while it loaded or answered: {last}")
