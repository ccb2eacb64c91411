"""Fault sweeps: a short one with every `make test`, the full one by `make faults`. Both print what they counted."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from tests.stack.airflow_of_one_dag import installation

__all__ = ["Sweep", "installation", "sweep"]
Size = TypeVar("Size", int, float)
_TOLD = "counts of a fault sweep"


@dataclass
class Sweep:
    """How much is injected, and what came of it."""

    is_full: bool
    name: str
    counts: dict[str, object] = field(default_factory=dict)

    def size(self, short: Size, full: Size) -> Size:
        """The number for this run."""
        return full if self.is_full else short

    def count(self, **counts: object) -> None:
        """Figures for the end of the run."""
        self.counts |= counts


@pytest.fixture
def sweep(request: pytest.FixtureRequest) -> Iterator[Sweep]:
    """The size of this run; what is counted is printed at its end, also where the test fails."""
    own = Sweep(request.config.getoption("--full-faults"), request.node.name)
    yield own
    figures = ", ".join(f"{name.replace('_', ' ')} {value:,}" if isinstance(value, int) else
                        f"{name.replace('_', ' ')} {value}" for name, value in own.counts.items())
    request.node.user_properties.append((_TOLD, f"{own.name}: {figures}"))  # which reach the end from any worker


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The counts, one line a sweep."""
    reports = [report for kind in ("passed", "failed", "skipped", "error", "")
               for report in terminalreporter.getreports(kind) if getattr(report, "when", None) == "teardown"]
    lines = [line for report in reports for name, line in report.user_properties if name == _TOLD]
    if lines:
        kind = "full" if terminalreporter.config.getoption("--full-faults") else "short"
        terminalreporter.section(f"faults, {kind} sweep")
        for line in lines:
            terminalreporter.write_line(line)
