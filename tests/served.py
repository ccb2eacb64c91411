"""What tests of a real serving process have in common."""

import socket
import time
from collections.abc import Callable


def free_port() -> int:
    """A port of the loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Return as soon as a condition holds.

    Raises:
        AssertionError: it does not within `seconds`.
    """
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, f"did not come true within {seconds:g} s"
        time.sleep(0.05)
