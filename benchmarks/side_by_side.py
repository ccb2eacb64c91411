"""Two ways of doing the same work, timed in one run.

Seconds are of processor time, all threads together: on one core that has nothing else to do they are the wall's, and
on a busy one they are still those of the work. Only what waits for a disk or a network would hide from them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from time import process_time
from typing import Any


@dataclass(frozen=True)
class Side:
    """One way: what it is, and how long it takes for so many positions."""

    name: str
    positions: int
    seconds: float  # of processor time
    how: str  # what was timed, and what was not

    @property
    def rate(self) -> float:
        """Positions a second."""
        return self.positions / self.seconds


@dataclass(frozen=True)
class Comparison:
    """A claim: ours is so many times as fast as theirs."""

    claim: str
    ours: Side
    theirs: Side
    target: float | None  # the ratio that is aimed at; None for a figure that stands beside a claim
    unit: str = "positions"  # what is counted

    @property
    def ratio(self) -> float:
        """How many times as many positions a second."""
        return self.ours.rate / self.theirs.rate

    def text(self) -> str:
        """The ratio and the two absolute figures, a line each."""
        aim = "" if self.target is None else f", aimed at {self.target:g}"
        sides = [f"  {side.name:<24} {side.rate:>12,.0f} {self.unit}/s   {side.positions:,} in {side.seconds:.2f} s: "
                 f"{side.how}" for side in (self.ours, self.theirs)]
        return "\n".join([f"{self.claim}: x{self.ratio:.1f}{aim}", *sides])

    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        sides = {name: {**asdict(side), "rate": side.rate} for name, side in
                 (("ours", self.ours), ("theirs", self.theirs))}
        return {"claim": self.claim, "ratio": self.ratio, "target": self.target, **sides}


def fastest(step: Callable[[Mapping[str, Any]], Any], batches: Iterable[Mapping[str, Any]], warmup: int = 2) -> float:
    """Processor seconds of the fastest `step` behind the first `warmup`, which trace and allocate.

    The fastest, for steps of equal work differ only by what else the machine does to the caches.

    Args:
        step: must not return before its work is done.
        batches: of equal work, more than `warmup`.
    """
    seconds = []
    for batch in batches:
        began = process_time()
        step(batch)
        seconds.append(process_time() - began)
    return min(seconds[warmup:])
