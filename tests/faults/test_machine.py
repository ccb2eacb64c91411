"""Everything that is done to a release store, in any order that Hypothesis thinks of."""

import tempfile
from pathlib import Path

from tests.faults.conftest import Sweep
from tests.faults.test_releases import run

# Whoever kills a process loses nothing of what it wrote, so memory will do, and syncing it takes no time.
MEMORY = Path("/dev/shm")


def test_whatever_is_done_in_whatever_order(sweep: Sweep) -> None:
    """The invariants stand in tests/faults/machine.py; a violation is printed as the shortest way that leads to it."""
    examples, steps = sweep.size(30, 2_000), sweep.size(20, 25)
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as scratch:
        counts = run("machine", scratch=Path(scratch), examples=examples, steps=steps)
    sweep.count(**dict(sorted(counts.items())))
    assert counts["examples"] >= examples
    for happened in ("promotions", "kills", "stopped", "rollbacks", "bundles removed", "rejected by the gate",
                     "refused: overtaken", "refused: older data", "erasures", "erasures killed"):
        assert counts.get(happened, 0) > 0, f"none of {happened}: the machine does not show what it is meant to"
