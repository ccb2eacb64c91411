"""How far the sweeps go: a short one in `make test`, the whole in `make faults`."""

from dataclasses import dataclass
from typing import TypeVar

import pytest

T = TypeVar("T")


@dataclass(frozen=True)
class FaultScale:
    """Which of two sizes a sweep has."""

    is_full: bool

    def of(self, short: T, full: T) -> T:
        """The one of the two that is asked for."""
        return full if self.is_full else short


@pytest.fixture(scope="session")
def fault_scale(request: pytest.FixtureRequest) -> FaultScale:
    return FaultScale(request.config.getoption("--full-faults"))
